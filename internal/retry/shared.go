package retry

import (
	"context"
	"time"
)

// Shared is work that many goroutines want done at the same time, such as a
// question to a service that takes few calls a second: one does it, and the
// others have its outcome. It is safe for concurrent use; make it with
// [NewShared].
type Shared struct {
	turn chan struct{} // whoever has put the token in uses the fields below

	key   string
	ended time.Time
	err   error
}

// NewShared returns a Shared that has done nothing yet.
func NewShared() *Shared { return &Shared{turn: make(chan struct{}, 1)} }

// Do returns the outcome of f, or of another f for the same key that has ended
// since Do was called, or no longer than age before. It waits for one that is
// under way. When ctx ends first, it returns the context's cause; an f that ctx
// has ended counts for nobody else.
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
