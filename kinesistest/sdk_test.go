package kinesistest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/kinesistest"
)

// env is a server with a stream of one shard, and a client.
type env struct {
	t   *testing.T
	srv *kinesistest.Server
	cl  *kinesis.Client
}

// inBubble runs f in virtual time against a server with a stream of that many shards.
func inBubble(t *testing.T, shards int, f func(t *testing.T, e env)) {
	t.Helper()
	withConfig(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: testStream, Shards: shards}}}, f)
}

func withConfig(t *testing.T, cfg kinesistest.Config, f func(t *testing.T, e env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := kinesistest.New(t, cfg)
		f(t, env{t: t, srv: srv, cl: awstest.Kinesis(t, srv)})
	})
}

// settle waits until states have changed.
func (e env) settle() { pass(kinesistest.DefaultStateDelay) }

// pass waits for d, and then until all that is due has happened.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// put writes a record without a request.
func (e env) put(key, data string) (shardID, sequenceNumber string) {
	e.t.Helper()
	shardID, sequenceNumber, err := e.srv.Put(testStream, key, []byte(data))
	require.NoError(e.t, err)
	return shardID, sequenceNumber
}

// consumer registers a consumer without a request.
func (e env) consumer(name string) string {
	e.t.Helper()
	arn, err := e.srv.RegisterConsumer(testStream, name)
	require.NoError(e.t, err)
	return arn
}

// requireCode checks the code of an error of the service.
func requireCode(tb testing.TB, code string, err error) smithy.APIError {
	tb.Helper()
	require.Error(tb, err)
	var api smithy.APIError
	require.ErrorAs(tb, err, &api)
	require.Equal(tb, code, api.ErrorCode(), "%v", err)
	return api
}

// TestSDKRoundTrip calls every operation once with the real client, in an order in which each
// succeeds.
func TestSDKRoundTrip(t *testing.T) {
	withConfig(t, kinesistest.Config{}, func(t *testing.T, e env) {
		name := aws.String(testStream)
		arn := aws.String(e.srv.StreamARN(testStream))

		_, err := e.cl.CreateStream(e.t.Context(),
			&kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(2), Tags: map[string]string{"a": "1"}})
		require.NoError(t, err)
		require.NoError(t, kinesis.NewStreamExistsWaiter(e.cl).Wait(e.t.Context(),
			&kinesis.DescribeStreamInput{StreamName: name}, time.Minute))

		described, err := e.cl.DescribeStream(e.t.Context(), &kinesis.DescribeStreamInput{StreamARN: arn})
		require.NoError(t, err)
		d := described.StreamDescription
		require.Equal(t, testStream, *d.StreamName)
		require.Equal(t, *arn, *d.StreamARN)
		require.Equal(t, types.StreamStatusActive, d.StreamStatus)
		require.Len(t, d.Shards, 2)
		require.False(t, *d.HasMoreShards)
		require.Equal(t, int32(24), *d.RetentionPeriodHours)
		require.WithinDuration(t, time.Now(), *d.StreamCreationTimestamp, time.Minute)

		summary, err := e.cl.DescribeStreamSummary(e.t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: name})
		require.NoError(t, err)
		require.Equal(t, int32(2), *summary.StreamDescriptionSummary.OpenShardCount)
		require.Equal(t, int32(1024), *summary.StreamDescriptionSummary.MaxRecordSizeInKiB)

		streams, err := e.cl.ListStreams(e.t.Context(), &kinesis.ListStreamsInput{})
		require.NoError(t, err)
		require.Equal(t, []string{testStream}, streams.StreamNames)
		require.Equal(t, *arn, *streams.StreamSummaries[0].StreamARN)

		limits, err := e.cl.DescribeLimits(e.t.Context(), &kinesis.DescribeLimitsInput{})
		require.NoError(t, err)
		require.Equal(t, int32(2), *limits.OpenShardCount)
		require.Equal(t, int32(20000), *limits.ShardLimit)

		shard := roundTripRecords(t, e, name, arn)
		roundTripConsumer(t, e, arn, shard)
		roundTripChanges(t, e, name, arn)
		roundTripTags(t, e, name, arn)

		_, err = e.cl.DeleteStream(e.t.Context(), &kinesis.DeleteStreamInput{StreamName: name})
		require.NoError(t, err)
		require.NoError(t, kinesis.NewStreamNotExistsWaiter(e.cl).Wait(e.t.Context(),
			&kinesis.DescribeStreamInput{StreamName: name}, time.Minute))
	})
}

func roundTripRecords(t *testing.T, e env, name, arn *string) (shard *string) {
	t.Helper()
	put, err := e.cl.PutRecord(e.t.Context(),
		&kinesis.PutRecordInput{StreamName: name, PartitionKey: aws.String("k"), Data: []byte("one")})
	require.NoError(t, err)
	puts, err := e.cl.PutRecords(e.t.Context(),
		&kinesis.PutRecordsInput{StreamARN: arn, Records: []types.PutRecordsRequestEntry{
			{PartitionKey: aws.String("k"), Data: []byte("two")},
			{PartitionKey: aws.String("k"), ExplicitHashKey: aws.String("0"), Data: []byte{}},
		}})
	require.NoError(t, err)
	require.Equal(t, int32(0), *puts.FailedRecordCount)
	require.Equal(t, *put.ShardId, *puts.Records[0].ShardId)

	iterator, err := e.cl.GetShardIterator(e.t.Context(), &kinesis.GetShardIteratorInput{
		StreamName: name,
		ShardId:    put.ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	require.NoError(t, err)
	got, err := e.cl.GetRecords(e.t.Context(),
		&kinesis.GetRecordsInput{ShardIterator: iterator.ShardIterator, StreamARN: arn})
	require.NoError(t, err)
	require.Equal(t, "one", string(got.Records[0].Data))
	require.Equal(t, "k", *got.Records[0].PartitionKey)
	require.Equal(t, *put.SequenceNumber, *got.Records[0].SequenceNumber)
	require.Empty(t, got.Records[0].EncryptionType)
	require.Equal(t, "two", string(got.Records[1].Data))

	shards, err := e.cl.ListShards(e.t.Context(), &kinesis.ListShardsInput{StreamName: name})
	require.NoError(t, err)
	require.Len(t, shards.Shards, 2)
	require.Nil(t, shards.NextToken)
	require.Equal(t, "0", *shards.Shards[0].HashKeyRange.StartingHashKey)
	require.Equal(t, "340282366920938463463374607431768211455", *shards.Shards[1].HashKeyRange.EndingHashKey)
	require.Nil(t, shards.Shards[0].SequenceNumberRange.EndingSequenceNumber)
	return put.ShardId
}

func roundTripConsumer(t *testing.T, e env, arn, shard *string) {
	t.Helper()
	registered, err := e.cl.RegisterStreamConsumer(e.t.Context(),
		&kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: aws.String("app")})
	require.NoError(t, err)
	require.Equal(t, types.ConsumerStatusCreating, registered.Consumer.ConsumerStatus)
	e.settle()
	consumer, err := e.cl.DescribeStreamConsumer(e.t.Context(),
		&kinesis.DescribeStreamConsumerInput{ConsumerARN: registered.Consumer.ConsumerARN})
	require.NoError(t, err)
	require.Equal(t, types.ConsumerStatusActive, consumer.ConsumerDescription.ConsumerStatus)
	consumers, err := e.cl.ListStreamConsumers(e.t.Context(), &kinesis.ListStreamConsumersInput{StreamARN: arn})
	require.NoError(t, err)
	require.Len(t, consumers.Consumers, 1)

	sub, err := e.cl.SubscribeToShard(e.t.Context(), &kinesis.SubscribeToShardInput{
		ConsumerARN: registered.Consumer.ConsumerARN, ShardId: shard,
		StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
	})
	require.NoError(t, err)
	event := (<-sub.GetStream().Events()).(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
	require.Equal(t, "one", string(event.Records[0].Data))
	require.NoError(t, sub.GetStream().Close())

	_, err = e.cl.DeregisterStreamConsumer(e.t.Context(),
		&kinesis.DeregisterStreamConsumerInput{ConsumerARN: registered.Consumer.ConsumerARN})
	require.NoError(t, err)
	e.settle()
}

func roundTripChanges(t *testing.T, e env, name, arn *string) {
	t.Helper()
	_, err := e.cl.SplitShard(e.t.Context(), &kinesis.SplitShardInput{
		StreamName:   name,
		ShardToSplit: aws.String(shardID(0)), NewStartingHashKey: aws.String("1000"),
	})
	require.NoError(t, err)
	e.settle()
	_, err = e.cl.MergeShards(e.t.Context(), &kinesis.MergeShardsInput{
		StreamName:   name,
		ShardToMerge: aws.String(shardID(2)), AdjacentShardToMerge: aws.String(shardID(3)),
	})
	require.NoError(t, err)
	e.settle()
	scaled, err := e.cl.UpdateShardCount(e.t.Context(), &kinesis.UpdateShardCountInput{
		StreamName:       name,
		TargetShardCount: aws.Int32(3), ScalingType: types.ScalingTypeUniformScaling,
	})
	require.NoError(t, err)
	require.Equal(t, int32(2), *scaled.CurrentShardCount)
	require.Equal(t, int32(3), *scaled.TargetShardCount)
	e.settle()

	_, err = e.cl.IncreaseStreamRetentionPeriod(e.t.Context(),
		&kinesis.IncreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: aws.Int32(48)})
	require.NoError(t, err)
	e.settle()
	_, err = e.cl.DecreaseStreamRetentionPeriod(e.t.Context(),
		&kinesis.DecreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: aws.Int32(24)})
	require.NoError(t, err)
	e.settle()
	_, err = e.cl.UpdateMaxRecordSize(e.t.Context(),
		&kinesis.UpdateMaxRecordSizeInput{StreamARN: arn, MaxRecordSizeInKiB: aws.Int32(2048)})
	require.NoError(t, err)
	e.settle()
	_, err = e.cl.StartStreamEncryption(e.t.Context(), &kinesis.StartStreamEncryptionInput{
		StreamName:     name,
		EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/aws/kinesis"),
	})
	require.NoError(t, err)
	e.settle()
	_, err = e.cl.StopStreamEncryption(e.t.Context(), &kinesis.StopStreamEncryptionInput{
		StreamName:     name,
		EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/aws/kinesis"),
	})
	require.NoError(t, err)
	e.settle()
	_, err = e.cl.UpdateStreamMode(e.t.Context(), &kinesis.UpdateStreamModeInput{
		StreamARN:         arn,
		StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
	})
	require.NoError(t, err)
	e.settle()
	_, err = e.cl.UpdateStreamRecordDistributionStrategy(e.t.Context(),
		&kinesis.UpdateStreamRecordDistributionStrategyInput{
			StreamARN:                  arn,
			RecordDistributionStrategy: types.RecordDistributionStrategyAuto,
		})
	require.NoError(t, err)
}

func roundTripTags(t *testing.T, e env, name, arn *string) {
	t.Helper()
	_, err := e.cl.AddTagsToStream(e.t.Context(),
		&kinesis.AddTagsToStreamInput{StreamName: name, Tags: map[string]string{"b": "2"}})
	require.NoError(t, err)
	_, err = e.cl.TagResource(e.t.Context(),
		&kinesis.TagResourceInput{ResourceARN: arn, Tags: map[string]string{"c": "3"}})
	require.NoError(t, err)
	_, err = e.cl.RemoveTagsFromStream(e.t.Context(),
		&kinesis.RemoveTagsFromStreamInput{StreamName: name, TagKeys: []string{"a"}})
	require.NoError(t, err)
	tags, err := e.cl.ListTagsForStream(e.t.Context(), &kinesis.ListTagsForStreamInput{StreamName: name})
	require.NoError(t, err)
	require.Len(t, tags.Tags, 2)
	_, err = e.cl.UntagResource(e.t.Context(), &kinesis.UntagResourceInput{ResourceARN: arn, TagKeys: []string{"c"}})
	require.NoError(t, err)
	resourceTags, err := e.cl.ListTagsForResource(e.t.Context(), &kinesis.ListTagsForResourceInput{ResourceARN: arn})
	require.NoError(t, err)
	require.Equal(t, []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}}, resourceTags.Tags)
}
