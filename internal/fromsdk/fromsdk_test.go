package fromsdk_test

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/fromsdk"
)

func TestRefusesWhatHasNoPlace(t *testing.T) {
	t.Parallel()
	_, _, _, err := fromsdk.Records([]types.Record{{Data: []byte("x")}})
	require.ErrorContains(t, err, "without a sequence number")
	for _, number := range []string{"", "abc", "TRIM_HORIZON", "-1", "1.5", "1 ", strings.Repeat("1", 130)} {
		_, _, _, err := fromsdk.Records([]types.Record{{Data: []byte("x"), SequenceNumber: &number}})
		require.Error(t, err, number)
	}
	require.Nil(t, fromsdk.Children([]types.ChildShard{{ParentShards: []string{"shardId-1"}}}, "shardId-1"))
	require.Nil(
		t,
		fromsdk.Children([]types.ChildShard{{ShardId: aws.String("shardId-2"), ParentShards: []string{"shardId-3"}}},
			"shardId-1"),
		"a child of another shard",
	)
	require.Nil(t, fromsdk.Children([]types.ChildShard{{ShardId: aws.String("shardId-2")}}, "shardId-1"),
		"a child that names no parents fits nowhere")
}

// Some servers for tests write leading zeros, and want them back.
func TestLeadingZerosAreKept(t *testing.T) {
	t.Parallel()
	records, _, _, err := fromsdk.Records([]types.Record{{Data: []byte("x"), SequenceNumber: aws.String("00012")}})
	require.NoError(t, err)
	require.Equal(t, "00012", records[0].SequenceNumber())
}

func TestRecords(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	records, payload, total, err := fromsdk.Records([]types.Record{
		{SequenceNumber: aws.String("1"), Data: []byte("abc")},
		{
			SequenceNumber:              aws.String("2"),
			Data:                        []byte("de"),
			PartitionKey:                aws.String("key"),
			ApproximateArrivalTimestamp: &at,
			EncryptionType:              types.EncryptionTypeKms,
		},
	})
	require.NoError(t, err)
	_, ok := records[0].PartitionKey()
	require.False(t, ok)
	require.True(t, records[0].ApproximateArrival().IsZero())
	key, ok := records[1].PartitionKey()
	require.True(t, ok)
	require.Equal(t, "key", key)
	require.Equal(t, at, records[1].ApproximateArrival())
	require.Equal(t, kcl.EncryptionKMS, records[1].EncryptionType())
	require.Equal(t, 5, payload)
	require.Equal(t, 8, total)
}

func TestChildren(t *testing.T) {
	t.Parallel()
	require.Equal(t,
		[]kcl.ChildShard{{ID: "c", Parents: []string{"a", "b"}, HashKeyRange: kcl.HashKeyRange{Start: "0", End: "9"}}},
		fromsdk.Children([]types.ChildShard{{
			ShardId: aws.String("c"), ParentShards: []string{"a", "b"},
			HashKeyRange: &types.HashKeyRange{StartingHashKey: aws.String("0"), EndingHashKey: aws.String("9")},
		}}, "b"))
	for _, test := range []struct {
		millis *int64
		want   kcl.Batch
	}{
		{aws.Int64(1500), kcl.Batch{BehindLatest: 1500 * time.Millisecond}},
		{aws.Int64(0), kcl.Batch{}},
		{nil, kcl.Batch{LagUnknown: true}},
		{aws.Int64(-1), kcl.Batch{LagUnknown: true}},
		{aws.Int64(math.MaxInt64), kcl.Batch{BehindLatest: 10 * 366 * 24 * time.Hour}},
	} {
		var b kcl.Batch
		fromsdk.SetLag(&b, test.millis)
		require.Equal(t, test.want, b)
	}
}

// TestOneAllocationABatch: nothing is allocated per record.
func TestOneAllocationABatch(t *testing.T) {
	in := make([]types.Record, 1000)
	for i := range in {
		seq := strconv.Itoa(i + 1)
		in[i] = types.Record{Data: make([]byte, 100), PartitionKey: &seq, SequenceNumber: &seq}
	}
	require.InDelta(t, 1, testing.AllocsPerRun(10, func() {
		if records, _, _, err := fromsdk.Records(in); err != nil || len(records) != len(in) {
			t.Error(err)
		}
	}), 0)
}
