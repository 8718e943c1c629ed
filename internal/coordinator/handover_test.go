package coordinator_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
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

// takesLong is a consumer that needs d to finish when it is asked to, and then checkpoints.
func takesLong(d time.Duration, result chan<- error) func(*coordinator.Config) {
	return func(c *coordinator.Config) {
		c.Consume = func(ctx context.Context, h *holder.Holder) {
			select {
			case <-ctx.Done():
				return
			case <-h.Stopping():
			}
			time.Sleep(d)
			result <- h.Checkpoint(ctx, number(4711))
		}
	}
}

func TestHandOverWaitsForTheFinalCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		result := make(chan error, 10)
		f.Start("a", takesLong(22*time.Second, result))
		time.Sleep(10 * time.Second)
		got := make(chan leases.Lease, 2)
		f.Start("b", func(c *coordinator.Config) {
			c.Consume = func(_ context.Context, h *holder.Holder) {
				got <- h.Lease()
				<-h.Stopping()
			}
		})
		time.Sleep(5 * time.Second)
		l, err := f.Store.List(t.Context())
		require.NoError(t, err)
		asked := 0
		for _, row := range l.Leases {
			if row.CheckpointOwner != "" {
				require.Equal(t, "a", row.CheckpointOwner)
				require.Equal(t, "b", row.Owner)
				asked++
			}
		}
		require.Equal(t, 1, asked)
		require.Empty(t, got, "the next owner waits")
		time.Sleep(25 * time.Second)
		require.NoError(t, <-result)
		require.Equal(t, number(4711), (<-got).Checkpoint)
		require.Empty(t, got)
		f.RequireBalance("a", "b")
	})
}

// The row of a completed hand-over names the next owner alone. Its log line names the former owner.
func TestHandOverLogsTheFormerOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		f.Start("a")
		time.Sleep(10 * time.Second)
		var log fleettest.Log
		f.Log = slog.New(slog.NewTextHandler(&log, nil))
		f.Start("b")
		time.Sleep(20 * time.Second)
		f.RequireBalance("a", "b")
		require.Contains(t, log.String(), "reason=handover former_owner=a ")
	})
}

func TestHandOverIsForcedAfterTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		stuck := make(chan struct{})
		causes := make(chan error, 10)
		a := f.Start("a", func(c *coordinator.Config) {
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				<-h.Stopping()
				<-ctx.Done()
				causes <- context.Cause(ctx)
				<-stuck // does not care
			}
		})
		time.Sleep(10 * time.Second)
		b := f.Start("b")
		time.Sleep(31*time.Second + 10*time.Second)
		require.ErrorIs(t, <-causes, kcl.ErrShutdownTimeout)
		f.RequireBalance("a", "b")
		// The stuck one still counts: the worker that has it must not read the
		// shard again, though it is the only one left.
		b.Stop()
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a": 1, "": 1}, f.Load())
		close(stuck)
		time.Sleep(5 * time.Second)
		require.Equal(t, map[string]int{"a": 2}, f.Load())
		a.Stop()
	})
}

// TestL22HandOverWithDeaths kills the worker that asks, the one that is asked,
// or both, at each moment of a hand-over.
func TestL22HandOverWithDeaths(t *testing.T) {
	step := testsize.Pick(750*time.Millisecond, 250*time.Millisecond, 250*time.Millisecond)
	for _, victims := range [][]string{{"a"}, {"b"}, {"a", "b"}} {
		for after := time.Duration(0); after < 9*time.Second; after += step {
			t.Run(fmt.Sprintf("%v after %v", victims, after), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := fleettest.New(t, 4)
					f.Start("a")
					time.Sleep(20 * time.Second)
					f.Start("b")
					time.Sleep(after)
					for _, v := range victims {
						f.Workers[v].Kill()
					}
					f.Reset()
					killed := time.Now()
					if len(victims) == 2 {
						f.Start("c")
					}
					time.Sleep(failover + 2500*time.Millisecond) // a scan more where the owner stands still twice
					l, err := f.Store.List(t.Context())
					require.NoError(t, err)
					for _, row := range l.Leases {
						require.NotContains(t, victims, row.Owner)
						require.Empty(t, row.CheckpointOwner)
					}
					for key, s := range f.Shards() {
						require.LessOrEqual(t, s.Gap, failover+2500*time.Millisecond, key)
						require.Greater(t, s.At, killed.Add(5*time.Second), key)
					}
				})
			})
		}
	}
}

func TestHandOverIsTakenBackWhenTheAskerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		result := make(chan error, 10)
		f.Start("a", takesLong(20*time.Second, result))
		time.Sleep(10 * time.Second)
		b := f.Start("b")
		time.Sleep(5 * time.Second)
		b.Stop()
		require.Equal(t, map[string]int{"a": 2}, f.Load())
		time.Sleep(30 * time.Second)
		require.NoError(t, <-result)
		require.Equal(t, map[string]int{"a": 2}, f.Load())
	})
}

func TestForeignOwnerIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 4)
		java := f.HoldAsOtherLibrary("java", 4, 10*time.Minute)
		f.Start("a")
		time.Sleep(time.Minute)
		load := f.Load()
		require.Equal(t, map[string]int{"java": 2, "a": 2}, load)
		require.Zero(t, java.Load(), "no hand-over was begun")
		time.Sleep(10 * time.Minute) // it dies
		f.RequireBalance("a")
	})
}

func TestL23StopAtAnyMoment(t *testing.T) {
	for seed := range testsize.Pick[uint64](24, 80, 150) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 23))
			f := fleettest.New(t, 10)
			a := f.Prepare("a")
			f.Start("b")
			if seed%3 == 0 {
				a.Faults.SetFault(leasefault.Slow(time.Duration(rng.Int64N(int64(time.Second)))))
			}
			time.Sleep(time.Duration(rng.Int64N(int64(3 * time.Second))))
			a.Run()
			time.Sleep(time.Duration(rng.Int64N(int64(8 * time.Second))))
			begun := time.Now()
			a.Stop()
			require.NoError(t, a.Err)
			require.Less(t, time.Since(begun), 8*time.Second, "seed %d", seed)
			l, err := f.Store.List(t.Context())
			require.NoError(t, err)
			for _, row := range l.Leases {
				require.NotEqual(t, "a", row.Owner, "seed %d: %s", seed, row.Key)
				require.NotEqual(t, "a", row.CheckpointOwner, "seed %d: %s", seed, row.Key)
			}
			time.Sleep(10 * time.Second)
			f.RequireBalance("b")
		})
	}
}

func TestStopDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 10)
		a := f.Start("a")
		time.Sleep(10 * time.Second)
		a.Faults.SetFault(leasefault.Silent)
		begun := time.Now()
		a.Stop()
		require.NoError(t, a.Err)
		require.LessOrEqual(t, time.Since(begun), 31*time.Second)
	})
}

func TestAbandonedConsumerIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 3)
		stuck := make(chan struct{})
		a := f.Start("a", func(c *coordinator.Config) {
			c.ShutdownTimeout = 5 * time.Second
			c.Consume = func(_ context.Context, h *holder.Holder) {
				<-h.Stopping()
				if h.Lease().Key == first {
					<-stuck
					require.ErrorIs(t, h.Checkpoint(context.Background(), number(1)), kcl.ErrLeaseLost)
					require.False(t, h.Valid())
				}
			}
		})
		time.Sleep(10 * time.Second)
		begun := time.Now()
		a.Stop()
		require.Equal(t, 6*time.Second, time.Since(begun))
		var abandoned *leases.AbandonedError
		require.ErrorAs(t, a.Err, &abandoned)
		require.Equal(t, []string{first}, abandoned.Keys)
		require.Contains(t, abandoned.Error(), first)
		require.Equal(t, map[string]int{"": 2, "a": 1}, f.Load(), "it expires instead")
		close(stuck)
		synctest.Wait()
	})
}

func TestConsumerThatGivesUpRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		starts := 0
		f.Start("a", func(c *coordinator.Config) {
			c.Consume = func(context.Context, *holder.Holder) { starts++ }
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Greater(t, starts, 5)
		require.Less(t, starts, 30)
	})
}

func TestFinishedShardIsNotReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		starts := 0
		a := f.Start("a", func(c *coordinator.Config) {
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				starts++
				require.NoError(t, h.SetChildren(ctx, []string{"x", "y"}))
				require.NoError(t, h.Checkpoint(ctx, shardEnd))
			}
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, starts)
		row, err := f.Store.Get(t.Context(), first)
		require.NoError(t, err)
		require.True(t, row.Finished())
		require.Equal(t, []string{"x", "y"}, row.Children)
		seen, ok := a.Coordinator.Lookup(first)
		require.True(t, ok)
		require.True(t, seen.Finished())
		require.Equal(t, []leases.Lease{seen}, a.Coordinator.Leases())
	})
}

// L-22: a worker of KCL 2.x, which does not know hand-overs, can leave a row with a CheckpointOwner
// and without an owner. When CheckpointOwner has gone, the lease is free all the same.
func TestL22HandOverToNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		row := mustList(t, f.Store)[0]
		to := row
		to.CheckpointOwner = "gone"
		require.NoError(t, f.Store.Update(t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrCheckpointOwner}))
		f.Start("a")
		time.Sleep(17500 * time.Millisecond)
		f.RequireBalance("a")
		require.Empty(t, mustList(t, f.Store)[0].CheckpointOwner)
	})
}

// TestE10TakenLeaseIsNoticedByTheScan shows that a scan tells the former owner of a lease taken by
// force. Until the next renewal the former owner would subscribe again and again.
func TestE10TakenLeaseIsNoticedByTheScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		lost := make(chan error, 1)
		f.Start("a", func(c *coordinator.Config) {
			c.FailoverTime, c.ScanInterval = time.Minute, 2*time.Second
			c.Consume = func(ctx context.Context, _ *holder.Holder) {
				<-ctx.Done()
				lost <- context.Cause(ctx)
			}
		})
		time.Sleep(time.Minute)
		for f.Row(first).Owner != "a" || len(lost) > 0 {
			time.Sleep(time.Second)
		}
		for counter := f.Row(first).Counter; f.Row(first).Counter == counter; {
			time.Sleep(100 * time.Millisecond) // until it has just been renewed: the next is due in 18 s at least
		}
		f.Edit(first, func(l *leases.Lease) { l.Owner = "another"; l.Counter++ })
		time.Sleep(5 * time.Second) // two scans: the first may have begun before
		require.Len(t, lost, 1)
		require.ErrorIs(t, <-lost, kcl.ErrLeaseLost)
	})
}
