package kinesistest_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/kinesistest"
)

func TestQuirks(t *testing.T) {
	t.Parallel()
	srv := kinesistest.New(t, kinesistest.Config{
		Streams: []kinesistest.StreamConfig{{Name: "orders"}}, StateDelay: -1,
		Quirks: kinesistest.Quirks{PadSequenceNumbers: true, PlainConsumerARNs: true, NeedStreamName: true},
	})
	client, ctx := awstest.Kinesis(t, srv), t.Context()
	name, arn := aws.String("orders"), aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/orders")

	_, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamARN: arn})
	require.ErrorContains(t, err, "StreamName is required")
	shards, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: name, StreamARN: arn})
	require.NoError(t, err)
	shard := shards.Shards[0].ShardId

	put, err := client.PutRecord(ctx,
		&kinesis.PutRecordInput{StreamName: name, PartitionKey: aws.String("key"), Data: []byte(`"SequenceNumber":"1"`)})
	require.NoError(t, err)
	require.Regexp(t, "^00000000[1-9]", *put.SequenceNumber)
	from := func(number string) error {
		_, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
			StreamName: name, ShardId: shard, ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber,
			StartingSequenceNumber: &number,
		})
		return err
	}
	require.NoError(t, from(*put.SequenceNumber))
	require.ErrorContains(t, from((*put.SequenceNumber)[8:]), "did not come from this stream")

	consumer, err := client.RegisterStreamConsumer(ctx,
		&kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: aws.String("billing")})
	require.NoError(t, err)
	require.Equal(t, *arn+"/consumer/billing", *consumer.Consumer.ConsumerARN)
	out, err := client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: consumer.Consumer.ConsumerARN, ShardId: shard,
		StartingPosition: &types.StartingPosition{
			Type:           types.ShardIteratorTypeAtSequenceNumber,
			SequenceNumber: put.SequenceNumber,
		},
	})
	require.NoError(t, err)
	defer out.GetStream().Close()
	select {
	case event := <-out.GetStream().Events():
		record := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value.Records[0]
		require.Equal(t, put.SequenceNumber, record.SequenceNumber)
		require.Equal(t, `"SequenceNumber":"1"`, string(record.Data), "data are not rewritten")
	case <-time.After(10 * time.Second):
		require.FailNow(t, "no event")
	}
}
