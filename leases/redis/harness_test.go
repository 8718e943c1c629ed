package redis_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/redis"
)

const application = "orders"

// serve makes a Redis in this process, without a port, and a store on it.
func serve(t *testing.T, change ...func(*redis.Config)) (*miniredis.Miniredis, *redis.Store) {
	t.Helper()
	srv := miniredis.NewMiniRedis()
	t.Cleanup(srv.Close)
	return srv, storeOn(t, srv, change...)
}

func storeOn(t *testing.T, srv *miniredis.Miniredis, change ...func(*redis.Config)) *redis.Store {
	t.Helper()
	cfg := redis.Config{
		Client: clientOf(t, srv), Application: application, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	return redis.New(cfg)
}

// noLookup is an address that needs no name server. The client looks up its host even if it has a
// Dialer. That look-up belongs to no bubble of synctest.
const noLookup = "127.0.0.1:6379"

func clientOf(t *testing.T, srv *miniredis.Miniredis, change ...func(*sdk.Options)) *sdk.Client {
	t.Helper()
	o := &sdk.Options{
		Addr:   noLookup,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return srv.Dial() },
	}
	for _, c := range change {
		c(o)
	}
	client := sdk.NewClient(o)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// lease returns a row that has only the fields that every row has.
func lease(key string) leases.Lease {
	return leases.Lease{
		Key: key, ShardID: key, ThroughputKBps: -1,
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}
}

func everything(key string) leases.Lease {
	return leases.Lease{
		Key: key, ShardID: key, Owner: "b", CheckpointOwner: "a", Counter: 9, OwnerSwitchesSinceCheckpoint: 1,
		Checkpoint:   kcl.ExtendedSequenceNumber{SequenceNumber: "12", SubSequenceNumber: 3},
		Pending:      kcl.ExtendedSequenceNumber{SequenceNumber: "13"},
		PendingState: []byte("s"), Parents: []string{"p"}, Children: []string{"d", "c"},
		HashKeyRange: kcl.HashKeyRange{Start: "1", End: "2"}, ThroughputKBps: 0.000219,
		Extension: leases.Extension{
			NativeOwner: "b", PinnedAt: time.Unix(1700000000, 5e8).UTC(), HandoverTo: "b", Abilities: 1,
			Application: "orders", StreamARN: "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
			StreamCreated: time.Unix(1600000000, 0).UTC(), Reached: time.Unix(1700000001, 0).UTC(),
			Paused: "shard p1", Reset: "r1",
			Origin: leases.Origin{Kind: kcl.SentinelLatest, At: time.Unix(1700000000, 5e8).UTC()},
		},
	}
}

const (
	tableKey = "kcl:{orders}:table"
	indexKey = "kcl:{orders}:leases"
	rowKey   = "kcl:{orders}:lease:"
)

func hash(t *testing.T, srv *miniredis.Miniredis, key string) map[string]string {
	t.Helper()
	names, err := srv.HKeys(key)
	require.NoError(t, err)
	out := map[string]string{}
	for _, name := range names {
		out[name] = srv.HGet(key, name)
	}
	return out
}

// everyCall makes each call once, and returns the errors by the name of the call.
func everyCall(t *testing.T, s *redis.Store) map[string]error {
	t.Helper()
	ctx := t.Context()
	_, list := s.List(ctx)
	_, get := s.Get(ctx, "a")
	return map[string]error{
		"list": list, "get": get, "create": s.Create(ctx, lease("a")), "delete": s.Delete(ctx, lease("a"), 0),
		"update": s.Update(ctx, leases.Update{Read: lease("a"), To: lease("a"), Set: leases.AttrAll}),
		"init":   s.Init(ctx),
	}
}
