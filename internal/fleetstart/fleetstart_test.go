package fleetstart

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestP06FewAskForTagsAtOnce starts a fleet on a new table. It has half as many workers again as
// each worker estimates. The service answers five calls for tags a second.
func TestP06FewAskForTagsAtOnce(t *testing.T) {
	t.Parallel()
	const trials, limit = 2000, 5
	for _, workers := range []int{16, 25, 50, 100, 300} {
		exceeded := 0
		for range trials {
			var asks []time.Duration
			for range workers {
				if wait, checks := drawStart(workers * 2 / 3); checks {
					asks = append(asks, wait)
				}
			}
			slices.Sort(asks)
			for i := limit; i < len(asks); i++ {
				if asks[i]-asks[i-limit] < time.Second {
					exceeded++
					break
				}
			}
		}
		t.Logf("%d workers: %d of %d times", workers, exceeded, trials)
		require.Less(t, exceeded, trials/100, "%d workers", workers)
	}
}
