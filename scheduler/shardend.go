package scheduler

import (
	"context"
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// shardEnded calls ShardEnded until it returns nil, and then records the end of the shard. It first
// makes the children's rows, so that no child is missed, and then writes SHARD_END. It returns done
// only if ShardEnded returned nil.
func (c *consumer) shardEnded(ctx context.Context) outcome {
	in := kcl.ShardEndedInput{Children: c.children, Checkpointer: c.delivery.checkpointer}
	call := func() error { return c.delivery.processor.ShardEnded(ctx, in) }
	if out := c.delivery.repeat(ctx, "shard_ended", call); out != done {
		return out
	}
	c.finished = true
	c.warnUnrecorded(ctx)
	backoff := retry.New(firstBackoff, maxBackoff)
	for {
		c.progress.storeAsked()
		err := c.recordEnd(ctx, c.children, c.delivery.checkpointer)
		c.progress.storeAnswered(err)
		if err == nil {
			break
		}
		if ctx.Err() != nil || errors.Is(err, kcl.ErrLeaseLost) {
			return done
		}
		wait := backoff.Next()
		c.log.WarnContext(ctx, "record end of shard failed, trying again", "err", err, "wait", wait)
		if c.pause(ctx, wait) != done {
			return done
		}
	}
	c.log.InfoContext(ctx, "shard ended", "children", len(c.children))
	c.cfg.coord.Nudge()
	c.cfg.syncer.request(c.stream)
	return done
}

// warnUnrecorded logs that SHARD_END will cover records without a checkpoint. ShardEnded returned
// nil, so the processor has processed them. The KCL returns an error in this case.
func (c *consumer) warnUnrecorded(ctx context.Context) {
	r := c.delivery.checkpointer.Report()
	if r.OpenSince.IsZero() || c.cfg.checkpointInterval > 0 {
		return
	}
	c.log.WarnContext(ctx, "shard ended, and delivered records have no checkpoint: they count as processed, because "+
		"ShardEnded returned nil; checkpoint in ShardEnded",
		"checkpoint", r.Last, "delivered", r.Delivered, "since", r.OpenSince)
}

func (l *shardLease) recordEnd(ctx context.Context, children []kcl.ChildShard, ck *checkpoint.Checkpointer) error {
	parent := l.holder.Lease()
	ids := make([]string, 0, len(children))
	for _, child := range children {
		ids = append(ids, child.ID)
		row := shardsync.ChildLease(parent, child)
		if row.Origin.IsZero() {
			row.Origin = l.start.Origin // adopt wrote the origin, and the holder may not have it
		}
		if row.StreamCreated.IsZero() {
			row.StreamCreated = l.stream.created
		}
		row, _ = l.stream.marks.Complete(row)
		made, err := l.cfg.table.create(ctx, row)
		if err == nil && !made {
			err = l.moveChildStart(ctx, row.Key)
		}
		if err != nil {
			return err
		}
	}
	if err := l.holder.SetChildren(ctx, ids); err != nil {
		return fmt.Errorf("record the children: %w", err)
	}
	return ck.End(ctx)
}

// moveChildStart moves the start time of a child back to the start of this shard, if that is
// earlier. Two workers can start an application at the same time and list the stream before and
// after a reshard. Then they pin parent and child at different times, and records between those
// times would be lost. The child is unread, because it waits for this shard. The first checkpoint
// removed the pin of this shard, but the origin still has its start.
func (l *shardLease) moveChildStart(ctx context.Context, key string) error {
	began := l.start.Origin
	if began.IsZero() && !l.start.PinnedAt.IsZero() {
		began = leases.Origin{Kind: kcl.SentinelLatest, At: l.start.PinnedAt}
	}
	if began.IsZero() {
		return nil
	}
	row, err := l.cfg.table.Get(ctx, key)
	if errors.Is(err, leases.ErrNotFound) {
		return nil // the child was finished, and clean-up deleted its row
	}
	if err != nil {
		return fmt.Errorf("read lease %s: %w", key, err)
	}
	made := row
	if made.Origin.IsZero() { // an older release or another library made the row
		made.Origin = leases.Origin{Kind: made.Checkpoint.SequenceNumber, At: made.PinnedAt}
	}
	pin, later := shardsync.MadeLater(made, began)
	if !later || row.PinnedAt.IsZero() {
		return nil
	}
	to := row
	to.PinnedAt = pin
	err = l.cfg.table.Update(ctx, leases.Update{
		Read: row, Expect: leases.AttrCheckpoint | leases.AttrPinnedAt, To: to, Set: leases.AttrPinnedAt,
	})
	if err != nil {
		return fmt.Errorf("move the start of lease %s: %w", key, err)
	}
	return nil
}
