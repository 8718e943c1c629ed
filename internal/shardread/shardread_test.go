package shardread_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardread"
)

func TestMayHaveEnded(t *testing.T) {
	t.Parallel()
	children := []kcl.ChildShard{{ID: "shardId-000000000001"}}
	open, closed := kcl.Shard{ID: "shardId-000000000000"}, kcl.Shard{ID: "shardId-000000000000", EndingSequenceNumber: "7"}
	for name, test := range map[string]struct {
		listing               shardread.Listing
		unsaid, afterEndEvent bool
	}{
		"unknown":            {},
		"no children":        {listing: shardread.Listing{Shard: closed, Listed: true}},
		"open with children": {listing: shardread.Listing{Shard: open, Children: children, Listed: true}},
		"closed with children": {
			listing: shardread.Listing{Shard: closed, Children: children, Listed: true}, unsaid: true,
			afterEndEvent: true,
		},
		"only children visible": {listing: shardread.Listing{Children: children}, afterEndEvent: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.unsaid, test.listing.MayHaveEnded(false))
			require.Equal(t, test.afterEndEvent, test.listing.MayHaveEnded(true))
		})
	}
}

func TestRequestsNameThePosition(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1700000000123)
	for _, test := range []struct {
		from   kcl.Position
		kind   types.ShardIteratorType
		number string
		time   *time.Time
	}{
		{kcl.Position{}, types.ShardIteratorTypeTrimHorizon, "", nil},
		{kcl.Position{Kind: kcl.Latest}, types.ShardIteratorTypeLatest, "", nil},
		{kcl.Position{Kind: kcl.AtTimestamp, Timestamp: at}, types.ShardIteratorTypeAtTimestamp, "", &at},
		{kcl.At("7"), types.ShardIteratorTypeAtSequenceNumber, "7", nil},
		{kcl.After("7"), types.ShardIteratorTypeAfterSequenceNumber, "7", nil},
	} {
		start, iterator := shardread.StartingPosition(test.from), shardread.IteratorInput(test.from)
		require.Equal(t, test.kind, start.Type)
		require.Equal(t, test.kind, iterator.ShardIteratorType)
		require.Equal(t, test.time, start.Timestamp)
		require.Equal(t, test.time, iterator.Timestamp)
		require.Equal(t, start.SequenceNumber, iterator.StartingSequenceNumber)
		if test.number == "" {
			require.Nil(t, start.SequenceNumber)
		} else {
			require.Equal(t, test.number, *start.SequenceNumber)
		}
	}
}
