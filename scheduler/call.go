package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/kinesis-go/kcl/internal/retry"
)

// panicError is a panic of the processor.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// repeat calls a method of the processor until it succeeds. Before each call
// the lease is asked whether it is still valid; while it waits after a failure,
// a stop ends it.
func (c *consumer) repeat(ctx context.Context, method string, f func() error) outcome {
	backoff := retry.New(firstBackoff, maxBackoff)
	for {
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
		wait := backoff.Next()
		c.logFailure(ctx, slog.LevelWarn, method, err, wait)
		if out := c.pause(ctx, wait); out != done {
			return out
		}
	}
}

// call runs a method of the processor and contains its panics.
func (c *consumer) call(method string, f func() error) error {
	c.progress.calling(method)
	err := contain(f)
	c.progress.called(err)
	if err != nil {
		cause := "error"
		if _, ok := errors.AsType[*panicError](err); ok {
			cause = "panic"
		}
		c.metrics.ProcessorFailed(method, cause)
	}
	return err
}

// contain is the only place that recovers: around the user's code.
func contain(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return f()
}

func (c *consumer) logFailure(ctx context.Context, level slog.Level, method string, err error, wait time.Duration) {
	attrs := []slog.Attr{slog.String("method", method), slog.Any("err", err), slog.Any("state", c.progress.stateNow())}
	if wait > 0 {
		attrs = append(attrs, slog.Duration("wait", wait))
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	c.log.LogAttrs(ctx, level, "record processor failed", attrs...)
}
