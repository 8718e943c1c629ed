// Package line improves the HTTP clients under the AWS SDK. Deadlines count silence: [Silence] ends
// a call to which nothing arrives, however large its answer is. Connections are given up: [Client]
// leaves a connection on which calls keep failing, and an old one. efo, polling, scheduler and
// leases/dynamodb use it.
package line

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrSilence is wrapped by the error of a call to which nothing arrived in time. It wraps
// context.DeadlineExceeded.
var ErrSilence = fmt.Errorf("nothing arrived in time: %w", context.DeadlineExceeded)

// Silence notices that nothing arrives. Each byte of the answer's body starts the time anew, if the
// call's HTTP client is a [Client] or uses [Judge]. It is safe for concurrent use. All methods of a
// nil Silence do nothing.
type Silence struct {
	limit time.Duration
	timer *time.Timer
	outer *Silence // of the context that was given to In

	mu     sync.Mutex // guards the fields below
	heard  time.Time  // when something arrived last
	paused bool
	ended  bool
}

// NewSilence returns a Silence that calls end when nothing has arrived for limit.
func NewSilence(limit time.Duration, end func()) *Silence {
	return &Silence{limit: limit, timer: time.AfterFunc(limit, end), heard: time.Now()}
}

type silenceKey struct{}

// In returns a context for calls. Bytes of their answers count for s, and for the Silence that ctx
// has already. In is called once.
func (s *Silence) In(ctx context.Context) context.Context {
	s.outer = Of(ctx)
	return context.WithValue(ctx, silenceKey{}, s)
}

// Of returns the innermost Silence of a call's context, or nil.
func Of(ctx context.Context) *Silence {
	s, _ := ctx.Value(silenceKey{}).(*Silence)
	return s
}

// Heard says that something arrived.
func (s *Silence) Heard() {
	for ; s != nil; s = s.outer {
		s.mu.Lock()
		s.heard = time.Now()
		s.restartLocked()
		s.mu.Unlock()
	}
}

// Pause stops the time while the call waits for this process. [Silence.Resume] starts it anew.
func (s *Silence) Pause() {
	for ; s != nil; s = s.outer {
		s.mu.Lock()
		s.paused = true
		s.timer.Stop()
		s.mu.Unlock()
	}
}

// Resume starts the time anew.
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

// Stop ends the time of s for good, and not that of outer ones. [Silence.Last] still works.
func (s *Silence) Stop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.timer.Stop()
}

// Last is when something arrived last.
func (s *Silence) Last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// Call runs f, which makes one call to a service. It ends f's context when nothing has arrived for
// limit. Then the error wraps [ErrSilence].
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
