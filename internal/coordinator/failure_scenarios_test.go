package coordinator_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

// L-11: writes fail before or after they took effect. Once the table answers again, the worker's
// view of its rows is that of the table.
func TestL11MemoryAgreesWithTheTable(t *testing.T) {
	for seed := range testsize.Pick[uint64](3, 10, 10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.New(t, 6)
				var mu sync.Mutex
				rng := rand.New(rand.NewPCG(seed, 11))
				fault := func(_ context.Context, call leasefault.Call, apply func() error) error {
					mu.Lock()
					dice := rng.IntN(10)
					mu.Unlock()
					switch {
					case dice == 0:
						return errStore // nothing took effect
					case dice == 1 && call.Op != "list" && call.Op != "get":
						_ = apply()
						return errStore // it did, but nobody is told
					}
					return apply()
				}
				a, b := f.Start("a"), f.Start("b")
				for range 20 {
					a.Faults.SetFault(fault)
					b.Faults.SetFault(fault)
					time.Sleep(7 * time.Second)
					a.Faults.SetFault(nil)
					b.Faults.SetFault(nil)
					time.Sleep(5 * time.Second)
					synctest.Wait()
					l, err := f.Store.List(t.Context())
					require.NoError(t, err)
					for _, row := range l.Leases {
						for _, w := range []*fleettest.Worker{a, b} {
							known, ok := w.Coordinator.Lookup(row.Key)
							require.True(t, ok)
							if row.Owner == w.ID && row.CheckpointOwner == "" {
								require.Equal(t, row, known, "%s knows its own row as it is", w.ID)
							}
						}
					}
				}
				require.Zero(t, f.Repeats())
			})
		})
	}
}

// L-15: half of the fleet reaches the table, and workers that start do not. The running workers are
// not disturbed. The new ones begin once they reach the table.
func TestL15OnlyNewWorkersCannotReachTheTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 8)
		f.Start("a")
		f.Start("b")
		time.Sleep(30 * time.Second)
		f.Reset()
		late := f.Prepare("c")
		late.Faults.SetFault(leasefault.Failing(errStore))
		late.Run()
		time.Sleep(testsize.Pick(6*time.Minute, 20*time.Minute, time.Hour))
		require.Zero(t, f.Moves())
		f.RequireBalance("a", "b")
		require.ErrorIs(t, late.Coordinator.Err(), errStore)
		late.Faults.SetFault(nil)
		time.Sleep(30 * time.Second)
		f.RequireBalance("a", "b", "c")
		require.Zero(t, f.Repeats())
	})
}

// L-26: a worker that has left gracefully gets no lease any more. The others have all of its leases
// within a scan.
func TestL26NoGhostWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 12)
		f.Start("a")
		f.Start("b")
		c := f.Start("c")
		time.Sleep(time.Minute)
		f.RequireBalance("a", "b", "c")
		c.Stop()
		require.NoError(t, c.Err)
		for _, row := range mustList(t, f.Store) {
			require.NotEqual(t, "c", row.ActualOwner(), "what it leaves it leaves free")
		}
		time.Sleep(4 * time.Second) // a scan, and the moment it takes
		f.RequireBalance("a", "b")
		time.Sleep(10 * time.Minute)
		for _, row := range mustList(t, f.Store) {
			require.NotEqual(t, "c", row.Owner)
		}
		require.Zero(t, f.Repeats())
	})
}

// L-27: when MaxLeasesForWorker leaves shards unread, a warning says so. Finished leases do not
// count.
func TestL27CapThatLeavesShardsUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 6)
		var log fleettest.Log
		f.Log = slog.New(slog.NewTextHandler(&log, nil))
		for _, row := range mustList(t, f.Store)[:2] {
			finish(f, row)
		}
		f.Start("a", maxLeases(2))
		f.Start("b", maxLeases(2))
		time.Sleep(time.Minute)
		require.NotContains(t, log.String(), "left unread", "four leases of two workers with two each")
		f.Create("shardId-000000000099")
		time.Sleep(30 * time.Second)
		require.Contains(t, log.String(), "left unread")
	})
}

// L-28: half of the workers are of an older library that does not know this library's attributes.
// For a day no shard stands still, and no lease moves to and fro.
func TestL28MixedFleetForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := testsize.Pick(3*time.Hour, 8*time.Hour, 24*time.Hour)
		f := fleettest.New(t, 4)
		f.Period = 30 * time.Second
		asked := f.HoldAsOtherLibrary("old", 2, day)
		f.Start("a")
		f.Start("b")
		time.Sleep(time.Minute)
		f.Reset()
		time.Sleep(day - time.Hour)
		require.Zero(t, f.Moves())
		require.Zero(t, asked.Load(), "a worker that cannot hand over is not asked to")
		require.Less(t, f.LongestGap("a", "b"), time.Minute)
		time.Sleep(time.Hour) // the old worker is gone
		f.RequireBalance("a", "b")
	})
}

// L-29: the write that releases a lease fails, before or after it took effect.
// Another worker has the shard within the failover time and two scans.
func TestL29ReleaseThatFails(t *testing.T) {
	for name, tt := range map[string]struct{ applied, once bool }{
		"refused":             {},
		"refused once":        {once: true},
		"answer is lost":      {applied: true},
		"answer is lost once": {applied: true, once: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.New(t, 4)
				a := f.Start("a")
				f.Start("b")
				time.Sleep(30 * time.Second)
				f.RequireBalance("a", "b")
				var mu sync.Mutex
				failed := map[string]bool{}
				a.Faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
					if call.Op != "update" || call.Update.To.Owner != "" {
						return apply()
					}
					mu.Lock()
					again := failed[call.Key]
					failed[call.Key] = true
					mu.Unlock()
					if tt.once && again {
						return apply()
					}
					if tt.applied {
						_ = apply()
					}
					return errStore
				})
				a.Stop()
				require.NotEmpty(t, failed)
				f.Reset()
				time.Sleep(15500 * time.Millisecond)
				f.RequireBalance("b")
				require.Zero(t, f.Repeats())
				require.Less(t, f.LongestGap(), 17500*time.Millisecond)
			})
		})
	}
}
