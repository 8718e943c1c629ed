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

// repeat calls a method of the processor until it succeeds. Before each call it checks that the
// lease is valid. A stop ends the wait after a failure. A processor that returns ErrRestart is not
// called again.
func (d *delivery) repeat(ctx context.Context, method string, f func() error) outcome {
	backoff := retry.New(firstBackoff, maxBackoff)
	for attempt := 1; ; attempt++ {
		if !d.holder.Valid() {
			// The ownership deadline has passed. The holder cancels ctx in a moment.
			<-ctx.Done()
		}
		if ctx.Err() != nil {
			return lost
		}
		err := d.call(method, f)
		if err == nil {
			return done
		}
		if ctx.Err() != nil {
			return lost
		}
		if errors.Is(err, kcl.ErrRestart) {
			d.logFailure(ctx, slog.LevelWarn, method, err, attempt, 0)
			return restarted
		}
		wait := backoff.Next()
		d.logFailure(ctx, slog.LevelWarn, method, err, attempt, wait)
		if out := d.pause(ctx, wait); out != done {
			return out
		}
	}
}

// call runs a method of the processor and contains its panics.
func (d *delivery) call(method string, f func() error) error {
	d.progress.callBegan(method)
	err := usercode.Call(f)
	d.progress.callEnded(err)
	if err != nil {
		cause := "error"
		if _, ok := errors.AsType[*usercode.Panic](err); ok {
			cause = "panic"
		}
		d.metrics.ProcessorFailed(method, cause)
	}
	return err
}

// logFailure logs a failed call with the number of consecutive failures. It also logs two
// positions: the one before the first record of the batch, and that of the last record.
func (d *delivery) logFailure(
	ctx context.Context, level slog.Level, method string, err error, attempt int, wait time.Duration,
) {
	attrs := []slog.Attr{
		slog.String("method", method), slog.Any("err", err), slog.Int("attempt", attempt),
		slog.Any("processed", d.processed), slog.Any("position", d.last), slog.Any("state", d.progress.stateNow()),
	}
	if wait > 0 {
		attrs = append(attrs, slog.Duration("wait", wait))
	}
	if p, ok := errors.AsType[*usercode.Panic](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	d.log.LogAttrs(ctx, level, "record processor failed", attrs...)
}

// logLimiter counts events of a shard that are logged at most each logEvery.
type logLimiter struct {
	count  int
	logged time.Time // last
}

const logEvery = 10 * time.Minute

// add counts n more. When a log is due, it returns the count since the last one.
func (l *logLimiter) add(n int) (count int, due bool) {
	l.count += n
	if n == 0 || time.Since(l.logged) < logEvery {
		return 0, false
	}
	count = l.count
	*l = logLimiter{logged: time.Now()}
	return count, true
}
