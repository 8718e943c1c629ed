package kinesistest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/kinesistest"
)

func TestSmoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := kinesistest.New(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "s", Shards: 1}}})
		cl := awstest.Kinesis(t, srv)
		ctx := t.Context()
		put, err := cl.PutRecord(ctx, &kinesis.PutRecordInput{StreamName: aws.String("s"), PartitionKey: aws.String("k"), Data: []byte("hello")})
		require.NoError(t, err)
		t.Log(*put.SequenceNumber, len(*put.SequenceNumber))
		arn, err := srv.RegisterConsumer("s", "c")
		require.NoError(t, err)
		begin := time.Now()
		out, err := cl.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{ConsumerARN: &arn, ShardId: put.ShardId, StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}})
		require.NoError(t, err)
		for e := range out.GetStream().Events() {
			ev := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
			if len(ev.Records) > 0 {
				t.Log(string(ev.Records[0].Data), time.Since(begin))
			}
		}
		require.NoError(t, out.GetStream().Err())
		t.Log(time.Since(begin))
	})
}
