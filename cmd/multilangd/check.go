package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl/cmd/multilangd/internal/settings"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/scheduler"
)

// checkTimeout bounds one request of a check with its repetitions.
const checkTimeout = 15 * time.Second

// errFaults says that a check has printed faults.
var errFaults = errors.New("the check found faults: see above")

// checker prints what a check finds.
type checker struct {
	out    io.Writer
	faults int
}

// found prints the outcome of one check, and tells whether it was good.
func (c *checker) found(what string, err error) bool {
	if err == nil {
		_, _ = fmt.Fprintf(c.out, "ok     %s\n", what)
		return true
	}
	c.faults++
	_, _ = fmt.Fprintf(c.out, "FAULT  %s: %v\n", what, err)
	return false
}

// note prints what is not checked, or is no fault.
func (c *checker) note(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, "note   "+format+"\n", args...)
}

// check looks at everything that the daemon needs. It changes nothing and starts no child.
func check(ctx context.Context, cfg settings.Config, file string, out io.Writer, log *slog.Logger) error {
	c := &checker{out: out}
	c.found("properties file "+file, nil)
	d, err := newDaemon(ctx, cfg, log)
	if !c.found("program, region and settings", err) {
		return errFaults
	}
	defer d.command.Close()
	if c.credentials(ctx, d.clients.aws, cfg) {
		for _, s := range cfg.Scheduler.Streams {
			c.stream(ctx, d.clients.kinesis, cfg.Scheduler, s)
		}
		c.table(ctx, d.clients.dynamoDB, cfg.Table)
		if children, err := d.children(ctx); err == nil {
			problems := systemLimits().problems(children)
			for _, problem := range problems {
				c.found("limits of the system", errors.New(problem))
			}
			if len(problems) == 0 {
				c.found(fmt.Sprintf("limits of the system for %d children", children), nil)
			}
		}
	}
	if c.faults > 0 {
		return errFaults
	}
	return nil
}

// credentials looks for the credentials of Kinesis.
func (c *checker) credentials(ctx context.Context, from aws.Config, cfg settings.Config) bool {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	_, err := from.Credentials.Retrieve(ctx)
	return c.found("credentials by "+cfg.Kinesis.Credentials.String(), err)
}

// stream asks for a stream, and reads from its first shard.
func (c *checker) stream(ctx context.Context, client *kinesis.Client, cfg scheduler.Config, s scheduler.StreamConfig) {
	ctx, cancel := context.WithTimeout(ctx, 4*checkTimeout)
	defer cancel()
	name := s.Name
	if s.ARN != "" {
		name = s.ARN
	}
	out, err := client.DescribeStreamSummary(ctx, summaryOf(s))
	if awserr.Is(err, "ResourceNotFoundException") {
		err = fmt.Errorf("the stream does not exist in region %s: create it, or correct streamName and regionName: %w",
			client.Options().Region, err)
	}
	if !c.found("stream "+name, awserr.Explain(err, "kinesis:DescribeStreamSummary", name)) {
		return
	}
	summary := out.StreamDescriptionSummary
	arn := summary.StreamARN
	switch summary.StreamStatus {
	case types.StreamStatusActive, types.StreamStatusUpdating:
	default:
		c.note("stream %s is %s: the daemon waits until it is ACTIVE", name, summary.StreamStatus)
		return
	}
	shards, err := client.ListShards(ctx, &kinesis.ListShardsInput{StreamARN: arn, MaxResults: aws.Int32(1)})
	if !c.found("shards of stream "+name, awserr.Explain(err, "kinesis:ListShards", name)) || len(shards.Shards) == 0 {
		return
	}
	if cfg.RetrievalMode == scheduler.EFO {
		c.consumer(ctx, client, cfg, s, arn)
		return
	}
	shard := shards.Shards[0].ShardId
	it, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamARN: arn, ShardId: shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if !c.found("position in shard "+*shard, awserr.Explain(err, "kinesis:GetShardIterator", name)) {
		return
	}
	_, err = client.GetRecords(ctx, &kinesis.GetRecordsInput{
		StreamARN: arn, ShardIterator: it.ShardIterator, Limit: aws.Int32(1),
	})
	c.found("records of shard "+*shard, awserr.Explain(err, "kinesis:GetRecords", name))
}
