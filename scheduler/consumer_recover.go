package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
)

const examineAge = 5 * time.Second // the age up to which shards share one answer about their stream

// recoverFrom handles a final error of the source. used is the ARN of the stream consumer of the
// source. Many shards can fail at the same time, so one of them makes the calls for all.
func (c *consumer) recoverFrom(ctx context.Context, cause error, used string) outcome {
	c.examine(ctx, cause)
	if errors.Is(cause, efo.ErrConsumerNotFound) && c.stream.err() == nil {
		_ = c.stream.consumer.registering.Do(ctx, used, 0, func() error {
			return c.cfg.registrar.registerAgain(ctx, c.stream, used)
		})
		return done
	}
	if !errors.Is(cause, kcl.ErrShardNotFound) || c.stream.err() != nil {
		return done
	}
	c.missing = true
	list, err := c.stream.lineage.get(ctx, goneAge)
	if err != nil {
		return done
	}
	gone, fresh := c.stream.absent.observe(list, c.shard.ID)
	if fresh {
		c.log.WarnContext(ctx, "shard is neither listed nor readable, and counts as expired after the wait",
			"position", c.next, "wait", goneTime)
	}
	if !gone {
		return done
	}
	if !c.stream.created.IsZero() && c.cfg.control.checkSameStream(ctx, c.stream) != nil {
		return done // examine may have failed to reach the service
	}
	c.children = list.children[c.shard.ID]
	c.metrics.RetentionGap()
	c.log.WarnContext(ctx, "shard has left the retention period, its unread records are lost", "position", c.next,
		"range_start", c.shard.HashKeyRange.Start, "range_end", c.shard.HashKeyRange.End)
	return ended
}

// examine asks the service whether the stream still exists, unless another shard has just asked.
func (c *consumer) examine(ctx context.Context, cause error) {
	key := "asks"
	if errors.Is(cause, kcl.ErrAccessDenied) || errors.Is(cause, kcl.ErrStreamRecreated) {
		key = cause.Error() // streamGone mostly decides these without a call
	}
	_ = c.stream.examining.Do(ctx, key, examineAge, func() error {
		if c.stream.err() == nil {
			if gone := c.cfg.control.streamGone(ctx, c.stream, cause); gone != nil {
				c.cfg.streams.stop(ctx, c.stream, gone)
			}
		}
		return nil
	})
}
