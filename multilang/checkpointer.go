package multilang

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
)

// request is a checkpoint that a goroutine of the processor waits for.
type request struct {
	target target
	gone   func() error // why the caller waits no longer; nil while it waits
	answer chan error   // has room for the answer
}

// checkpointer is the [kcl.Checkpointer] of a child. It hands each checkpoint to the session, which
// alone talks to the daemon.
type checkpointer struct {
	requests chan<- request
	progress *progress
	options  Options
	ended    <-chan struct{} // closed with the processor's context
	cause    func() error    // why it has ended
}

var _ kcl.Checkpointer = (*checkpointer)(nil)

func (c *checkpointer) Checkpoint(ctx context.Context) error {
	t := c.progress.everything()
	if t.position.IsZero() {
		return c.refused()
	}
	return c.submit(ctx, t)
}

// refused returns why no checkpoint is accepted any more, or nil.
func (c *checkpointer) refused() error {
	select {
	case <-c.ended:
		return c.cause()
	default:
		return c.progress.refused()
	}
}

func (c *checkpointer) CheckpointAt(ctx context.Context, position kcl.ExtendedSequenceNumber) error {
	if err := position.Validate(); err != nil {
		return fmt.Errorf("%w: %w", kcl.ErrInvalidCheckpoint, err)
	}
	if position.IsSentinel() {
		return fmt.Errorf("%w: %s is not the position of a record", kcl.ErrInvalidCheckpoint, position)
	}
	return c.submit(ctx, target{position: position})
}

func (c *checkpointer) Prepare(
	context.Context, kcl.ExtendedSequenceNumber, []byte,
) (kcl.PreparedCheckpointer, error) {
	return nil, fmt.Errorf("multilang: the MultiLangDaemon has no prepared checkpoints, "+
		"use Checkpoint or CheckpointAt: %w", errors.ErrUnsupported)
}

// submit asks for a checkpoint until it is written, refused, or was tried often enough.
func (c *checkpointer) submit(ctx context.Context, t target) error {
	for attempt := 1; ; attempt++ {
		err := c.try(ctx, t)
		if !passes(err) || attempt >= c.options.CheckpointAttempts {
			return err
		}
		pause := time.NewTimer(c.options.backoff(attempt))
		select {
		case <-pause.C:
		case <-ctx.Done():
		case <-c.ended:
		}
		pause.Stop()
	}
}

// try asks for a checkpoint once.
func (c *checkpointer) try(ctx context.Context, t target) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.refused(); err != nil {
		return err
	}
	r := request{target: t, gone: func() error { return context.Cause(ctx) }, answer: make(chan error, 1)}
	select {
	case c.requests <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.ended:
		return c.cause()
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
	}
	// ctx may be the processor's context, which the answer itself has ended. The session answers
	// each request that it has taken, whatever becomes of the daemon.
	select {
	case <-c.ended:
		return <-r.answer
	default:
		return context.Cause(ctx)
	}
}
