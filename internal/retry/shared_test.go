package retry_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/retry"
)

func TestOneDoesItForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := retry.NewShared()
		refused := errors.New("refused")
		done := 0
		do := func(ctx context.Context, key string, age time.Duration) error {
			return s.Do(ctx, key, age, func() error {
				done++
				return errors.Join(refused, retry.Sleep(ctx, time.Second))
			})
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { require.ErrorIs(t, do(t.Context(), "a", 0), refused) })
		}
		wg.Wait()
		require.Equal(t, 1, done, "those that waited have the outcome")

		time.Sleep(time.Millisecond)
		require.ErrorIs(t, do(t.Context(), "a", 0), refused)
		require.Equal(t, 2, done, "it is older than the call")
		time.Sleep(5 * time.Second)
		require.ErrorIs(t, do(t.Context(), "a", 5*time.Second), refused)
		require.Equal(t, 2, done, "not too old")
		require.ErrorIs(t, do(t.Context(), "b", 5*time.Second), refused)
		require.Equal(t, 3, done, "another key")
	})
}

func TestSharedEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := retry.NewShared()
		cause := errors.New("cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			require.ErrorIs(t, s.Do(ctx, "", 0, func() error { return retry.Sleep(ctx, time.Hour) }), cause)
		})
		synctest.Wait()
		waits, give := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer give()
		require.Equal(t, cause, s.Do(waits, "", 0, func() error { return nil }), "while another is at it")
		cancel(cause)
		wg.Wait()
		require.NoError(
			t,
			s.Do(t.Context(), "", time.Hour, func() error { return nil }),
			"what was cancelled is nobody else's outcome",
		)
	})
}
