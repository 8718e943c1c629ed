// Package line improves the HTTP clients under the AWS SDK. [Silence] ends a call after a time
// without a byte, so the size of an answer does not matter. [Client] gives up old connections, and
// those on which calls keep failing. efo, polling, scheduler and leases/dynamodb use it.
package line

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrSilence is the cause of the end of a call that got no byte in time. The call's error wraps it.
// It wraps context.DeadlineExceeded.
var ErrSilence = fmt.Errorf("nothing arrived in time: %w", context.DeadlineExceeded)

// Silence is a timer that ends a call without incoming bytes. Each byte of the answer's body
// restarts it, if the call's HTTP client is a [Client] or uses [Send]. It is safe for concurrent
// use. Heard, Pause, Resume and Stop of a nil Silence do nothing.
type Silence struct {
	limit time.Duration
	timer *time.Timer
	outer *Silence // of the context that was given to In

	mu     sync.Mutex // guards the fields below
	heard  time.Time  // when the last byte arrived
	paused bool
	ended  bool
}

// NewSilence returns a running Silence that calls end after limit without a byte.
func NewSilence(limit time.Duration, end func()) *Silence {
	return &Silence{limit: limit, timer: time.AfterFunc(limit, end), heard: time.Now()}
}

type silenceKey struct{}

// In returns a context for calls. Bytes of their answers restart s, and the Silence that ctx
// already has. Call In once.
func (s *Silence) In(ctx context.Context) context.Context {
	s.outer = Of(ctx)
	return context.WithValue(ctx, silenceKey{}, s)
}

// Of returns the innermost Silence of a call's context, or nil.
func Of(ctx context.Context) *Silence {
	s, _ := ctx.Value(silenceKey{}).(*Silence)
	return s
}

// Heard restarts the timer, because something arrived.
func (s *Silence) Heard() {
	for ; s != nil; s = s.outer {
		s.mu.Lock()
		s.heard = time.Now()
		s.restartLocked()
		s.mu.Unlock()
	}
}

// Pause stops the timer while the call waits for this process. [Silence.Resume] restarts it.
func (s *Silence) Pause() {
	for ; s != nil; s = s.outer {
		s.mu.Lock()
		s.paused = true
		s.timer.Stop()
		s.mu.Unlock()
	}
}

// Resume restarts the timer.
func (s *Silence) Resume() {
	for ; s != nil; s = s.outer {
		s.mu.Lock()
		s.paused = false
		s.restartLocked()
		s.mu.Unlock()
	}
}

func (s *Silence) restartLocked() {
	if !s.paused && !s.ended {
		s.timer.Reset(s.limit)
	}
}

// Stop stops the timer of s for ever, and leaves outer timers running. [Silence.Last] still works.
func (s *Silence) Stop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.timer.Stop()
}

// Last returns when the last byte arrived.
func (s *Silence) Last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// Call runs f, which makes one call to a service. It ends f's context after limit without a byte,
// and returns an error that wraps [ErrSilence].
func Call[T any](ctx context.Context, limit time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := NewSilence(limit, func() { cancel(ErrSilence) })
	defer s.Stop()
	out, err := f(s.In(ctx))
	if err != nil && errors.Is(context.Cause(ctx), ErrSilence) {
		return out, fmt.Errorf("%w (%s): %w", ErrSilence, limit, err)
	}
	return out, err
}
