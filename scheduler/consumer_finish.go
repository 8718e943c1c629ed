package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/kinesis-go/kcl"
)

// shutdownRequested lets the processor finish, with a live checkpointer: ctx
// has not ended merely because the worker stops.
func (c *consumer) shutdownRequested(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	err := c.call("shutdown_requested", func() error {
		return c.processor.ShutdownRequested(ctx, kcl.ShutdownRequestedInput{Checkpointer: c.checkpointer})
	})
	if err != nil {
		c.logFailure(ctx, slog.LevelError, "shutdown_requested", err, 1, 0)
		c.arrived = false // it may hold what it has not processed
	}
	if c.s.cfg.CheckpointInterval > 0 && ctx.Err() == nil {
		c.autoCheckpoint(ctx)
	}
	c.log.InfoContext(ctx, "shard consumer finished on request", "checkpoint", c.checkpointer.Report().Last)
}

// errReplaced is what a processor that was replaced gets from its context and its
// checkpointer.
var errReplaced = fmt.Errorf("%w: another processor takes its place: %w", kcl.ErrLeaseLost, kcl.ErrRestart)

// leaseLost tells the processor that it is over; it is in no other call. Its
// context has ended, so this call gets one of its own.
func (c *consumer) leaseLost(ctx context.Context) {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, kcl.ErrRestart):
	case errors.Is(cause, kcl.ErrLeaseLost):
		c.log.WarnContext(ctx, "lease lost, shard consumer ends", "lease_owner", c.holder.Lease().Owner)
	default:
		c.log.WarnContext(ctx, "shutdown took too long, shard consumer ends without a last checkpoint: raise ShutdownTimeout, or let the processor heed its context",
			"cause", cause, "shutdown_timeout", c.s.cfg.ShutdownTimeout, "checkpoint", c.checkpointer.Report().Last)
	}
	if c.processor == nil {
		return
	}
	own, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), c.s.cfg.ShutdownTimeout, kcl.ErrShutdownTimeout)
	defer cancel()
	err := c.call("lease_lost", func() error {
		c.processor.LeaseLost(own, kcl.LeaseLostInput{})
		return nil
	})
	if err != nil {
		c.logFailure(ctx, slog.LevelError, "lease_lost", err, 1, 0)
	}
}

// unexpected tells of a consumer that a panic or a runtime.Goexit has ended
// outside the calls that are contained. Its lease is given back.
func (c *consumer) unexpected(ctx context.Context) {
	if c.progress.stateNow() != StateShutdownComplete {
		c.log.ErrorContext(ctx, "shard consumer ended unexpectedly: a log handler or a metrics sink has called runtime.Goexit, or the library has a bug")
	}
}
