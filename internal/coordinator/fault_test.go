package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

var errStore = errors.New("the store is not well")

func TestL04FrozenWorkerCannotRewind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		key := "shardId-000000000000"
		a := f.Start("a")
		time.Sleep(time.Minute)
		// What a sends is held back in the network, and arrives much later.
		thaw := make(chan struct{})
		late := make(chan error, 1000)
		a.Faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "update" {
				go func() { <-thaw; late <- apply() }()
			}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		time.Sleep(5 * time.Second)
		f.Start("b")
		time.Sleep(30 * time.Second)
		before, err := f.Store.Get(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, "b", before.Owner)
		close(thaw)
		synctest.Wait()
		require.NotEmpty(t, late)
		for range len(late) {
			var conflict *leases.ConflictError
			require.ErrorAs(t, <-late, &conflict)
		}
		after, err := f.Store.Get(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, before, after)
		require.Equal(t, 1, f.Moves())
	})
}

// lossy loses the answer of each write with probability p.
func lossy(p float64, seed uint64) leasefault.Fault {
	rng := rand.New(rand.NewPCG(seed, 1)) // calls of one worker may race for it
	slot := make(chan struct{}, 1)
	roll := func() bool {
		slot <- struct{}{}
		defer func() { <-slot }()
		return rng.Float64() < p
	}
	return func(_ context.Context, call leasefault.Call, apply func() error) error {
		err := apply()
		if call.Op == "update" && roll() {
			return errStore
		}
		return err
	}
}

func TestL10LostAnswers(t *testing.T) {
	for _, p := range []float64{0.05, 0.2} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.New(t, 8)
				a, b := f.Prepare("a"), f.Prepare("b")
				a.Faults.SetFault(lossy(p, 1))
				b.Faults.SetFault(lossy(p, 2))
				a.Run()
				time.Sleep(10 * time.Second)
				b.Run() // takes, is handed over to, ...
				time.Sleep(20 * time.Second)
				f.RequireBalance("a", "b")
				f.Reset()
				time.Sleep(testsize.Pick(4*time.Minute, 10*time.Minute, 10*time.Minute)) // ... renews and checkpoints
				f.RequireBalance("a", "b")
				require.Zero(t, f.Moves(), "no lease is lost to oneself")
				require.Zero(t, f.Repeats())
				b.Stop() // ... releases
				require.NoError(t, b.Err)
				time.Sleep(10 * time.Second)
				f.RequireBalance("a")
				require.Zero(t, f.Repeats())
			})
		})
	}
}

func TestL10EveryAnswerOfOneMomentIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 4)
		a := f.Start("a")
		time.Sleep(10 * time.Second)
		for i := range 50 {
			a.Faults.SetFault(leasefault.Lossy(errStore))
			time.Sleep(time.Duration(i) * 150 * time.Millisecond)
			a.Faults.SetFault(nil)
			time.Sleep(5 * time.Second)
		}
		require.Zero(t, f.Repeats())
		require.Less(t, f.LongestGap(), 10*time.Second)
		f.RequireBalance("a")
	})
}

func TestL09WallClockJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		var offset atomic.Int64
		a := f.Prepare("a", func(c *coordinator.Config) {
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				time.Sleep(time.Second) // between two renewals
				require.True(t, h.Valid())
				offset.Add(int64(-10 * time.Minute)) // set back: nothing happens
				require.True(t, h.Valid())
				offset.Add(int64(20 * time.Minute)) // the machine was suspended
				require.False(t, h.Valid())
				require.ErrorIs(t, context.Cause(ctx), kcl.ErrLeaseLost)
				require.ErrorIs(t, h.Checkpoint(context.Background(), number(1)), kcl.ErrLeaseLost)
				offset.Add(int64(-10 * time.Minute))
				require.False(t, h.Valid(), "a lost lease stays lost")
				<-h.Stopping()
			}
		})
		a.Coordinator.SetWallClock(func() time.Duration { return time.Duration(offset.Load()) })
		a.Run()
		time.Sleep(1500 * time.Millisecond)
		a.Stop()
	})
}

func TestL09WallClockSetBackNeverLengthensALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		var offset atomic.Int64
		lost := make(chan time.Duration, 1)
		a := f.Prepare("a", func(c *coordinator.Config) {
			begun := time.Now()
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				offset.Store(int64(-time.Hour))
				<-ctx.Done()
				lost <- time.Since(begun)
			}
		})
		a.Coordinator.SetWallClock(func() time.Duration { return time.Duration(offset.Load()) })
		a.Faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "update" && call.Update.Read.Counter > 0 {
				return errStore
			}
			return apply()
		})
		a.Run()
		require.LessOrEqual(t, <-lost, 9500*time.Millisecond)
		a.Stop()
	})
}

func TestL12ThrottledStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 20)
		f.Period = 5 * time.Second
		var writes atomic.Int64
		throttled := func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "update" {
				writes.Add(1)
				if rand.Float64() < 0.3 {
					return errStore
				}
			}
			return apply()
		}
		a, b := f.Prepare("a"), f.Prepare("b")
		a.Run()
		b.Run()
		time.Sleep(time.Minute)
		f.Reset()
		count := func(fault leasefault.Fault) int64 {
			a.Faults.SetFault(fault)
			b.Faults.SetFault(fault)
			writes.Store(0)
			time.Sleep(5 * time.Minute)
			return writes.Load()
		}
		normal := count(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "update" {
				writes.Add(1)
			}
			return apply()
		})
		require.LessOrEqual(t, count(throttled), normal*3/2)
		require.Zero(t, f.Moves())
		require.Zero(t, f.Repeats())
	})
}

func TestL13SlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, testsize.Pick(60, 300, 500))
		f.Period = 20 * time.Second
		f.Start("a").Faults.SetFault(leasefault.Slow(3 * time.Second))
		time.Sleep(3 * time.Minute)
		f.RequireBalance("a")
		f.Reset()
		time.Sleep(testsize.Pick(4*time.Minute, 10*time.Minute, 10*time.Minute))
		require.Zero(t, f.Repeats())
		require.LessOrEqual(t, f.LongestGap(), 40*time.Second)
		f.Workers["a"].Faults.SetFault(nil)
	})
}

func TestL14Outage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 12)
		f.Start("a")
		f.Start("b")
		time.Sleep(time.Minute)
		f.RequireBalance("a", "b")
		f.Reset()
		for _, w := range f.Workers {
			w.Faults.SetFault(leasefault.Failing(errStore))
		}
		time.Sleep(10 * time.Second)
		stopped := f.Total(func(s fleettest.Shard) int { return s.Done })
		require.ErrorIs(t, f.Workers["a"].Coordinator.Err(), errStore)
		time.Sleep(3 * time.Hour)
		require.Equal(t, stopped, f.Total(func(s fleettest.Shard) int { return s.Done }),
			"nothing is delivered without a lease")
		for _, w := range f.Workers {
			w.Faults.SetFault(nil)
		}
		begun := time.Now()
		time.Sleep(15 * time.Second)
		f.RequireBalance("a", "b")
		require.NoError(t, f.Workers["a"].Coordinator.Err())
		require.Zero(t, f.Moves(), "each goes on with its own")
		require.LessOrEqual(t, f.Repeats(), 12, "one record each, whose checkpoint did not get through")
		for key, s := range f.Shards() {
			require.True(t, s.At.After(begun), key)
		}
	})
}

func TestL16TableDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 3)
		a := f.Start("a")
		time.Sleep(time.Minute)
		f.TableFaults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "init" {
				f.TableFaults.SetFault(nil) // the table is made again
				return apply()
			}
			return leases.ErrTableNotFound
		})
		time.Sleep(15 * time.Second)
		require.ErrorIs(t, a.Coordinator.Err(), leases.ErrTableNotFound)
		before := f.Total(func(s fleettest.Shard) int { return s.Done })
		time.Sleep(time.Hour)
		require.Equal(t, before, f.Total(func(s fleettest.Shard) int { return s.Done }))
		_, err := f.Store.List(t.Context())
		require.ErrorIs(t, err, leases.ErrTableNotFound, "nobody made it again")
		a.Stop()
		require.NoError(t, a.Err)
	})
}

func TestL18PoisonedRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 6)
		f.Start("a")
		f.Start("b")
		time.Sleep(time.Minute)
		f.Reset()
		f.TableFaults.SetRowError("shardId-000000000000", errors.New("leaseCounter is a text"))
		f.TableFaults.SetRowError("something else", errors.New("entityType is WORKER"))
		time.Sleep(time.Minute)
		f.TableFaults.SetRowError("something else", nil)
		for key, s := range f.Shards() {
			if key != "shardId-000000000000" {
				require.Less(t, s.Gap, time.Second, key)
				require.Zero(t, s.Moves, key)
			}
		}
		f.TableFaults.SetRowError("shardId-000000000000", nil) // repaired
		time.Sleep(failover)
		require.Less(t, time.Since(f.Shards()["shardId-000000000000"].At), time.Second)
	})
}

func TestStaleListings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 12)
		f.TableFaults.SetListLag(1500 * time.Millisecond)
		f.Start("a")
		f.Start("b")
		c := f.Start("c")
		time.Sleep(time.Minute)
		f.RequireBalance("a", "b", "c")
		f.Reset()
		time.Sleep(testsize.Pick(4*time.Minute, 10*time.Minute, time.Hour))
		require.Zero(t, f.Moves())
		c.Kill()
		time.Sleep(failover + 1500*time.Millisecond)
		f.RequireBalance("a", "b")
		require.LessOrEqual(t, f.LongestGap(), failover+1500*time.Millisecond)
	})
}

// TestL07OneConsumerPerLease lets renewals fail for a long time, while the consumer is slow to
// notice.
func TestL07OneConsumerPerLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		var running, most, started atomic.Int64
		a := f.Prepare("a", func(c *coordinator.Config) {
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				if h.Lease().Key != "shardId-000000000000" {
					<-h.Stopping()
					return
				}
				started.Add(1)
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				select {
				case <-ctx.Done():
					time.Sleep(25 * time.Second) // is in the middle of something
				case <-h.Stopping():
				}
			}
		})
		a.Run()
		time.Sleep(5 * time.Second)
		for range 10 {
			a.Faults.SetFault(leasefault.Failing(errStore))
			time.Sleep(20 * time.Second)
			a.Faults.SetFault(nil)
			time.Sleep(40 * time.Second)
		}
		require.EqualValues(t, 1, most.Load())
		require.EqualValues(t, 11, started.Load())
		a.Stop()
	})
}

func TestL06BlockedProcessorKeepsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 4)
		block := func(c *coordinator.Config) {
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				for n := 1; ; n++ {
					time.Sleep(100 * time.Second) // ten lease periods
					require.True(t, h.Valid())
					require.NoError(t, h.Checkpoint(ctx, number(n)))
					select {
					case <-h.Stopping():
						return
					default:
					}
				}
			}
		}
		noPatience := func(c *coordinator.Config) { c.ShutdownTimeout = 5 * time.Minute }
		f.Start("a", block, noPatience)
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a": 4}, f.Load())
		time.Sleep(time.Hour)
		require.Equal(t, map[string]int{"a": 4}, f.Load())
	})
}
