package polling

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gate{limit: 10}
		ctx := t.Context()
		require.ErrorIs(t, g.acquire(ctx, 11), errLimit)
		require.NoError(t, g.acquire(ctx, 5))
		require.True(t, g.halfFree())
		require.NoError(t, g.acquire(ctx, 1))
		require.False(t, g.halfFree())

		// In the order of asking: a small one does not pass a large one.
		var order []int64
		var wg sync.WaitGroup
		impatient, cancel := context.WithCancelCause(ctx)
		for i, n := range []int64{9, 3, 7} {
			own := ctx
			if i == 0 {
				own = impatient
			}
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				if err := g.acquire(own, n); err == nil {
					order = append(order, n)
				}
			})
		}
		time.Sleep(10 * time.Second)
		require.Empty(t, order)
		cancel(errors.New("gone"))
		synctest.Wait()
		require.Equal(t, []int64{3}, order, "who leaves makes room for the next")
		g.release(6)
		wg.Wait()
		require.Equal(t, []int64{3, 7}, order)
		g.release(10)
		require.Equal(t, int64(0), g.used)
		require.NoError(t, g.acquire(ctx, 10), "everything is free again")
	})
}

// A ticket that is granted and given up at the same moment is not lost.
func TestGateLeave(t *testing.T) {
	t.Parallel()
	g := &gate{limit: 1, used: 1}
	granted := &ticket{n: 1, granted: make(chan struct{})}
	close(granted.granted)
	g.leave(granted)
	require.Zero(t, g.used)
}

func TestGrant(t *testing.T) {
	t.Parallel()
	m := NewMemory(100 << 20)
	g := grant{m: m}
	require.NoError(t, g.waitTurn(t.Context()))
	require.Equal(t, int64(1), m.calls.used)
	require.NoError(t, g.waitForAnswer(t.Context(), -1))
	require.Zero(t, m.calls.used)
	require.Equal(t, int64(largestAnswer*decoding), m.bytes.used)
	require.False(t, m.roomAhead())
	g.shrink(1000)
	require.Equal(t, int64(1000), m.bytes.used)
	g.shrink(2000)
	require.Equal(t, int64(1000), m.bytes.used, "nothing is taken by keeping")
	g.free()
	g.free()
	require.Zero(t, m.bytes.used)
	require.True(t, m.roomAhead())

	none := grant{}
	require.NoError(t, none.waitTurn(t.Context()))
	require.NoError(t, none.waitForAnswer(t.Context(), 1))
	none.shrink(1)
	none.free()
	require.True(t, none.m.roomAhead())
}
