package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/kinesis-go/kcl"
)

// shutdownRequested calls ShutdownRequested. The stop of the worker does not end ctx, so the
// processor can still checkpoint.
func (d *delivery) shutdownRequested(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	err := d.call("shutdown_requested", func() error {
		return d.processor.ShutdownRequested(ctx, kcl.ShutdownRequestedInput{Checkpointer: d.checkpointer})
	})
	if err != nil {
		d.logFailure(ctx, slog.LevelError, "shutdown_requested", err, 1, 0)
		d.arrived = false // the processor may hold unprocessed records
	}
	if d.cfg.checkpointInterval > 0 && ctx.Err() == nil {
		d.autoCheckpoint(ctx)
	}
	d.log.InfoContext(ctx, "shard consumer finished on request", "checkpoint", d.checkpointer.Report().Last)
}

// errReplaced is the error that a replaced processor gets from its context and its checkpointer.
var errReplaced = fmt.Errorf("%w: another processor replaces this one: %w", kcl.ErrLeaseLost, kcl.ErrRestart)

// leaseLost calls LeaseLost after all other calls of the processor have returned. The processor's
// context has ended, so this call gets a new one.
func (d *delivery) leaseLost(ctx context.Context) {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, kcl.ErrRestart):
	case errors.Is(cause, kcl.ErrLeaseLost):
		d.log.WarnContext(ctx, "lease lost, shard consumer ends", "lease_owner", d.holder.Lease().Owner)
	default:
		d.log.WarnContext(ctx, "shutdown took too long, shard consumer ends without a last checkpoint: raise "+
			"ShutdownTimeout, or let the processor return when its context ends",
			"cause", cause, "shutdown_timeout", d.cfg.shutdownTimeout, "checkpoint", d.checkpointer.Report().Last)
	}
	if d.processor == nil {
		return
	}
	last, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), d.cfg.shutdownTimeout, kcl.ErrShutdownTimeout)
	defer cancel()
	err := d.call("lease_lost", func() error {
		d.processor.LeaseLost(last, kcl.LeaseLostInput{})
		return nil
	})
	if err != nil {
		d.logFailure(ctx, slog.LevelError, "lease_lost", err, 1, 0)
	}
}
