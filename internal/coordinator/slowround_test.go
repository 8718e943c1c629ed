package coordinator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/testsize"
)

// A worker joins on a table with slow writes, and gets its share. Each lease moves once, and none
// stands still between two owners until it has expired.
func TestSharesMoveOnceOnASlowTable(t *testing.T) {
	t.Parallel()
	for _, slow := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond} {
		t.Run(slow.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const shards = 200
				f := fleettest.New(t, shards)
				f.Period = 4 * time.Second
				f.Start("a")
				time.Sleep(20 * time.Second)
				f.Reset()
				b := f.Prepare("b")
				b.Faults.SetFault(slowFor("update", slow))
				b.Run()
				time.Sleep(time.Minute)
				f.RequireBalance("a", "b")
				require.Equal(t, shards/2, f.Moves())
				require.Zero(t, f.Repeats())
				require.Less(t, f.LongestGap(), 12*time.Second)
			})
		})
	}
}

// MaxLeasesForWorker holds although listings lack the latest takes and requests.
func TestMaxLeasesWithAListThatLags(t *testing.T) {
	eachSeed(t, testsize.Pick[uint64](8, 25, 100), func(t *testing.T, rng *rand.Rand) {
		f := fleettest.New(t, 10+rng.IntN(40))
		f.TableFaults.SetListLag(time.Duration(rng.Int64N(int64(1500 * time.Millisecond))))
		roll := newDice(rng)
		most := map[string]int{}
		var workers []*fleettest.Worker
		for i := range 3 + roll(5) {
			id := fmt.Sprintf("w%d", i)
			most[id] = int(1 + roll(25))
			workers = append(workers, f.Start(id, maxLeases(most[id]), func(c *coordinator.Config) {
				c.Consume = func(ctx context.Context, h *holder.Holder) {
					select {
					case <-h.Stopping():
						time.Sleep(roll.upTo(3 * time.Second))
					case <-ctx.Done():
					}
				}
			}))
			for range roll(20) {
				time.Sleep(roll.upTo(time.Second))
				workers[roll(int64(len(workers)))].Coordinator.Nudge()
			}
		}
		time.Sleep(time.Minute)
		load := f.Load()
		for id, n := range load {
			require.True(t, id == "" || n <= most[id], "%s has %d leases of %d: %v of %v", id, n, most[id], load, most)
		}
	})
}
