package redis_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/redis"
)

// TestListOfRowsThatAreNone: a script judges a row that HGETALL cannot read. It does not read the
// other rows of the page.
func TestListOfRowsThatAreNone(t *testing.T) {
	t.Parallel()
	srv, s := serve(t)
	require.NoError(t, s.Init(t.Context()))
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		require.NoError(t, s.Create(t.Context(), lease(key)))
	}
	srv.Del(rowKey + "b") // an eviction
	srv.Del(rowKey + "d")
	require.NoError(t, srv.Set(rowKey+"d", "no hash"))
	var judged atomic.Int32
	srv.Server().SetPreHook(func(_ *server.Peer, cmd string, args ...string) bool {
		if cmd == "EVALSHA" || cmd == "EVAL" {
			for _, a := range args {
				if strings.HasPrefix(a, rowKey) {
					judged.Add(1)
				}
			}
		}
		return false
	})
	l, err := s.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []leases.Lease{lease("a"), lease("c"), lease("e")}, l.Leases)
	require.Len(t, l.Bad, 2)
	require.ErrorContains(t, l.Bad[0], "it was evicted")
	require.ErrorContains(t, l.Bad[1], "it is a string, want a hash")
	require.Contains(t, []int32{2, 4}, judged.Load(), "twice when the server did not have the script")
}

// TestListWhileTheTableGoes: the table may be deleted, or become that of another application, after
// a page of the index was read. Its rows are not taken for leases then.
func TestListWhileTheTableGoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*miniredis.Miniredis)
		want   error
	}{
		"flushed": {func(srv *miniredis.Miniredis) { srv.FlushAll() }, leases.ErrTableNotFound},
		"of a later version": {func(srv *miniredis.Miniredis) {
			srv.HSet(tableKey, "format",
				"2")
		}, leases.ErrForeignTable},
		"of another app": {func(srv *miniredis.Miniredis) {
			srv.HSet(tableKey, "application",
				"x")
		}, leases.ErrForeignTable},
		"replaced by something": {func(srv *miniredis.Miniredis) {
			srv.Del(tableKey)
			_ = srv.Set(tableKey,
				"x")
		}, leases.ErrForeignTable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, admin := serve(t)
			require.NoError(t, admin.Init(t.Context()))
			require.NoError(t, admin.Create(t.Context(), everything("a")))
			client := clientOf(t, srv)
			client.AddHook(beforePipeline(func() { c.change(srv) }))
			s := storeOn(t, srv, func(cfg *redis.Config) { cfg.Client = client })
			l, err := s.List(t.Context())
			require.ErrorIs(t, err, c.want)
			require.Empty(t, l.Leases)
		})
	}
}

// TestListReadsFromTheMaster: the client of a cluster may be configured to read from replicas,
// which lack the latest writes.
func TestListReadsFromTheMaster(t *testing.T) {
	t.Parallel()
	srv, admin := serve(t)
	replica, _ := serve(t) // it has no rows yet
	require.NoError(t, admin.Init(t.Context()))
	require.NoError(t, admin.Create(t.Context(), lease("a")))
	client := sdk.NewClusterClient(&sdk.ClusterOptions{
		ClusterSlots: func(context.Context) ([]sdk.ClusterSlot, error) {
			return []sdk.ClusterSlot{
				{Start: 0, End: 16383, Nodes: []sdk.ClusterNode{{Addr: "master:1"}, {Addr: "replica:1"}}},
			}, nil
		},
		RouteRandomly: true,
		Dialer: func(_ context.Context, _, address string) (net.Conn, error) {
			if address == "replica:1" {
				return replica.Dial()
			}
			return srv.Dial()
		},
	})
	t.Cleanup(func() { _ = client.Close() })
	s := storeOn(t, srv, func(c *redis.Config) { c.Client = client })
	plain := 0
	for range 30 {
		found, err := client.HGetAll(t.Context(), rowKey+"a").Result()
		if err == nil && len(found) == 0 {
			plain++
		}
		l, err := s.ListNow(t.Context())
		require.NoError(t, err)
		require.Equal(t, []leases.Lease{lease("a")}, l.Leases)
	}
	require.NotZero(t, plain, "the client does read from the replica")
}

// beforePipeline calls a function before every pipeline.
type beforePipeline func()

func (beforePipeline) DialHook(next sdk.DialHook) sdk.DialHook          { return next }
func (beforePipeline) ProcessHook(next sdk.ProcessHook) sdk.ProcessHook { return next }
func (f beforePipeline) ProcessPipelineHook(next sdk.ProcessPipelineHook) sdk.ProcessPipelineHook {
	return func(ctx context.Context, commands []sdk.Cmder) error {
		if len(commands) > 1 && commands[0].Name() == "hgetall" {
			f()
		}
		return next(ctx, commands)
	}
}

// BenchmarkList is one listing. BenchmarkRedisList of the integration suite measures the time of a
// server's thread.
func BenchmarkList(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			srv := miniredis.NewMiniRedis()
			defer srv.Close()
			client := sdk.NewClient(&sdk.Options{
				Addr:   noLookup,
				Dialer: func(context.Context, string, string) (net.Conn, error) { return srv.Dial() },
			})
			defer func() { _ = client.Close() }()
			s := redis.New(redis.Config{Client: client, Application: application})
			require.NoError(b, s.Init(b.Context()))
			for i := range n {
				require.NoError(b, s.Create(b.Context(), everything(fmt.Sprintf("shardId-%012d", i))))
			}
			b.ResetTimer()
			for range b.N {
				l, err := s.List(b.Context())
				require.NoError(b, err)
				require.Len(b, l.Leases, n)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/lease")
		})
	}
}
