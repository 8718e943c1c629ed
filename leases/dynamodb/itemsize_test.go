package dynamodb

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// itemSize returns the size as DynamoDB counts it: UTF-8 bytes of names and texts, half a byte for
// a digit, and one more byte for a number.
func itemSize(t *testing.T, it item) int {
	t.Helper()
	n := 0
	for name, v := range it {
		n += len(name)
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			n += len(v.Value)
		case *types.AttributeValueMemberN:
			n += len(v.Value)/2 + 2
		case *types.AttributeValueMemberB:
			n += len(v.Value)
		case *types.AttributeValueMemberSS:
			n += 3
			for _, s := range v.Value {
				n += len(s) + 1
			}
		default:
			t.Fatalf("%s is a %T", name, v)
		}
	}
	return n
}

// Above 1,024 bytes every write of a lease costs two units. A lease with marks, of an application
// with several streams, stays below that with long names.
func TestMarkedItemCostsOneWriteUnit(t *testing.T) {
	t.Parallel()
	const number = "49590338271490256608559692538361571095921575989136588898" // as long as those of the service
	id := kcl.StreamIdentifier{AccountID: "123456789012", Name: strings.Repeat("s", 64), CreationEpoch: 1_700_000_000}
	id.ARN = "arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/" + id.Name
	now := time.UnixMilli(1_700_000_000_123).UTC()
	worker := "ip-10-123-123-123.us-gov-west-1.compute.internal:a1b2c3d4" // host and suffix
	l := shardsync.Plan([]kcl.Shard{{
		ID: "shardId-000000000002", ParentID: "shardId-000000000000", AdjacentParentID: "shardId-000000000001",
		HashKeyRange: kcl.HashKeyRange{
			Start: "170141183460469231731687303715884105728", End: "340282366920938463463374607431768211455",
		},
	}}, nil, kcl.InitialPosition{Kind: kcl.Latest}, shardsync.Options{
		Stream: id, Multi: true, PinnedAt: now, StreamCreated: now, Application: strings.Repeat("a", 64),
	})[0]
	l.Origin = leases.Origin{Kind: kcl.SentinelAtTimestamp, At: now}
	l.PinnedAt = time.Time{} // the first checkpoint removes it
	l.Owner, l.NativeOwner = worker, worker
	l.Counter, l.OwnerSwitchesSinceCheckpoint, l.ThroughputKBps = 123_456_789, 12, 1234.567
	l.Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: number, SubSequenceNumber: 1234}
	l.Abilities = 3
	it, err := encode(l)
	require.NoError(t, err)
	require.Less(t, itemSize(t, it), 1024-100, "it is renewed every few seconds")

	l.CheckpointOwner = worker // while it is handed over
	it, err = encode(l)
	require.NoError(t, err)
	require.Less(t, itemSize(t, it), 1024)

	l.CheckpointOwner, l.Children = "", []string{"shardId-000000000003", "shardId-000000000004"} // at the end of the shard
	it, err = encode(l)
	require.NoError(t, err)
	require.Less(t, itemSize(t, it), 1024)
}
