package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/retry"
)

func TestWaitsGrowToTheLimitAndStartAgain(t *testing.T) {
	t.Parallel()
	b := retry.New(100*time.Millisecond, time.Second)
	within := func(d, middle time.Duration) {
		t.Helper()
		require.InDelta(t, middle, d, float64(middle/2)+1)
	}
	for _, ms := range []int{100, 200, 400, 800, 1000, 1000} {
		within(b.Next(), time.Duration(ms)*time.Millisecond)
	}
	b.Reset()
	within(b.Next(), 100*time.Millisecond)
}

// TestNeverGivesUp is the trap of the library below: left alone it stops after a quarter of an
// hour.
func TestNeverGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := retry.New(time.Second, time.Minute)
		for start := time.Now(); time.Since(start) < 24*time.Hour; {
			require.Positive(t, b.Next())
			require.NoError(t, b.Wait(t.Context()))
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		start := time.Now()
		require.Equal(t, cause, retry.Sleep(ctx, time.Hour))
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, cause, retry.Sleep(ctx, 0), "nothing is waited for once the context has ended")
		require.NoError(t, retry.Sleep(t.Context(), time.Minute))
		require.Equal(t, time.Second+time.Minute, time.Since(start))
	})
}
