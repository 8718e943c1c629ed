package coordinator_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/testsize"
)

// TestL05FailoverTimes kills one worker of a fleet after the other, at moments unrelated to
// renewals and scans. It measures how long the shards of the killed worker had no deliveries. The
// shards of the others must not be touched. The first worker and the one with most leases are
// killed too: no worker is special.
func TestL05FailoverTimes(t *testing.T) {
	t.Parallel()
	shards, each := 40, testsize.Pick(6, 10, 10)
	seeds := testsize.Pick(1, 2, 4)
	kills := each * seeds
	var dead, others []time.Duration
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			f := fleettest.New(t, shards)
			f.Period = 500 * time.Millisecond
			var alive []string
			join := func(i int) {
				alive = append(alive, fmt.Sprintf("w%d", i))
				f.Start(alive[len(alive)-1])
			}
			for i := range 5 {
				join(i)
			}
			for i := range each {
				time.Sleep(25*time.Second + time.Duration(rng.Int64N(int64(15*time.Second)))) // settled
				f.Reset()
				at := rng.IntN(len(alive))
				if i%2 == 0 {
					at = 0 // the oldest
				}
				victim := alive[at]
				alive = slices.Delete(alive, at, at+1)
				was := f.Readers()
				f.Workers[victim].Kill()
				time.Sleep(20 * time.Second)
				for key, s := range f.Shards() {
					gap := max(s.Gap, time.Since(s.At))
					if was[key] == victim {
						dead = append(dead, gap)
					} else {
						others = append(others, gap)
					}
				}
				join(5 + i)
			}
		})
	}
	slices.Sort(dead)
	slices.Sort(others)
	at := func(p float64) time.Duration { return dead[int(p*float64(len(dead)-1))] }
	t.Logf("failover of %d shards by %d kills: median %v, p90 %v, p99 %v, max %v; of the other %d shards: max %v",
		len(dead), kills, at(0.5), at(0.9), at(0.99), at(1), len(others), others[len(others)-1])
	require.GreaterOrEqual(t, len(dead), kills*shards/5*9/10)
	require.LessOrEqual(t, at(0.99), 15*time.Second)
	require.LessOrEqual(t, at(1), failover)
	require.Greater(t, dead[0], 6*time.Second, "a living owner would have renewed")
	require.Less(t, others[len(others)-1], 2*time.Second, "nobody waits for the leases of others")
}

// TestL03ColdStartOfThousandLeases measures when all leases of a new table are
// being read, by ten workers that start together.
func TestL03ColdStartOfThousandLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const workers = 10
		shards := testsize.Pick(200, 1000, 1000)
		f := fleettest.New(t, shards)
		f.Period = time.Second
		var ids []string
		begun := time.Now()
		for i := range workers {
			ids = append(ids, fmt.Sprintf("w%d", i))
			f.Start(ids[i])
		}
		for len(f.Readers()) < shards {
			require.Less(t, time.Since(begun), 30*time.Second, "%d read", len(f.Readers()))
			time.Sleep(50 * time.Millisecond)
		}
		t.Logf("all are read after %v", time.Since(begun))
		time.Sleep(30*time.Second - time.Since(begun))
		f.RequireBalance(ids...)
		require.Zero(t, f.Repeats())
		require.Empty(t, f.Warned.Take())
	})
}

// TestL09ClocksThatDisagree sets wall clocks ten minutes apart, which changes nothing. A worker
// judges a lease by what it saw, on its own clock.
func TestL09ClocksThatDisagree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 12)
		for id, skew := range map[string]time.Duration{"a": -10 * time.Minute, "b": 0, "c": 10 * time.Minute} {
			w := f.Prepare(id)
			w.Coordinator.SetWallClock(func() time.Duration { return skew })
			w.Run()
		}
		time.Sleep(time.Minute)
		f.RequireBalance("a", "b", "c")
		f.Reset()
		time.Sleep(testsize.Pick(10*time.Minute, 20*time.Minute, time.Hour))
		require.Zero(t, f.Moves())
		require.Zero(t, f.Repeats())
		require.Empty(t, f.Warned.Take())
		for _, id := range []string{"c", "a"} {
			f.Reset()
			f.Workers[id].Kill()
			time.Sleep(failover)
			require.LessOrEqual(t, f.LongestGap(), failover, "after %s", id)
		}
		f.RequireBalance("b")
	})
}
