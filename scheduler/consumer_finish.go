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
func (d *delivery) shutdownRequested(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	err := d.call("shutdown_requested", func() error {
		return d.processor.ShutdownRequested(ctx, kcl.ShutdownRequestedInput{Checkpointer: d.checkpointer})
	})
	if err != nil {
		d.logFailure(ctx, slog.LevelError, "shutdown_requested", err, 1, 0)
		d.arrived = false // it may hold what it has not processed
	}
	if d.cfg.checkpointInterval > 0 && ctx.Err() == nil {
		d.autoCheckpoint(ctx)
	}
	d.log.InfoContext(ctx, "shard consumer finished on request", "checkpoint", d.checkpointer.Report().Last)
}

// errReplaced is what a processor that was replaced gets from its context and its
// checkpointer.
var errReplaced = fmt.Errorf("%w: another processor takes its place: %w", kcl.ErrLeaseLost, kcl.ErrRestart)

// leaseLost tells the processor that it is over; it is in no other call. Its
// context has ended, so this call gets one of its own.
func (d *delivery) leaseLost(ctx context.Context) {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, kcl.ErrRestart):
	case errors.Is(cause, kcl.ErrLeaseLost):
		d.log.WarnContext(ctx, "lease lost, shard consumer ends", "lease_owner", d.holder.Lease().Owner)
	default:
		d.log.WarnContext(ctx, "shutdown took too long, shard consumer ends without a last checkpoint: raise ShutdownTimeout, or let the processor heed its context",
			"cause", cause, "shutdown_timeout", d.cfg.shutdownTimeout, "checkpoint", d.checkpointer.Report().Last)
	}
	if d.processor == nil {
		return
	}
	own, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), d.cfg.shutdownTimeout, kcl.ErrShutdownTimeout)
	defer cancel()
	err := d.call("lease_lost", func() error {
		d.processor.LeaseLost(own, kcl.LeaseLostInput{})
		return nil
	})
	if err != nil {
		d.logFailure(ctx, slog.LevelError, "lease_lost", err, 1, 0)
	}
}
