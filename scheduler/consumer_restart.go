package scheduler

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// restarts are the waits between processors of one consumer. They grow until a checkpoint is
// accepted: a processor that dies behind its third batch has processed two each time.
type restarts struct {
	backoff *retry.Backoff
	at      kcl.ExtendedSequenceNumber // the checkpoint at the last restart
}

func (r *restarts) next(at kcl.ExtendedSequenceNumber) time.Duration {
	if r.backoff == nil || at != r.at {
		r.backoff, r.at = retry.New(firstBackoff, maxBackoff), at
	}
	return r.backoff.Next()
}

// restart makes ready for another processor, after one that asked to be
// replaced. reading ends when the consumer shall finish.
func (c *consumer) restart(ctx, reading context.Context) outcome {
	c.delivery.processor = nil
	c.progress.readingRestarted()
	wait := c.restarts.next(c.holder.Lease().Checkpoint)
	c.log.WarnContext(ctx, "record processor asks to be replaced", "wait", wait, "checkpoint", c.holder.Lease().Checkpoint)
	if out := c.pause(ctx, wait); out != done {
		return out
	}
	// A checkpoint of the old one may be under way still, or have an unknown outcome.
	if c.delivery.checkpointer.Settled(reading) != nil || c.holder.Renew(reading) != nil {
		return stopped
	}
	c.start = c.start.With(leases.AttrCheckpoint|leases.AttrPending, c.holder.Lease())
	return done
}
