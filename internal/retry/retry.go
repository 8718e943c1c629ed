// Package retry makes every backoff of the library: exponential with jitter and a cap, without an
// end of its own. efo, polling, leases and scheduler use it wherever a loop can fail. [Shared] lets
// one goroutine ask for many that fail for the same reason.
package retry

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Backoff counts the waits between attempts. It belongs to one goroutine.
type Backoff struct{ b *backoff.ExponentialBackOff }

// New returns a Backoff whose waits start at about initial and double up to about limit, each
// within plus or minus half. It never gives up: the time limit of the underlying library is
// switched off.
func New(initial, limit time.Duration) *Backoff {
	return &Backoff{b: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(initial),
		backoff.WithMaxInterval(limit),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.5),
		backoff.WithMaxElapsedTime(0),
	)}
}

// Next returns the next wait.
func (b *Backoff) Next() time.Duration { return b.b.NextBackOff() }

// Reset starts again at the initial wait. It is called after a success.
func (b *Backoff) Reset() { b.b.Reset() }

// Wait sleeps for the next wait. If ctx ends first, it returns the context's cause.
func (b *Backoff) Wait(ctx context.Context) error { return Sleep(ctx, b.Next()) }

// Sleep waits for d. If ctx ends first, it returns the context's cause.
func Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
