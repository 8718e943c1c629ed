package integration

import (
	"context"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"
)

// createStream makes a stream and waits until it can be used.
func createStream(ctx context.Context, t *testing.T, client *kinesis.Client, shards int32) string {
	t.Helper()
	name := unique("stream")
	_, err := client.CreateStream(ctx,
		&kinesis.CreateStreamInput{StreamName: aws.String(name), ShardCount: aws.Int32(shards)})
	require.NoError(t, err)
	awaitActive(ctx, t, client, name)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := client.DeleteStream(ctx,
			&kinesis.DeleteStreamInput{StreamName: aws.String(name), EnforceConsumerDeletion: aws.Bool(true)})
		if err != nil {
			t.Logf("stream %s stays behind: %v", name, err)
		}
	})
	return name
}

func awaitActive(ctx context.Context, t *testing.T, client *kinesis.Client, stream string) {
	t.Helper()
	until(ctx, t, func() string { return "stream " + stream + " is not ACTIVE" }, func() bool {
		out, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(stream)})
		require.NoError(t, err)
		return out.StreamDescriptionSummary.StreamStatus == types.StreamStatusActive
	})
}

// split divides the first open shard in two, in the middle of its hash range.
func split(ctx context.Context, t *testing.T, client *kinesis.Client, stream string) (parent string) {
	t.Helper()
	shard := openShards(ctx, t, client, stream)[0]
	_, err := client.SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName: aws.String(stream), ShardToSplit: shard.ShardId,
		NewStartingHashKey: aws.String(middle(t, shard)),
	})
	require.NoError(t, err)
	awaitActive(ctx, t, client, stream)
	return aws.ToString(shard.ShardId)
}

// merge joins the first two open shards that lie side by side.
func merge(ctx context.Context, t *testing.T, client *kinesis.Client, stream string) (parents []string) {
	t.Helper()
	shards := openShards(ctx, t, client, stream)
	_, err := client.MergeShards(ctx, &kinesis.MergeShardsInput{
		StreamName: aws.String(stream), ShardToMerge: shards[0].ShardId, AdjacentShardToMerge: shards[1].ShardId,
	})
	require.NoError(t, err)
	awaitActive(ctx, t, client, stream)
	return []string{aws.ToString(shards[0].ShardId), aws.ToString(shards[1].ShardId)}
}

// openShards lists the shards that take records, by hash range.
func openShards(ctx context.Context, t *testing.T, client *kinesis.Client, stream string) []types.Shard {
	t.Helper()
	out, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String(stream)})
	require.NoError(t, err)
	shards := slices.DeleteFunc(out.Shards,
		func(s types.Shard) bool { return s.SequenceNumberRange.EndingSequenceNumber != nil })
	slices.SortFunc(shards, func(a, b types.Shard) int {
		return number(t, a.HashKeyRange.StartingHashKey).Cmp(number(t, b.HashKeyRange.StartingHashKey))
	})
	return shards
}

// middle is the hash key that starts the upper half of a shard.
func middle(t *testing.T, shard types.Shard) string {
	t.Helper()
	sum := new(big.Int).Add(number(t, shard.HashKeyRange.StartingHashKey), number(t, shard.HashKeyRange.EndingHashKey))
	return sum.Add(sum, big.NewInt(1)).Rsh(sum, 1).String()
}

func number(t *testing.T, decimal *string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(aws.ToString(decimal), 10)
	require.True(t, ok, "hash key %q", aws.ToString(decimal))
	return n
}
