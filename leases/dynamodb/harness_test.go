package dynamodb_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

const table = "orders"

// serve starts a fake and returns it with a store on it.
func serve(
	t *testing.T, cfg dynamotest.Config, change ...func(*dynamodb.Config),
) (*dynamotest.Server, *dynamodb.Store) {
	t.Helper()
	srv := dynamotest.Start(cfg)
	t.Cleanup(srv.Close)
	return srv, storeOn(t, srv, change...)
}

func storeOn(t *testing.T, srv *dynamotest.Server, change ...func(*dynamodb.Config)) *dynamodb.Store {
	t.Helper()
	cfg := dynamodb.Config{
		Client: awstest.DynamoDB(t, srv), Table: table, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	return dynamodb.New(cfg)
}

// lease returns a row that has only the attributes that every row has.
func lease(key string) leases.Lease {
	return leases.Lease{
		Key: key, ShardID: key, ThroughputKBps: -1,
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}
}

// itemOf returns the item of a key in the table.
func itemOf(t *testing.T, srv *dynamotest.Server, key string) dynamotest.Item {
	t.Helper()
	for _, it := range srv.Items(table) {
		if it["leaseKey"].Text == key {
			return it
		}
	}
	require.Fail(t, "no item", key)
	return nil
}

type javaItem struct {
	Name  string
	Lease bool
	Item  dynamotest.Item
}

func javaItems(t *testing.T) []javaItem {
	t.Helper()
	b, err := os.ReadFile("testdata/java-items.json")
	require.NoError(t, err)
	var items []javaItem
	require.NoError(t, json.Unmarshal(b, &items))
	return items
}

func everything(key string) leases.Lease {
	return leases.Lease{
		Key: key, ShardID: key, Owner: "b", CheckpointOwner: "a", Counter: 9, OwnerSwitchesSinceCheckpoint: 1,
		Checkpoint:   kcl.ExtendedSequenceNumber{SequenceNumber: "12", SubSequenceNumber: 3},
		Pending:      kcl.ExtendedSequenceNumber{SequenceNumber: "13"},
		PendingState: []byte("s"), Parents: []string{"p"}, Children: []string{"c"},
		HashKeyRange: kcl.HashKeyRange{Start: "1", End: "2"}, ThroughputKBps: 0.000219,
		Extension: leases.Extension{
			NativeOwner: "b", PinnedAt: time.Unix(1700000000, 5e8), HandoverTo: "b", Abilities: 1,
			Application: "orders", StreamARN: "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
			StreamCreated: time.Unix(1600000000, 0), Paused: "shard p1", Reset: "r1", Reached: time.Unix(1700000001, 0),
			Origin: leases.Origin{Kind: kcl.SentinelLatest, At: time.Unix(1700000000, 5e8)},
		},
	}
}
