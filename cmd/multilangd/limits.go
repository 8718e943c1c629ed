package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl/scheduler"
)

// What the daemon needs of the limits of the system.
const (
	descriptorsOfChild = 3   // its standard input, output and error
	descriptorsOfShard = 1   // a connection to the service
	descriptorsBesides = 100 // connections to DynamoDB, files, the HTTP server
	processesBesides   = 100 // threads of the daemon
)

// limits are the limits of this process. A negative value means no limit, or an unknown one.
type limits struct{ descriptors, processes int64 }

// problems names the limits that are too low for a number of children.
func (l limits) problems(children int) []string {
	var out []string
	n := int64(children)
	need := n*(descriptorsOfChild+descriptorsOfShard) + descriptorsBesides
	if l.descriptors >= 0 && l.descriptors < need {
		out = append(out, fmt.Sprintf("%d children need %d file descriptors, and the limit is %d: "+
			"raise it (ulimit -n, LimitNOFILE), or set maxLeasesForWorker", children, need, l.descriptors))
	}
	if need := n + processesBesides; l.processes >= 0 && l.processes < need {
		out = append(out, fmt.Sprintf("%d children need %d processes and threads of the user, and the limit is %d: "+
			"raise it (ulimit -u, LimitNPROC), or set maxLeasesForWorker", children, need, l.processes))
	}
	return out
}

// askTime bounds the wait for the number of shards at the start.
const askTime = 3 * time.Second

// size finds out how many children this worker may have, and returns the memory for polling. It
// logs the limits of the system that are too low. If the service does not tell the number of
// shards, size returns 0, and the worker reports it.
func (d *daemon) size(ctx context.Context) (pollingMemory int64) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	children, err := d.children(ctx)
	if err != nil {
		d.log.DebugContext(ctx, "the limits of the system are not checked: the number of shards is not known", "err", err)
		return 0
	}
	for _, problem := range systemLimits().problems(children) {
		d.log.WarnContext(ctx, "a limit of the system is too low", slog.String("limit", problem))
	}
	return memoryFor(children)
}

// memoryFor is how many bytes polling may hold. Each child gets room for a batch, the next batch,
// and a part of an answer that is decoded. The default of the library is the most.
func memoryFor(children int) int64 {
	const each, least, most = 8 << 20, 64 << 20, scheduler.DefaultPollingMemory
	return min(max(int64(children)*each, least), most)
}

// children is the number of children that this worker may have at most.
func (d *daemon) children(ctx context.Context) (int, error) {
	shards := 0
	for _, s := range d.cfg.Scheduler.Streams {
		out, err := d.clients.kinesis.DescribeStreamSummary(ctx, summaryOf(s))
		if err != nil {
			return 0, err
		}
		if n := out.StreamDescriptionSummary.OpenShardCount; n != nil {
			shards += int(*n)
		}
	}
	if most := d.cfg.Scheduler.MaxLeasesForWorker; most > 0 {
		shards = min(shards, most)
	}
	return shards, nil
}

// summaryOf asks for a stream by its ARN, or else by its name.
func summaryOf(s scheduler.StreamConfig) *kinesis.DescribeStreamSummaryInput {
	if s.ARN != "" {
		return &kinesis.DescribeStreamSummaryInput{StreamARN: &s.ARN}
	}
	return &kinesis.DescribeStreamSummaryInput{StreamName: &s.Name}
}
