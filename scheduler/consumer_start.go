package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

const parentPoll = 500 * time.Millisecond // how often a waiting child looks at its parents

// adopt writes to a row that another library made what is missing in it: its
// marks, the stream's creation time, the service's time from which LATEST counts,
// the hash keys, and the second parent, which vmware-go-kcl does not keep. A row
// that is marked as somebody else's by now is not read. It tries until
// the row has it: were a record of the shard processed before LATEST is pinned,
// and the lease lost before a checkpoint, the next owner would start later.
func (c *consumer) adopt(ctx context.Context) outcome {
	backoff := retry.New(firstBackoff, maxBackoff)
	for row := c.start; ; {
		if err := c.stream.marks.Check(row); err != nil {
			c.log.ErrorContext(ctx, "lease belongs to somebody else", "err", err)
			c.s.syncSoon(c.stream) // which stops the stream
			return stopped
		}
		to, set := c.stream.marks.Complete(row)
		if to.StreamCreated.IsZero() && !c.stream.created.IsZero() {
			to.StreamCreated, set = c.stream.created, set|leases.AttrStreamCreated
		}
		if pin := c.stream.lineage.pin(); to.Checkpoint.SequenceNumber == kcl.SentinelLatest && to.PinnedAt.IsZero() && !pin.IsZero() {
			to.PinnedAt, set = pin, set|leases.AttrPinnedAt
		}
		if to.HashKeyRange.IsZero() && !c.shard.HashKeyRange.IsZero() {
			to.HashKeyRange, set = c.shard.HashKeyRange, set|leases.AttrHashKeyRange
		}
		if parents := c.shard.Parents(); len(to.Parents) < len(parents) {
			to.Parents, set = parents, set|leases.AttrParents
		}
		var err error
		if set != 0 {
			err = c.s.cfg.Leases.Update(ctx, leases.Update{Read: row, Expect: set | leases.AttrCheckpoint, To: to, Set: set})
		}
		c.progress.stored(err)
		if err == nil {
			c.holder.Amend(to, leases.AttrAll)
			c.start = c.start.With(set|leases.AttrStreamCreated|leases.AttrPinnedAt|leases.AttrHashKeyRange|leases.AttrParents, to)
			return done
		}
		if conflict, ok := errors.AsType[*leases.ConflictError](err); ok && conflict.Current != nil {
			row = *conflict.Current // a parent or another worker has completed it, see share
		} else {
			c.log.WarnContext(ctx, "lease of another library cannot be completed yet", "err", err)
		}
		if out := c.pause(ctx, backoff.Next()); out != done {
			return out
		}
	}
}

// waitForParents returns when every parent has been processed to its end, see
// parentFinished.
func (c *consumer) waitForParents(ctx context.Context) outcome {
	for {
		finished, err := c.parentsFinished(ctx)
		c.progress.stored(err)
		if finished {
			break
		}
		if out := c.pause(ctx, parentPoll); out != done {
			return out
		}
	}
	if len(c.start.Parents) > 0 && c.start.Checkpoint.SequenceNumber == kcl.SentinelLatest {
		// A parent may have moved the pin, see share.
		for {
			row, err := c.s.cfg.Leases.Get(ctx, c.key)
			c.progress.stored(err)
			if err == nil {
				if !row.PinnedAt.IsZero() {
					c.start.PinnedAt = row.PinnedAt
					c.holder.Amend(row, leases.AttrPinnedAt)
				}
				break
			}
			if out := c.pause(ctx, parentPoll); out != done {
				return out
			}
		}
	}
	if ctx.Err() != nil {
		return lost
	}
	return done
}

// initialize makes the processor and calls Initialize until it succeeds.
func (c *consumer) initialize(ctx context.Context) outcome {
	ck := checkpoint.New(c.holder, c.start.Checkpoint, c.metrics)
	c.mu.Lock()
	c.checkpointer = ck
	c.mu.Unlock()
	c.last, c.processed = c.start.Checkpoint, c.start.Checkpoint
	c.next = startPosition(c.start, c.stream.cfg.InitialPosition)
	c.tried = time.Now()
	if c.stopping() {
		return stopped
	}
	c.begins(ctx)
	in := kcl.InitializeInput{
		Stream: c.stream.id, Shard: c.shard, Checkpoint: c.start.Checkpoint,
		Pending: c.start.Pending, PendingState: c.start.PendingState,
	}
	out := c.repeat(ctx, "initialize", func() error {
		if c.processor == nil {
			if c.processor = c.s.factory(c.stream.id, c.shard); c.processor == nil {
				return errors.New("the processor factory returned nil")
			}
		}
		return c.processor.Initialize(ctx, in)
	})
	if out == done {
		c.log.InfoContext(ctx, "shard consumer started", "checkpoint", c.start.Checkpoint, "position", c.next)
	}
	return out
}
