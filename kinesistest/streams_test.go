package kinesistest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/kinesistest"
)

func (e env) create(name string, shards int32) error {
	_, err := e.cl.CreateStream(e.t.Context(), &kinesis.CreateStreamInput{StreamName: &name, ShardCount: &shards})
	return err
}

func (e env) summary(name string) (*types.StreamDescriptionSummary, error) {
	out, err := e.cl.DescribeStreamSummary(e.t.Context(), &kinesis.DescribeStreamSummaryInput{StreamName: &name})
	if err != nil {
		return nil, err
	}
	return out.StreamDescriptionSummary, nil
}

// TestStreamLife: CREATING, ACTIVE, DELETING, gone, and what may be done in each state.
func TestStreamLife(t *testing.T) {
	withConfig(t, kinesistest.Config{StateDelay: time.Minute}, func(t *testing.T, e env) {
		require.NoError(t, e.create(testStream, 2))
		requireCode(t, "ResourceInUseException", e.create(testStream, 2))
		s, err := e.summary(testStream)
		require.NoError(t, err)
		require.Equal(t, types.StreamStatusCreating, s.StreamStatus)
		d, err := e.cl.DescribeStream(e.t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String(testStream)})
		require.NoError(t, err)
		require.Empty(t, d.StreamDescription.Shards)
		_, err = e.putRecord("k", "x")
		requireCode(t, "ResourceNotFoundException", err)
		_, err = e.cl.ListShards(e.t.Context(), &kinesis.ListShardsInput{StreamName: aws.String(testStream)})
		requireCode(t, "ResourceInUseException", err)
		pass(time.Minute)
		s, err = e.summary(testStream)
		require.NoError(t, err)
		require.Equal(t, types.StreamStatusActive, s.StreamStatus)
		_, err = e.putRecord("k", "x")
		require.NoError(t, err)

		_, err = e.cl.DeleteStream(e.t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String(testStream)})
		require.NoError(t, err)
		s, err = e.summary(testStream)
		require.NoError(t, err)
		require.Equal(t, types.StreamStatusDeleting, s.StreamStatus)
		_, err = e.putRecord("k", "x")
		requireCode(t, "ResourceNotFoundException", err)
		requireCode(t, "ResourceInUseException", e.create(testStream, 2))
		pass(time.Minute)
		_, err = e.summary(testStream)
		require.Equal(t, "Stream orders under account 000000000000 not found.",
			requireCode(t, "ResourceNotFoundException", err).ErrorMessage())
		require.NoError(t, e.create(testStream, 2))
	})
}

func TestCreateStreamRefused(t *testing.T) {
	withConfig(t, kinesistest.Config{}, func(t *testing.T, e env) {
		for name, c := range map[string]struct {
			in   kinesis.CreateStreamInput
			code string
		}{
			"bad name": {
				kinesis.CreateStreamInput{StreamName: aws.String("a/b"), ShardCount: aws.Int32(1)},
				"ValidationException",
			},
			"long name": {kinesis.CreateStreamInput{
				StreamName: aws.String(strings.Repeat("x", 129)),
				ShardCount: aws.Int32(1),
			}, "ValidationException"},
			"no shards": {
				kinesis.CreateStreamInput{StreamName: aws.String("s"), ShardCount: aws.Int32(0)},
				"ValidationException",
			},
			"provisioned": {kinesis.CreateStreamInput{StreamName: aws.String("s")}, "InvalidArgumentException"},
			"on demand": {kinesis.CreateStreamInput{
				StreamName: aws.String("s"), ShardCount: aws.Int32(1),
				StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
			}, "ValidationException"},
			"unknown mode": {kinesis.CreateStreamInput{
				StreamName:        aws.String("s"),
				StreamModeDetails: &types.StreamModeDetails{StreamMode: "X"},
			}, "ValidationException"},
			"record size": {kinesis.CreateStreamInput{
				StreamName: aws.String("s"), ShardCount: aws.Int32(1),
				MaxRecordSizeInKiB: aws.Int32(1000),
			}, "ValidationException"},
			"auto provisioned": {kinesis.CreateStreamInput{
				StreamName: aws.String("s"), ShardCount: aws.Int32(1),
				RecordDistributionStrategy: types.RecordDistributionStrategyAuto,
			}, "InvalidArgumentException"},
			"long tag": {kinesis.CreateStreamInput{
				StreamName: aws.String("s"), ShardCount: aws.Int32(1),
				Tags: map[string]string{strings.Repeat("k", 129): ""},
			}, "ValidationException"},
			"too many shards": {
				kinesis.CreateStreamInput{StreamName: aws.String("s"), ShardCount: aws.Int32(20001)},
				"LimitExceededException",
			},
		} {
			time.Sleep(time.Second)
			_, err := e.cl.CreateStream(e.t.Context(), &c.in)
			requireCode(t, c.code, err)
			_ = name
		}
		_, err := e.cl.CreateStream(e.t.Context(), &kinesis.CreateStreamInput{
			StreamName: aws.String("s"), StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand},
			RecordDistributionStrategy: types.RecordDistributionStrategyAuto, MaxRecordSizeInKiB: aws.Int32(10240),
		})
		require.NoError(t, err)
		e.settle()
		s, err := e.summary("s")
		require.NoError(t, err)
		require.Equal(t, int32(4), *s.OpenShardCount)
		require.Equal(t, types.StreamModeOnDemand, s.StreamModeDetails.StreamMode)
		require.Equal(t, types.RecordDistributionStrategyAuto, s.RecordDistributionStrategy)
		require.Equal(t, int32(10240), *s.MaxRecordSizeInKiB)
	})
}

// TestCreateStreamLimits: five a second, and five CREATING.
func TestCreateStreamLimits(t *testing.T) {
	withConfig(t, kinesistest.Config{StateDelay: time.Minute}, func(t *testing.T, e env) {
		for i := range 5 {
			require.NoError(t, e.create(fmt.Sprint("s", i), 1))
		}
		require.Contains(t, requireCode(t, "LimitExceededException", e.create("more", 1)).ErrorMessage(), "Rate exceeded")
		time.Sleep(time.Second)
		require.Contains(t, requireCode(t, "LimitExceededException", e.create("more", 1)).ErrorMessage(), "CREATING")
		pass(time.Minute)
		require.NoError(t, e.create("more", 1))
	})
}

func TestDeleteStreamWithConsumers(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		e.consumer("c")
		_, err := e.cl.DeleteStream(e.t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String(testStream)})
		requireCode(t, "ResourceInUseException", err)
		_, err = e.cl.DeleteStream(e.t.Context(),
			&kinesis.DeleteStreamInput{
				StreamARN:               aws.String(e.srv.StreamARN(testStream)),
				EnforceConsumerDeletion: aws.Bool(true),
			})
		require.NoError(t, err)
		e.settle()
		_, err = e.summary(testStream)
		requireCode(t, "ResourceNotFoundException", err)
	})
}

func TestListStreams(t *testing.T) {
	cfg := kinesistest.Config{}
	for i := range 150 {
		cfg.Streams = append(cfg.Streams, kinesistest.StreamConfig{Name: fmt.Sprintf("s%03d", i)})
	}
	withConfig(t, cfg, func(t *testing.T, e env) {
		out, err := e.cl.ListStreams(e.t.Context(), &kinesis.ListStreamsInput{})
		require.NoError(t, err)
		require.Len(t, out.StreamNames, 100)
		require.Len(t, out.StreamSummaries, 100)
		require.True(t, *out.HasMoreStreams)
		byToken, err := e.cl.ListStreams(e.t.Context(), &kinesis.ListStreamsInput{NextToken: out.NextToken})
		require.NoError(t, err)
		require.Len(t, byToken.StreamNames, 50)
		require.False(t, *byToken.HasMoreStreams)
		byName, err := e.cl.ListStreams(e.t.Context(),
			&kinesis.ListStreamsInput{ExclusiveStartStreamName: aws.String("s099"), Limit: aws.Int32(2)})
		require.NoError(t, err)
		require.Equal(t, []string{"s100", "s101"}, byName.StreamNames)
	})
}

// TestCallRates: what may be called how often in a second.
func TestCallRates(t *testing.T) {
	for op, c := range map[string]struct {
		perSecond int
		call      func(e env) error
	}{
		"DescribeStreamSummary": {20, func(e env) error { _, err := e.summary(testStream); return err }},
		"DescribeStream": {10, func(e env) error {
			_, err := e.cl.DescribeStream(e.t.Context(), &kinesis.DescribeStreamInput{StreamName: aws.String(testStream)})
			return err
		}},
		"ListStreams": {5, func(e env) error {
			_, err := e.cl.ListStreams(e.t.Context(), &kinesis.ListStreamsInput{})
			return err
		}},
		"DescribeLimits": {1, func(e env) error {
			_, err := e.cl.DescribeLimits(e.t.Context(), &kinesis.DescribeLimitsInput{})
			return err
		}},
		"DescribeStreamConsumer": {20, func(e env) error {
			_, err := e.describeConsumer(kinesis.DescribeStreamConsumerInput{
				StreamARN:    aws.String(e.srv.StreamARN(testStream)),
				ConsumerName: aws.String("c"),
			})
			return err
		}},
		"ListStreamConsumers": {5, func(e env) error {
			_, err := e.cl.ListStreamConsumers(e.t.Context(),
				&kinesis.ListStreamConsumersInput{StreamARN: aws.String(e.srv.StreamARN(testStream))})
			return err
		}},
	} {
		t.Run(op, func(t *testing.T) {
			inBubble(t, 1, func(t *testing.T, e env) {
				e.consumer("c")
				for range c.perSecond {
					require.NoError(t, c.call(e))
				}
				requireCode(t, "LimitExceededException", c.call(e))
				time.Sleep(time.Second)
				require.NoError(t, c.call(e))
				require.Equal(t, c.perSecond+2, e.srv.Calls(op))
			})
			withConfig(t, kinesistest.Config{DisableLimits: true, Streams: []kinesistest.StreamConfig{{Name: testStream}}},
				func(t *testing.T, e env) {
					e.consumer("c")
					for range 2 * c.perSecond {
						require.NoError(t, c.call(e))
					}
				})
		})
	}
}

func TestRetentionPeriod(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		name := aws.String(testStream)
		increase := func(h int32) error {
			_, err := e.cl.IncreaseStreamRetentionPeriod(e.t.Context(),
				&kinesis.IncreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: &h})
			e.settle()
			return err
		}
		decrease := func(h int32) error {
			_, err := e.cl.DecreaseStreamRetentionPeriod(e.t.Context(),
				&kinesis.DecreaseStreamRetentionPeriodInput{StreamName: name, RetentionPeriodHours: &h})
			e.settle()
			return err
		}
		requireCode(t, "InvalidArgumentException", increase(23))
		requireCode(t, "InvalidArgumentException", increase(8761))
		require.NoError(t, increase(72))
		time.Sleep(time.Second)
		requireCode(t, "InvalidArgumentException", increase(48))
		requireCode(t, "InvalidArgumentException", decrease(96))
		e.put("k", "old")
		time.Sleep(48 * time.Hour)
		require.Equal(t, "old", dataOf(e.getRecords(e.iterator(shardID(0), trimHorizon)).Records))
		require.NoError(t, decrease(24))
		require.Empty(t, e.srv.Records(testStream, shardID(0)))
		s, err := e.summary(testStream)
		require.NoError(t, err)
		require.Equal(t, int32(24), *s.RetentionPeriodHours)
	})
}

func TestUpdateMaxRecordSize(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		update := func(kib int32) error {
			_, err := e.cl.UpdateMaxRecordSize(e.t.Context(),
				&kinesis.UpdateMaxRecordSizeInput{StreamARN: aws.String(e.srv.StreamARN(testStream)), MaxRecordSizeInKiB: &kib})
			return err
		}
		requireCode(t, "ValidationException", update(1023))
		requireCode(t, "ValidationException", update(10241))
		_, err := e.putRecord("k", strings.Repeat("x", 2<<20))
		requireCode(t, "ValidationException", err)
		require.NoError(t, update(10240))
		requireCode(t, "ResourceInUseException", update(1024)) // UPDATING
		e.settle()
		_, err = e.putRecord("k", strings.Repeat("x", 2<<20))
		require.NoError(t, err)
	})
}

func TestEncryption(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		name, key := aws.String(testStream), aws.String("alias/mine")
		_, err := e.cl.StartStreamEncryption(e.t.Context(),
			&kinesis.StartStreamEncryptionInput{StreamName: name, EncryptionType: types.EncryptionTypeNone, KeyId: key})
		requireCode(t, "InvalidArgumentException", err)
		_, err = e.cl.StartStreamEncryption(e.t.Context(),
			&kinesis.StartStreamEncryptionInput{StreamName: name, EncryptionType: types.EncryptionTypeKms, KeyId: key})
		require.NoError(t, err)
		e.settle()
		s, err := e.summary(testStream)
		require.NoError(t, err)
		require.Equal(t, types.EncryptionTypeKms, s.EncryptionType)
		require.Equal(t, "alias/mine", *s.KeyId)
		out, err := e.putRecord("k", "x")
		require.NoError(t, err)
		require.Equal(t, types.EncryptionTypeKms, out.EncryptionType)
		require.Equal(t, types.EncryptionTypeKms, e.getRecords(e.iterator(shardID(0), trimHorizon)).Records[0].EncryptionType)
	})
}

// TestStreamModeAndDistribution: AUTO is for on-demand streams, and changes at once.
func TestStreamModeAndDistribution(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		arn := aws.String(e.srv.StreamARN(testStream))
		mode := func(m types.StreamMode) error {
			_, err := e.cl.UpdateStreamMode(e.t.Context(),
				&kinesis.UpdateStreamModeInput{StreamARN: arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: m}})
			e.settle()
			return err
		}
		distribute := func(s types.RecordDistributionStrategy) error {
			_, err := e.cl.UpdateStreamRecordDistributionStrategy(e.t.Context(),
				&kinesis.UpdateStreamRecordDistributionStrategyInput{StreamARN: arn, RecordDistributionStrategy: s})
			return err
		}
		requireCode(t, "InvalidArgumentException", distribute(types.RecordDistributionStrategyAuto))
		requireCode(t, "ValidationException", mode("X"))
		require.NoError(t, mode(types.StreamModeOnDemand))
		requireCode(t, "ValidationException", distribute("X"))
		require.NoError(t, distribute(types.RecordDistributionStrategyAuto))
		_, err := e.cl.PutRecord(e.t.Context(), &kinesis.PutRecordInput{StreamARN: arn, Data: []byte("x")})
		require.NoError(t, err)
		requireCode(t, "InvalidArgumentException", mode(types.StreamModeProvisioned))
		require.NoError(t, distribute(types.RecordDistributionStrategyUserPartitionKey))
		_, err = e.cl.PutRecord(e.t.Context(), &kinesis.PutRecordInput{StreamARN: arn, Data: []byte("x")})
		requireCode(t, "ValidationException", err)
		require.NoError(t, mode(types.StreamModeProvisioned))
	})
}

func TestTags(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		name := aws.String(testStream)
		many := map[string]string{}
		for i := range 50 {
			many[fmt.Sprintf("k%02d", i)] = "v"
		}
		_, err := e.cl.AddTagsToStream(e.t.Context(), &kinesis.AddTagsToStreamInput{StreamName: name, Tags: many})
		require.NoError(t, err)
		_, err = e.cl.AddTagsToStream(e.t.Context(),
			&kinesis.AddTagsToStreamInput{StreamName: name, Tags: map[string]string{"one more": ""}})
		requireCode(t, "InvalidArgumentException", err)
		_, err = e.cl.AddTagsToStream(e.t.Context(),
			&kinesis.AddTagsToStreamInput{StreamName: name, Tags: map[string]string{"k00": "again"}})
		require.NoError(t, err)
		out, err := e.cl.ListTagsForStream(e.t.Context(), &kinesis.ListTagsForStreamInput{StreamName: name})
		require.NoError(t, err)
		require.Len(t, out.Tags, 10)
		require.True(t, *out.HasMoreTags)
		require.Equal(t, "again", *out.Tags[0].Value)
		out, err = e.cl.ListTagsForStream(e.t.Context(),
			&kinesis.ListTagsForStreamInput{StreamName: name, ExclusiveStartTagKey: aws.String("k47"), Limit: aws.Int32(50)})
		require.NoError(t, err)
		require.Len(t, out.Tags, 2)
		require.False(t, *out.HasMoreTags)

		consumer := aws.String(e.consumer("c"))
		_, err = e.cl.TagResource(e.t.Context(),
			&kinesis.TagResourceInput{ResourceARN: consumer, Tags: map[string]string{"a": "b"}})
		require.NoError(t, err)
		tags, err := e.cl.ListTagsForResource(e.t.Context(), &kinesis.ListTagsForResourceInput{ResourceARN: consumer})
		require.NoError(t, err)
		require.Len(t, tags.Tags, 1)
		_, err = e.cl.TagResource(e.t.Context(), &kinesis.TagResourceInput{
			ResourceARN: aws.String(e.srv.StreamARN("nope")),
			Tags:        map[string]string{"a": "b"},
		})
		requireCode(t, "ResourceNotFoundException", err)
	})
}

// TestNoStateDelay: with a negative StateDelay everything is done when the call returns.
func TestNoStateDelay(t *testing.T) {
	withConfig(t, kinesistest.Config{StateDelay: -1}, func(t *testing.T, e env) {
		require.NoError(t, e.create(testStream, 2))
		_, err := e.cl.MergeShards(e.t.Context(), &kinesis.MergeShardsInput{
			StreamName:   aws.String(testStream),
			ShardToMerge: aws.String(shardID(0)), AdjacentShardToMerge: aws.String(shardID(1)),
		})
		require.NoError(t, err)
		require.Len(t, e.srv.Shards(testStream), 3)
		c, err := e.register("app")
		require.NoError(t, err)
		require.NoError(t, e.mustSubscribe(*c.ConsumerARN, shardID(2), latest).Close())
		_, err = e.cl.DeleteStream(e.t.Context(),
			&kinesis.DeleteStreamInput{StreamName: aws.String(testStream), EnforceConsumerDeletion: aws.Bool(true)})
		require.NoError(t, err)
		require.Nil(t, e.srv.Shards(testStream))
	})
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	err := kinesistest.Config{AccountID: "12", Streams: []kinesistest.StreamConfig{
		{Name: "a b"},
		{Name: "s", Shards: -1, AutoDistribution: true, Retention: time.Minute, MaxRecordSizeKiB: 1},
		{Name: "s"},
	}}.Validate()
	require.Error(t, err)
	for _, field := range []string{
		"Config.AccountID", "StreamConfig.Name", "StreamConfig.Shards", "StreamConfig.AutoDistribution",
		"StreamConfig.Retention",
		"StreamConfig.MaxRecordSizeKiB", "two streams named \"s\"",
	} {
		require.ErrorContains(t, err, field)
	}
	_, startErr := kinesistest.Start(kinesistest.Config{AccountID: "12"})
	require.ErrorContains(t, startErr, "Config.AccountID")
	require.NoError(t, kinesistest.Config{}.Validate())
}
