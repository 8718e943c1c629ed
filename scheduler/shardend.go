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

// shardEnded calls ShardEnded until the processor agrees, and then records the end: first
// the children's rows, so that none is missed, and last SHARD_END. It returns done only if
// the processor agreed.
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
		c.log.WarnContext(ctx, "end of the shard cannot be recorded yet", "err", err, "wait", wait)
		if c.pause(ctx, wait) != done {
			return done
		}
	}
	c.log.InfoContext(ctx, "shard ended", "children", len(c.children))
	c.cfg.coord.Nudge()
	c.cfg.syncer.request(c.stream)
	return done
}

// warnUnrecorded logs records that SHARD_END covers although they were never checkpointed.
// The nil of ShardEnded says that they are processed. The KCL refuses in this case.
func (c *consumer) warnUnrecorded(ctx context.Context) {
	r := c.delivery.checkpointer.Report()
	if r.OpenSince.IsZero() || c.cfg.checkpointInterval > 0 {
		return
	}
	c.log.WarnContext(ctx, "shard ends with records that were delivered and not checkpointed, ShardEnded has vouched "+
		"for them: checkpoint there before it returns nil",
		"checkpoint", r.Last, "delivered", r.Delivered, "since", r.OpenSince)
}

func (l *shardLease) recordEnd(ctx context.Context, children []kcl.ChildShard, ck *checkpoint.Checkpointer) error {
	parent := l.holder.Lease()
	ids := make([]string, 0, len(children))
	for _, child := range children {
		ids = append(ids, child.ID)
		row := shardsync.ChildLease(parent, child)
		if row.Origin.IsZero() {
			row.Origin = l.start.Origin // adopt wrote it, which the holder may not know
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

// moveChildStart moves the start of a child that starts at a time to the start of this
// shard, if that is earlier. Two workers that start an application together can see the
// stream before and after a reshard, and pin parent and child at different times. Records
// between those times would be lost. The child is unread: it waits for this shard. The
// first checkpoint removed this shard's pin, so the origin says where it started.
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
		return nil // finished and cleaned up
	}
	if err != nil {
		return fmt.Errorf("read lease %s: %w", key, err)
	}
	made := row
	if made.Origin.IsZero() { // by an older release, or another library
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
