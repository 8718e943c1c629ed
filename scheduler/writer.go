package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// patientWriter writes by the holder, in attempts of bounded length. The
// holder's goroutine makes one write after the other, renewals among them:
//
//	checkpoint:  attempt, fails, attempt, fails, ... for as long as its context lives
//	renewal:     waits, waits, waits, and the lease is lost
//
// A table that refuses checkpoints and takes renewals must not cost the lease;
// between two attempts the holder renews.
type patientWriter struct {
	holder *leases.Holder
	limit  time.Duration
}

var _ checkpoint.Writer = patientWriter{}

func (c *consumer) writer() patientWriter {
	return patientWriter{holder: c.holder, limit: c.s.cfg.FailoverTime / 3}
}

// errAttempt ends one attempt.
var errAttempt = errors.New("the lease store has not taken the write yet")

func (w patientWriter) Checkpoint(ctx context.Context, pos kcl.ExtendedSequenceNumber) error {
	return w.write(ctx, func(ctx context.Context) error { return w.holder.Checkpoint(ctx, pos) })
}

func (w patientWriter) Prepare(ctx context.Context, pos kcl.ExtendedSequenceNumber, state []byte) error {
	return w.write(ctx, func(ctx context.Context) error { return w.holder.Prepare(ctx, pos, state) })
}

func (w patientWriter) SetChildren(ctx context.Context, ids []string) error {
	return w.write(ctx, func(ctx context.Context) error { return w.holder.SetChildren(ctx, ids) })
}

func (w patientWriter) write(ctx context.Context, do func(context.Context) error) error {
	backoff := retry.New(w.limit/10, w.limit)
	for {
		attempt, cancel := context.WithTimeoutCause(ctx, w.limit, errAttempt)
		err := do(attempt)
		cancel()
		if !errors.Is(err, errAttempt) {
			return err
		}
		if err := backoff.Wait(ctx); err != nil {
			return err
		}
	}
}
