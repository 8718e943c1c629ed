package retry

import (
	"context"
	"time"
)

// Shared is work that many goroutines want done at the same time. An example is a call to a service
// that allows few calls a second. One goroutine does the work, and the others get its outcome.
// Shared is safe for concurrent use. Make it with [NewShared].
type Shared struct {
	turn chan struct{} // the goroutine whose token is in it owns the fields below

	key   string
	ended time.Time
	err   error
}

// NewShared returns a Shared that has done nothing yet.
func NewShared() *Shared { return &Shared{turn: make(chan struct{}, 1)} }

// Do returns the outcome of f, or of another f for the same key. The other f must have ended since
// Do was called, or at most age before that. Do waits for an f that is running. If ctx ends first,
// Do returns the context's cause. The outcome of an f that ctx has ended is not shared.
func (s *Shared) Do(ctx context.Context, key string, age time.Duration, f func() error) error {
	since := time.Now().Add(-age)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.key == key && !s.ended.IsZero() && !s.ended.Before(since) {
		return s.err
	}
	err := f()
	if ctx.Err() == nil {
		s.key, s.ended, s.err = key, time.Now(), err
	}
	return err
}
