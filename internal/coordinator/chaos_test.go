package coordinator_test

import (
	"context"
	"errors"
	"flag"
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
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

var (
	seed  = flag.Uint64("seed", 1, "run the random tests from this seed on")
	seeds = flag.Uint64("seeds", 0, "how many seeds each random test runs; 0 is few")
)

// eachSeed runs a random test in a bubble of its own for each seed. There are usual seeds, unless
// -seeds says otherwise.
func eachSeed(t *testing.T, usual uint64, test func(t *testing.T, rng *rand.Rand)) {
	if *seeds > 0 {
		usual = *seeds
	}
	for i := range usual {
		s := *seed + i
		ok := t.Run(fmt.Sprintf("seed %d", s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, rand.New(rand.NewPCG(s, 0))) })
		})
		if !ok {
			t.Errorf("run it again with -seed %d -seeds 1", s)
		}
	}
}

// TestChaos lets workers come, go and die for ten minutes, on a table that fails in all ways and
// loses rows. Then everything must be in order soon. All the while the fleet checks five rules. No
// record is skipped. No worker reads a shard twice. No two workers hold one lease. No accepted
// checkpoint gets lost. No worker delivers records that another one has passed.
func TestChaos(t *testing.T) { eachSeed(t, testsize.Pick[uint64](1, 4, 20), chaos) }

func chaos(t *testing.T, rng *rand.Rand) {
	f := fleettest.New(t, 12)
	f.TableFaults.SetListLag(time.Duration(rng.Int64N(int64(time.Second))))
	var alive []*fleettest.Worker
	for i := range 100 {
		fault := func() leasefault.Fault {
			switch rng.IntN(7) {
			case 6:
				return leasefault.Late(time.Duration(rng.Int64N(int64(12 * time.Second))))
			case 0:
				return lossy(rng.Float64(), rng.Uint64())
			case 1:
				return leasefault.Slow(time.Duration(rng.Int64N(int64(4 * time.Second))))
			case 2:
				return leasefault.Failing(errStore)
			}
			return nil
		}
		switch {
		case len(alive) < 2 || (len(alive) < 5 && rng.IntN(4) == 0):
			w := f.Start(fmt.Sprintf("w%d", i))
			w.Faults.SetFault(fault())
			alive = append(alive, w)
		case rng.IntN(6) == 0:
			at := rng.IntN(len(alive))
			if rng.IntN(2) == 0 {
				alive[at].Kill()
			} else {
				alive[at].Faults.SetFault(nil)
				alive[at].Stop()
			}
			alive = append(alive[:at], alive[at+1:]...)
		case rng.IntN(5) == 0:
			rows := mustList(t, f.Store)
			f.Erase(rows[rng.IntN(len(rows))].Key)
		default:
			alive[rng.IntN(len(alive))].Faults.SetFault(fault())
		}
		time.Sleep(time.Duration(rng.Int64N(int64(12 * time.Second))))
		syncRows(f, 12)
	}
	var ids []string
	for _, w := range alive {
		w.Faults.SetFault(nil)
		ids = append(ids, w.ID)
	}
	time.Sleep(time.Minute)
	syncRows(f, 12)
	time.Sleep(10 * time.Second)
	f.RequireBalance(ids...)
	for f.Total(func(s fleettest.Shard) int { return len(s.Rewound) }) > 0 {
		time.Sleep(time.Second) // until every record is processed that was before
	}
	f.Reset()
	time.Sleep(time.Minute)
	require.Zero(t, f.Moves())
	require.Zero(t, f.Repeats())
	require.Less(t, f.LongestGap(), time.Second)
}

// syncRows makes the missing rows as the shard sync does: at the beginning of the shard. It waits
// until a holder has had time to make its row again.
func syncRows(f *fleettest.Fleet, leaseCount int) {
	for i := range leaseCount {
		key := fmt.Sprintf("shardId-%012d", i)
		switch _, err := f.Store.Get(f.T.Context(), key); {
		case err == nil:
			delete(f.Erased, key)
		case errors.Is(err, leases.ErrNotFound) && time.Since(f.Erased[key]) > failover:
			f.Create(key)
			f.Rewind(key, "its row was lost, and made again from the beginning")
		}
	}
}

// TestTrustWindow kills an idle owner right after a renewal, and checks that
// the lease is taken neither too early nor too late.
func TestTrustWindow(t *testing.T) {
	for i := range testsize.Pick(4, 20, 20) {
		at := time.Duration(i*testsize.Pick(150, 30, 30)) * time.Millisecond // after a renewal
		synctest.Test(t, func(t *testing.T) {
			idle := func(c *coordinator.Config) {
				c.Consume = func(ctx context.Context, h *holder.Holder) {
					select {
					case <-h.Stopping():
					case <-ctx.Done():
					}
				}
			}
			f := fleettest.New(t, 1)
			a := f.Start("a", idle)
			time.Sleep(time.Second)
			f.Start("b", idle)
			time.Sleep(testsize.Pick(5*time.Minute, 10*time.Minute, time.Hour))
			require.Equal(t, map[string]int{"a": 1}, f.Load(), "renewals alone keep it")
			row := f.Row(first)
			for f.Row(first).Counter == row.Counter {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(at)
			a.Kill()
			begun := time.Now().Add(-at)
			for f.Row(first).Owner == "a" {
				time.Sleep(time.Millisecond)
			}
			require.Greater(t, time.Since(begun), 10490*time.Millisecond)
			require.Less(t, time.Since(begun), failover)
		})
	}
}
