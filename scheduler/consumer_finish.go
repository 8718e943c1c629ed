package scheduler

import (
	"context"
	"log/slog"

	"github.com/kinesis-go/kcl"
)

// shutdownRequested lets the processor finish, with a live checkpointer: ctx
// has not ended merely because the worker stops.
func (c *consumer) shutdownRequested(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	select {
	case <-c.stream.stopped: // for which the holder keeps no time
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.s.cfg.ShutdownTimeout, kcl.ErrShutdownTimeout)
		defer cancel()
	default:
	}
	err := c.call("shutdown_requested", func() error {
		return c.processor.ShutdownRequested(ctx, kcl.ShutdownRequestedInput{Checkpointer: c.checkpointer})
	})
	if err != nil {
		c.logFailure(ctx, slog.LevelError, "shutdown_requested", err, 0)
	}
	if c.s.cfg.CheckpointInterval > 0 && ctx.Err() == nil {
		c.autoCheckpoint(ctx)
	}
	c.log.InfoContext(ctx, "shard consumer finished on request", "checkpoint", c.checkpointer.Report().Last)
}

// leaseLost tells the processor, which is in no other call. Its context has
// ended, so this call gets one of its own.
func (c *consumer) leaseLost(ctx context.Context) {
	c.log.WarnContext(ctx, "lease lost, shard consumer ends", "lease_owner", c.holder.Lease().Owner)
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
		c.logFailure(ctx, slog.LevelError, "lease_lost", err, 0)
	}
}
