// Package retry has the only backoff of the library. It is exponential, with jitter and a cap, and
// never gives up. efo, polling, leases and scheduler use it in every loop that can fail. With
// [Shared], one goroutine makes a call for many goroutines that fail for the same reason.
package retry

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/kinesis-go/kcl/internal/chance"
)

// Backoff computes the waits between attempts. It belongs to one goroutine.
type Backoff struct {
	b    *backoff.ExponentialBackOff
	name string // for package chance
}

// New returns a Backoff. The first wait is about initial, and later waits double up to about limit.
// Each wait varies by up to half. The Backoff has no time limit: that of the underlying library is
// switched off.
func New(initial, limit time.Duration) *Backoff {
	return &Backoff{name: chance.Name("backoff"), b: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(initial),
		backoff.WithMaxInterval(limit),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0), // Next adds jitter
		backoff.WithMaxElapsedTime(0),
	)}
}

// Next returns the next wait.
func (b *Backoff) Next() time.Duration {
	middle := b.b.NextBackOff()
	return middle/2 + chance.N(middle+1, b.name)
}

// Reset makes the next wait the initial one. Call it after a success.
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
