package usercode

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// Logger returns a logger that contains panics of l's handler. The log line of a panic is lost. The
// first panic is reported on standard error.
func Logger(l *slog.Logger) *slog.Logger {
	if _, ok := l.Handler().(*handler); ok {
		return l
	}
	return slog.New(&handler{inner: l.Handler(), report: new(sync.Once)})
}

// handler contains the panics of another handler.
type handler struct {
	inner  slog.Handler
	report *sync.Once // reports the first panic
}

func (h *handler) reportPanic(err error) {
	if err != nil {
		h.report.Do(func() { fmt.Fprintf(os.Stderr, "kcl: the log handler panics, log lines are lost: %v\n", err) })
	}
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	h.reportPanic(Contain(func() { enabled = h.inner.Enabled(ctx, level) }))
	return enabled
}

func (h *handler) Handle(ctx context.Context, r slog.Record) (err error) {
	h.reportPanic(Contain(func() { err = h.inner.Handle(ctx, r) }))
	return err
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(inner slog.Handler) slog.Handler { return inner.WithAttrs(attrs) })
}

func (h *handler) WithGroup(name string) slog.Handler {
	return h.with(func(inner slog.Handler) slog.Handler { return inner.WithGroup(name) })
}

func (h *handler) with(f func(slog.Handler) slog.Handler) slog.Handler {
	out := &handler{inner: h.inner, report: h.report}
	h.reportPanic(Contain(func() { out.inner = f(h.inner) }))
	return out
}
