package scheduler

import (
	"context"
	"errors"

	"github.com/kinesis-go/kcl/internal/retry"
)

// process reads the shard and delivers its records to the processor. It returns after the end of
// the shard, a request to finish, or the loss of the lease.
func (c *consumer) process(ctx, reading context.Context) outcome {
	backoff := retry.New(firstBackoff, maxBackoff)
	if c.src == nil { // a later processor keeps the source, and with it the mode of a fallback
		c.src = c.cfg.sources.open(c.stream, c.progress, c.metrics, c.holder.Valid, c.shard.ID)
	}
	src := c.src
	c.holder.Delivered(0)
	c.progress.readingBegan()
	for {
		before := c.next
		out, err := c.read(ctx, reading, src)
		if err == nil {
			return out
		}
		if c.next != before {
			backoff.Reset()
		}
		c.progress.result(&c.progress.refusal, err)
		wait := backoff.Next()
		c.log.ErrorContext(ctx, "shard cannot be read", "err", err, "wait", wait)
		used := ""
		if f, ok := src.(*fallback); ok {
			used = f.consumer
		}
		if c.recoverFrom(reading, err, used) == ended {
			return ended
		}
		if out := c.pause(ctx, wait); out != done {
			return out
		}
	}
}

var errNoEnd = errors.New("the source ended without the end of the shard")

// read delivers the batches of the source until the source ends. It returns the final error of the
// source.
func (c *consumer) read(ctx, reading context.Context, src source) (outcome, error) {
	for batch, err := range src.Batches(reading, c.shard.ID, c.next) {
		switch {
		case ctx.Err() != nil:
			return lost, nil
		case c.stopping():
			return stopped, nil
		case err != nil:
			return done, err
		}
		if c.missing {
			c.missing = false
			c.stream.absent.found(c.shard.ID)
		}
		c.progress.batchRead(batch)
		c.gaps.observe(ctx, batch, c.next)
		for piece := range c.delivery.pieces(batch) {
			if c.stopping() { // a piece takes as long to process as a batch
				return stopped, nil
			}
			if out := c.delivery.deliver(ctx, piece); out != done {
				return out, nil
			}
		}
		c.progress.batchProcessed(batch)
		if batch.End != nil {
			c.children = batch.End.Children
			return ended, nil
		}
		c.next = batch.Next
		if c.arrived = c.atTarget(batch); c.arrived {
			return stopped, nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return lost, nil
	case c.stopping():
		return stopped, nil
	}
	return done, errNoEnd
}
