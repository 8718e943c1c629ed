package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/scheduler"
)

// noShard is a shard that no stream has. A subscription to it interrupts no worker.
const noShard = "shardId-999999999999"

// consumer looks for the stream consumer, and tries a subscription. It registers nothing.
func (c *checker) consumer(
	ctx context.Context, client *kinesis.Client, cfg scheduler.Config, s scheduler.StreamConfig, arn *string,
) {
	in := &kinesis.DescribeStreamConsumerInput{StreamARN: arn, ConsumerName: &cfg.Application}
	name := cfg.Application
	switch {
	case s.ConsumerARN != "":
		in, name = &kinesis.DescribeStreamConsumerInput{ConsumerARN: &s.ConsumerARN}, s.ConsumerARN
	case s.ConsumerName != "":
		in.ConsumerName, name = &s.ConsumerName, s.ConsumerName
	}
	out, err := client.DescribeStreamConsumer(ctx, in)
	if awserr.Is(err, "ResourceNotFoundException") && s.ConsumerARN == "" {
		c.note("stream consumer %s does not exist: the daemon registers it", name)
		c.note("kinesis:RegisterStreamConsumer: needed at the first start; it cannot be tried without registering")
		// A policy names consumers by a pattern, because AWS appends a time to their names.
		c.subscription(ctx, client, name, aws.ToString(arn)+"/consumer/"+name+":1", false)
		return
	}
	if !c.found("stream consumer "+name, awserr.Explain(err, "kinesis:DescribeStreamConsumer", name)) {
		return
	}
	if s.ConsumerARN == "" {
		c.note("kinesis:RegisterStreamConsumer: not tried; needed only after the stream consumer was deleted")
	}
	c.subscription(ctx, client, name, aws.ToString(out.ConsumerDescription.ConsumerARN), true)
}

// subscription tries to subscribe to a shard that does not exist. AWS looks for permissions before
// the shard. It may look for the consumer before the permissions. So without a consumer only a
// refusal says something.
func (c *checker) subscription(ctx context.Context, client *kinesis.Client, name, arn string, exists bool) {
	const action = "kinesis:SubscribeToShard"
	out, err := client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: &arn, ShardId: aws.String(noShard),
		StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeLatest},
	})
	if err == nil {
		_ = out.GetStream().Close() // it has brought nothing
	}
	answered := err == nil || awserr.Is(err, "ResourceNotFoundException", "ResourceInUseException",
		"InvalidArgumentException", "LimitExceededException")
	switch {
	case awserr.Denied(err):
		c.found("subscription by stream consumer "+name, awserr.Explain(err, action, arn))
	case !answered:
		c.note("%s: needed to read each shard; it could not be tried: %v", action, err)
	case exists:
		c.found("subscription by stream consumer "+name, nil)
	default:
		c.note("%s: needed to read each shard; a trial was not refused, but only the start can prove this permission", action)
	}
}
