package usercode

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// Logger returns a logger whose handler's panics are contained. A line that the
// handler panics at is lost, and standard error says so, once.
func Logger(l *slog.Logger) *slog.Logger {
	if _, ok := l.Handler().(*handler); ok {
		return l
	}
	return slog.New(&handler{inner: l.Handler(), told: new(sync.Once)})
}

type handler struct {
	inner slog.Handler
	told  *sync.Once
}

func (h *handler) tell(err error) {
	if err != nil {
		h.told.Do(func() { fmt.Fprintf(os.Stderr, "kcl: the log handler fails, lines are lost: %v\n", err) })
	}
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	h.tell(Contain(func() { enabled = h.inner.Enabled(ctx, level) }))
	return enabled
}

func (h *handler) Handle(ctx context.Context, r slog.Record) (err error) {
	h.tell(Contain(func() { err = h.inner.Handle(ctx, r) }))
	return err
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(inner slog.Handler) slog.Handler { return inner.WithAttrs(attrs) })
}

func (h *handler) WithGroup(name string) slog.Handler {
	return h.with(func(inner slog.Handler) slog.Handler { return inner.WithGroup(name) })
}

func (h *handler) with(f func(slog.Handler) slog.Handler) slog.Handler {
	out := &handler{inner: h.inner, told: h.told}
	h.tell(Contain(func() { out.inner = f(h.inner) }))
	return out
}
