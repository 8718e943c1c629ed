package parallel_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/parallel"
)

// TestDo counts the calls, how many run at the same time, and how long all of them take.
func TestDo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ n, limit, most, seconds int }{
		{n: 0, limit: 3},
		{n: 2, limit: 3, most: 2, seconds: 1},
		{n: 7, limit: 3, most: 3, seconds: 3},
		{n: 4, limit: 1, most: 1, seconds: 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			var running, most atomic.Int32
			called := make([]int, test.n)
			begun := time.Now()
			parallel.Do(test.n, test.limit, func(i int) {
				now := running.Add(1)
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				called[i]++
				time.Sleep(time.Second)
				running.Add(-1)
			})
			require.Equal(t, time.Duration(test.seconds)*time.Second, time.Since(begun))
			require.EqualValues(t, test.most, most.Load())
			for i, times := range called {
				require.Equal(t, 1, times, i)
			}
		})
	}
}
