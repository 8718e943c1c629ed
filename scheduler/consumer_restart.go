package scheduler

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// restarts computes the waits between the processors of one consumer. The waits grow until a
// checkpoint is accepted. Processed batches do not reset them, because a processor that fails at
// its third batch has processed two each time.
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

// restart prepares the consumer for another processor, after one that returned ErrRestart. reading
// ends if the consumer is asked to finish.
func (c *consumer) restart(ctx, reading context.Context) outcome {
	c.delivery.processor = nil
	c.progress.readingRestarted()
	wait := c.restarts.next(c.holder.Lease().Checkpoint)
	c.log.WarnContext(ctx, "record processor asks to be replaced", "wait", wait, "checkpoint", c.holder.Lease().Checkpoint)
	if out := c.pause(ctx, wait); out != done {
		return out
	}
	// A checkpoint of the old processor may still be running, or have an unknown outcome.
	if c.delivery.checkpointer.Settled(reading) != nil || c.holder.Renew(reading) != nil {
		return stopped
	}
	c.start = c.start.With(leases.AttrCheckpoint|leases.AttrPending, c.holder.Lease())
	return done
}
