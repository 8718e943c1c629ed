package coordinator_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
)

// A listing may show a renewal that was written before this worker's request, and lack the request.
// The request still counts as one of the worker's leases.
//
//	x has 6 leases    renews all, finishes 2
//	y has 5 leases
//	w may have 1                                 asks x for 1
//	                  first listing shows:       second listing shows:
//	                  6 and 5                    x has 4, all renewed, none asked for
func TestRequestThatAListingLacksCounts(t *testing.T) {
	t.Parallel()
	const lag = time.Second
	for _, after := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.New(t, 0)
				for i := range 11 {
					f.CreateFor([]string{"x", "y"}[i/6], fmt.Sprintf("shardId-%012d", i))
				}
				time.Sleep(10 * time.Second)
				f.TableFaults.SetListLag(lag)
				time.AfterFunc(after-lag+time.Minute, func() {
					for _, l := range mustList(t, f.Store) {
						to := l
						to.Counter++
						if l.Key == "shardId-000000000004" || l.Key == "shardId-000000000005" {
							to.Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}
						}
						set := leases.AttrCounter | leases.AttrCheckpoint
						require.NoError(t, f.Store.Update(t.Context(), leases.Update{Read: l, To: to, Set: set}))
					}
				})
				time.Sleep(time.Minute)
				w := f.Start("w", maxLeases(1))
				for range 60 {
					time.Sleep(50 * time.Millisecond)
					w.Coordinator.Nudge()
					require.LessOrEqual(t, rowsOf(f, "w"), 1)
				}
				require.Equal(t, 1, rowsOf(f, "w"))
			})
		})
	}
}

func rowsOf(f *fleettest.Fleet, owner string) (n int) {
	listing, err := f.Store.ListNow(f.T.Context())
	require.NoError(f.T, err)
	for _, l := range listing.Leases {
		if l.Owner == owner {
			n++
		}
	}
	return n
}

// The leader's assignments count from when they are written, whatever its next listings show.
func TestAssignmentsThatAListingLacksCount(t *testing.T) {
	eachSeed(t, testsize.Pick[uint64](1, 3, 50), func(t *testing.T, rng *rand.Rand) {
		const most = 3
		f := fleettest.NewKCL3(t, 40, func(c *dynamotest.Config) { c.Lag = 1500 * time.Millisecond })
		f.Is3x()
		leader := f.Start("leader", maxLeases(most))
		time.Sleep(time.Minute)
		for i := range 10 {
			f.Start(fmt.Sprintf("w%d", i), maxLeases(most))
			for range rng.IntN(15) {
				time.Sleep(100 * time.Millisecond)
				leader.Coordinator.Nudge()
				for id, n := range f.Load() {
					require.True(t, id == "" || n <= most, "%s has %d leases", id, n)
				}
			}
		}
		time.Sleep(20 * time.Second)
		for i := range 10 {
			require.Equal(t, most, f.Load()[fmt.Sprintf("w%d", i)])
		}
	})
}
