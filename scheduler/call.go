package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/usercode"
)

// repeat calls a method of the processor until it succeeds. Before each call
// the lease is asked whether it is still valid; while it waits after a failure,
// a stop ends it. A processor that asks to be replaced is not called again.
func (c *consumer) repeat(ctx context.Context, method string, f func() error) outcome {
	backoff := retry.New(firstBackoff, maxBackoff)
	for attempt := 1; ; attempt++ {
		if !c.holder.Valid() {
			// The ownership deadline has passed; the holder says so in a moment.
			<-ctx.Done()
		}
		if ctx.Err() != nil {
			return lost
		}
		err := c.call(method, f)
		if err == nil {
			return done
		}
		if ctx.Err() != nil {
			return lost
		}
		if errors.Is(err, kcl.ErrRestart) {
			c.logFailure(ctx, slog.LevelWarn, method, err, attempt, 0)
			return restarted
		}
		wait := backoff.Next()
		c.logFailure(ctx, slog.LevelWarn, method, err, attempt, wait)
		if out := c.pause(ctx, wait); out != done {
			return out
		}
	}
}

// call runs a method of the processor and contains its panics.
func (c *consumer) call(method string, f func() error) error {
	c.progress.calling(method)
	err := usercode.Call(f)
	c.progress.called(err)
	if err != nil {
		cause := "error"
		if _, ok := errors.AsType[*usercode.Panic](err); ok {
			cause = "panic"
		}
		c.metrics.ProcessorFailed(method, cause)
	}
	return err
}

// logFailure tells of a call that failed: with which batch, by the place before its
// first record and that of its last one, and for how many times in a row.
func (c *consumer) logFailure(ctx context.Context, level slog.Level, method string, err error, attempt int, wait time.Duration) {
	attrs := []slog.Attr{
		slog.String("method", method), slog.Any("err", err), slog.Int("attempt", attempt),
		slog.Any("processed", c.processed), slog.Any("position", c.last), slog.Any("state", c.progress.stateNow()),
	}
	if wait > 0 {
		attrs = append(attrs, slog.Duration("wait", wait))
	}
	if p, ok := errors.AsType[*usercode.Panic](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	c.log.LogAttrs(ctx, level, "record processor failed", attrs...)
}
