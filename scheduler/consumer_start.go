package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

const parentPoll = 500 * time.Millisecond // how often a waiting child looks at its parents

// adopt writes to a row that another library made what is missing in it: its
// marks, the stream's creation time, the time at which reading starts, the hash
// keys, and the second parent, which vmware-go-kcl does not keep. A row
// that is marked as somebody else's by now is not read. It tries until
// the row has it: were a record of the shard processed before the start is in the
// row, and the lease lost before a checkpoint, the next owner would start later.
func (c *consumer) adopt(ctx context.Context) outcome {
	backoff := retry.New(firstBackoff, maxBackoff)
	for row, seen := c.start, false; ; {
		err := c.refreshStart(ctx, &row, &seen)
		if errors.Is(err, errRowChanged) {
			c.log.WarnContext(ctx, "lease was changed by hand while it was taken, giving it back", "err", err)
			return stopped
		}
		if err == nil {
			err = c.stream.marks.Check(row)
			if err != nil {
				c.log.ErrorContext(ctx, "lease belongs to somebody else", "err", err)
				c.s.syncer.request(c.stream) // which stops the stream
				return stopped
			}
			var complete bool
			if complete, err = c.complete(ctx, &row); complete {
				return done
			}
		}
		if err != nil {
			c.log.WarnContext(ctx, "lease cannot be completed yet, the shard is not read", "err", err)
		}
		if out := c.pause(ctx, backoff.Next()); out != done {
			return out
		}
	}
}

var errRowChanged = errors.New("the checkpoint is not the one that was taken")

// refreshStart reads a row at LATEST or AT_TIMESTAMP again, unless that has been
// done: the list by which it was taken may be older than a write to its start.
func (c *consumer) refreshStart(ctx context.Context, row *leases.Lease, seen *bool) error {
	if *seen || !c.startsAtATime() {
		return nil
	}
	c.progress.asks()
	now, err := c.s.cfg.Leases.Get(ctx, c.key)
	c.progress.stored(err)
	if err != nil {
		return fmt.Errorf("read lease %s again: %w", c.key, err)
	}
	if now.Checkpoint != c.start.Checkpoint {
		return fmt.Errorf("%w: lease %s was taken at %s, and is at %s", errRowChanged, c.key, c.start.Checkpoint, now.Checkpoint)
	}
	*row, *seen = now, true
	return nil
}

// startsAtATime tells whether the shard starts at LATEST or AT_TIMESTAMP.
func (c *consumer) startsAtATime() bool {
	s := c.start.Checkpoint.SequenceNumber
	return s == kcl.SentinelLatest || s == kcl.SentinelAtTimestamp
}

// complete makes one attempt to write what row lacks. When the row is not as it
// was, row is set to what it is now.
func (c *consumer) complete(ctx context.Context, row *leases.Lease) (bool, error) {
	to, set := c.stream.marks.Complete(*row)
	if to.StreamCreated.IsZero() && !c.stream.created.IsZero() {
		to.StreamCreated, set = c.stream.created, set|leases.AttrStreamCreated
	}
	if to.HashKeyRange.IsZero() && !c.shard.HashKeyRange.IsZero() {
		to.HashKeyRange, set = c.shard.HashKeyRange, set|leases.AttrHashKeyRange
	}
	if parents := c.shard.Parents(); len(to.Parents) < len(parents) {
		to.Parents, set = parents, set|leases.AttrParents
	}
	starts, err := c.starts(ctx, to)
	c.progress.listed(err)
	if err != nil {
		return false, err
	}
	to, changed := starts.Settle(to)
	expect := leases.AttrCheckpoint
	if changed != 0 {
		set |= changed
		expect |= leases.AttrPinnedAt | leases.AttrOrigin
	}
	if set != 0 {
		c.progress.asks()
		err = c.s.cfg.Leases.Update(ctx, leases.Update{Read: *row, Expect: set | expect, To: to, Set: set})
	}
	c.progress.stored(err)
	if err == nil {
		c.start = c.start.With(set|leases.AttrStreamCreated|leases.AttrPinnedAt|leases.AttrOrigin|leases.AttrHashKeyRange|leases.AttrParents, to)
		c.holder.Amend(to, leases.AttrAll)
		return true, nil
	}
	if conflict, ok := errors.AsType[*leases.ConflictError](err); ok && conflict.Current != nil {
		*row = *conflict.Current // a parent or another worker has completed it, see share
		return false, nil
	}
	return false, err
}

// starts is what decides where the shard of a row starts. For LATEST without a
// pin that is the service's time: while the stream has not been listed it is not
// known, and a local clock, or LATEST as it is when reading begins, would not do.
func (c *consumer) starts(ctx context.Context, row leases.Lease) (shardsync.Starts, error) {
	s := shardsync.Starts{Initial: c.stream.cfg.InitialPosition, Origin: c.stream.origin()}
	if row.Checkpoint.SequenceNumber != kcl.SentinelLatest || !row.PinnedAt.IsZero() {
		return s, nil
	}
	if s.Latest = c.stream.lineage.pin(); s.Latest.IsZero() {
		list, err := c.stream.lineage.get(ctx, absentAge)
		if err != nil {
			return s, fmt.Errorf("the time that LATEST stands for is not known: %w", err)
		}
		if s.Latest = list.pin; s.Latest.IsZero() {
			return s, c.stream.undated()
		}
	}
	return s, nil
}

// waitForParents returns when every parent has been processed to its end, see
// parentFinished.
func (c *consumer) waitForParents(ctx context.Context) outcome {
	for {
		c.progress.asks()
		finished, err := c.parentsFinished(ctx)
		c.progress.stored(err)
		if finished {
			break
		}
		if c.arrived = c.behindTarget(); c.arrived {
			return stopped
		}
		if out := c.pause(ctx, parentPoll); out != done {
			return out
		}
	}
	if len(c.start.Parents) > 0 && c.startsAtATime() {
		// A parent may have moved the pin, see share.
		for {
			c.progress.asks()
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
	c.next, _ = c.start.Start() // adopt lets no row pass without the time of its start
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
