package retry

import (
	"context"
	"time"
)

// Shared is work that many goroutines need at the same time. An example is a call to a service that
// allows few calls a second. One goroutine does the work, and the others get its outcome. Shared is
// safe for concurrent use. Make it with [NewShared].
type Shared struct {
	lock chan struct{} // holds one token; the goroutine that has put it in owns the fields below

	key   string    // of the last outcome
	ended time.Time // when the last work ended; zero before
	err   error     // the last outcome
}

// NewShared returns a Shared without an outcome.
func NewShared() *Shared { return &Shared{lock: make(chan struct{}, 1)} }

// Do returns the outcome of f, or of an earlier f for the same key. The earlier f must have ended
// after the call of Do, or at most age before it. Do waits while another f runs. If ctx ends first,
// Do returns the context's cause. If the end of ctx has ended f, its outcome is not shared.
func (s *Shared) Do(ctx context.Context, key string, age time.Duration, f func() error) error {
	oldest := time.Now().Add(-age)
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.key == key && !s.ended.IsZero() && !s.ended.Before(oldest) {
		return s.err
	}
	err := f()
	if ctx.Err() == nil {
		s.key, s.ended, s.err = key, time.Now(), err
	}
	return err
}
