package holder_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

// held runs test as the consumer of the one lease of worker a, and then stops.
func held(t *testing.T, test func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder)) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		done := make(chan struct{})
		var once atomic.Bool
		var a *fleettest.Worker
		a = f.Prepare("a", func(c *coordinator.Config) {
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				if once.CompareAndSwap(false, true) {
					func() {
						defer close(done)
						test(ctx, f, a, h)
					}()
				}
				select {
				case <-h.Stopping():
				case <-ctx.Done():
				}
			}
		})
		a.Run()
		<-done
		a.Stop()
		require.NoError(t, a.Err)
	})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestCheckpointAndPrepare(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, _ *fleettest.Worker, h *holder.Holder) {
		require.Equal(t, "a", f.Row(first).NativeOwner)
		require.NoError(t, h.Checkpoint(ctx, number(10)))
		require.Equal(t, number(10), f.Row(first).Checkpoint)
		require.NoError(t, h.Prepare(ctx, number(20), []byte("state")))
		require.Equal(t, number(10), f.Row(first).Checkpoint)
		require.Equal(t, number(20), f.Row(first).Pending)
		require.Equal(t, []byte("state"), f.Row(first).PendingState)
		require.Equal(t, f.Row(first), h.Lease())
		before := f.Row(first).Counter
		require.NoError(t, h.Checkpoint(ctx, number(20)))
		require.Equal(t, before+1, f.Row(first).Counter, "one write, one step")
		require.True(t, f.Row(first).Pending.IsZero())
		require.Empty(t, f.Row(first).PendingState)
		require.NoError(t, h.Checkpoint(ctx, number(20)), "the same again is nothing new")
		require.Equal(t, before+1, f.Row(first).Counter)

		for _, bad := range []kcl.ExtendedSequenceNumber{
			number(19), {SequenceNumber: "LATEST"}, {SequenceNumber: "x"}, {}, {SequenceNumber: "21", SubSequenceNumber: -1},
		} {
			require.ErrorIs(t, h.Checkpoint(ctx, bad), kcl.ErrInvalidCheckpoint, bad)
			require.ErrorIs(t, h.Prepare(ctx, bad, nil), kcl.ErrInvalidCheckpoint, bad)
		}
		require.Equal(t, before+1, f.Row(first).Counter)
	})
}

func TestCheckpointEndsWithItsContext(t *testing.T) {
	held(t, func(_ context.Context, _ *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
		enough := errors.New("enough")
		a.Faults.SetFault(leasefault.Silent)
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, enough)
		defer cancel()
		begun := time.Now()
		require.ErrorIs(t, h.Checkpoint(ctx, number(1)), enough)
		require.ErrorIs(t, h.Checkpoint(ctx, number(1)), enough)
		require.Equal(t, time.Second, time.Since(begun))
		a.Faults.SetFault(nil)
		require.NoError(t, h.Checkpoint(context.Background(), number(1)))
	})
}

func TestLeaseIsLostAtTheDeadline(t *testing.T) {
	held(t, func(ctx context.Context, _ *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
		a.Faults.SetFault(leasefault.Failing(errStore))
		begun := time.Now()
		require.ErrorIs(t, h.Checkpoint(ctx, number(1)), kcl.ErrLeaseLost)
		require.Equal(t, 9500*time.Millisecond, time.Since(begun))
		require.ErrorIs(t, context.Cause(ctx), kcl.ErrLeaseLost)
		require.False(t, h.Valid())
		require.False(t, isClosed(h.Stopping()), "lost is not stopped")
		a.Faults.SetFault(nil)
		require.ErrorIs(t, h.Checkpoint(context.Background(), number(1)), kcl.ErrLeaseLost)
	})
}

// TestDeadlineCountsFromSending lets the answer to a renewal take four seconds on its way back.
func TestDeadlineCountsFromSending(t *testing.T) {
	held(t, func(ctx context.Context, _ *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
		a.Faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			err := apply()
			time.Sleep(3 * time.Second)
			return err
		})
		begun := time.Now()
		require.NoError(t, h.Checkpoint(ctx, number(1)))
		require.Equal(t, 3*time.Second, time.Since(begun))
		a.Faults.SetFault(leasefault.Silent)
		<-ctx.Done()
		require.Equal(t, 9500*time.Millisecond, time.Since(begun))
	})
}

func TestHandOverBegunIsNotALoss(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, _ *fleettest.Worker, h *holder.Holder) {
		f.Edit(first, func(l *leases.Lease) { l.Owner, l.CheckpointOwner = "b", "a" })
		require.False(t, isClosed(h.Stopping()))
		require.NoError(t, h.Checkpoint(ctx, number(1)))
		require.True(t, isClosed(h.Stopping()))
		require.True(t, h.Valid())
		require.Equal(t, "b", f.Row(first).Owner)
		require.Equal(t, "a", f.Row(first).CheckpointOwner)
		f.Edit(first, func(l *leases.Lease) { l.Owner = "c" }) // another one gets it
		require.NoError(t, h.Checkpoint(ctx, number(2)))
		f.T.Cleanup(func() { // after the consumer has returned
			require.Equal(t, "c", f.Row(first).Owner)
			require.Empty(t, f.Row(first).CheckpointOwner)
			require.Equal(t, number(2), f.Row(first).Checkpoint)
		})
	})
}

func TestHandOverTakenBack(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, _ *fleettest.Worker, h *holder.Holder) {
		f.Edit(first, func(l *leases.Lease) { l.Owner, l.CheckpointOwner = "b", "a" })
		require.NoError(t, h.Checkpoint(ctx, number(1)))
		f.Edit(first, func(l *leases.Lease) { l.Owner, l.CheckpointOwner = "a", "" })
		require.NoError(t, h.Checkpoint(ctx, number(2)))
		require.Equal(t, number(2), f.Row(first).Checkpoint)
		f.T.Cleanup(func() { require.Empty(t, f.Row(first).Owner) })
	})
}

func TestHandOverToOneselfIsALoss(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, _ *fleettest.Worker, h *holder.Holder) {
		f.Edit(first, func(l *leases.Lease) { l.CheckpointOwner = "a" })
		require.ErrorIs(t, h.Checkpoint(ctx, number(1)), kcl.ErrLeaseLost)
	})
}

func TestTakenLeaseIsLost(t *testing.T) {
	for name, change := range map[string]func(*leases.Lease){
		"taken":                   func(l *leases.Lease) { l.Owner = "b"; l.Counter++ },
		"taken without a counter": func(l *leases.Lease) { l.Owner = "b" },
		"evicted":                 func(l *leases.Lease) { l.Owner = ""; l.Counter++ },
		"written under my name":   func(l *leases.Lease) { l.Counter++; l.Checkpoint = number(99) },
		"counter moved on":        func(l *leases.Lease) { l.Counter += 2 },
		"handed over and taken":   func(l *leases.Lease) { l.Owner, l.CheckpointOwner = "c", "b" },
	} {
		t.Run(name, func(t *testing.T) {
			held(t, func(ctx context.Context, f *fleettest.Fleet, _ *fleettest.Worker, h *holder.Holder) {
				f.Edit(first, change)
				before := f.Row(first)
				require.ErrorIs(t, h.Checkpoint(ctx, number(1)), kcl.ErrLeaseLost)
				require.ErrorIs(t, context.Cause(ctx), kcl.ErrLeaseLost)
				require.Equal(t, before, f.Row(first))
			})
		})
	}
}

// TestL10LookAlike loses an answer. Then another writer makes the same step of the counter in the
// name of this worker.
func TestL10LookAlike(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
		require.NoError(t, h.Checkpoint(ctx, number(1)))
		a.Faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op != "update" {
				return apply()
			}
			f.Edit(first, func(l *leases.Lease) { l.Counter++; l.Checkpoint = number(50) })
			a.Faults.SetFault(nil)
			return errStore
		})
		require.ErrorIs(t, h.Checkpoint(ctx, number(2)), kcl.ErrLeaseLost)
		require.Equal(t, number(50), f.Row(first).Checkpoint)
	})
}

// giveUpLateCheckpoint gives up a checkpoint at 7 while its write is under way. The write takes
// effect.
func giveUpLateCheckpoint(ctx context.Context, t *testing.T, a *fleettest.Worker, h *holder.Holder) {
	t.Helper()
	a.Faults.SetFault(func(ctx context.Context, _ leasefault.Call, apply func() error) error {
		<-ctx.Done()
		a.Faults.SetFault(nil)
		require.NoError(t, apply())
		return context.Cause(ctx)
	})
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	require.ErrorIs(t, h.Checkpoint(short, number(7)), context.DeadlineExceeded)
}

// TestL10LateCheckpointIsFoundByTheRenewal gives up a checkpoint while its write is under way. The
// write takes effect, and the next write notices that.
func TestL10LateCheckpointIsFoundByTheRenewal(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
		giveUpLateCheckpoint(ctx, t, a, h)
		require.Equal(t, number(7), f.Row(first).Checkpoint)
		time.Sleep(5 * time.Second)
		require.True(t, h.Valid())
		require.Equal(t, number(7), h.Lease().Checkpoint)
		require.ErrorIs(t, h.Checkpoint(ctx, number(6)), kcl.ErrInvalidCheckpoint)
	})
}

// TestL10RetriedLateCheckpoint does the same, but the caller tries again with an earlier position
// before the holder knows.
func TestL10RetriedLateCheckpoint(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
		giveUpLateCheckpoint(ctx, t, a, h)
		require.NoError(t, h.Checkpoint(ctx, number(6)))
		require.Equal(t, number(7), f.Row(first).Checkpoint, "the checkpoint does not go back")
	})
}

// TestL10HandOverDuringALostAnswer lets a lease be asked for after a write of its owner whose
// answer was lost. The KCL gives up the lease then.
func TestL10HandOverDuringALostAnswer(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
		a.Faults.SetFault(func(_ context.Context, _ leasefault.Call, apply func() error) error {
			a.Faults.SetFault(nil)
			require.NoError(t, apply())
			f.Edit(first, func(l *leases.Lease) { l.Owner, l.CheckpointOwner = "b", "a" })
			return errStore
		})
		require.NoError(t, h.Checkpoint(ctx, number(7)))
		require.True(t, isClosed(h.Stopping()))
		require.NoError(t, h.Checkpoint(ctx, number(8)))
		require.Equal(t, number(8), f.Row(first).Checkpoint)
	})
}

// TestL10EachOperation loses the answer of one kind of write, and lets the
// store's own client send it up to three times.
func TestL10EachOperation(t *testing.T) {
	for _, resend := range []int{0, 1, 3} {
		synctest.Test(t, func(t *testing.T) {
			f := fleettest.New(t, 1)
			lossy := func(_ context.Context, call leasefault.Call, apply func() error) error {
				err := apply()
				if call.Op != "update" {
					return err
				}
				for range resend {
					err = apply() // conflicts with itself
				}
				if resend == 0 {
					return errStore
				}
				return err
			}
			starts := 0
			var a *fleettest.Worker
			a = f.Prepare("a", func(c *coordinator.Config) {
				c.Consume = func(ctx context.Context, h *holder.Holder) {
					starts++
					a.Faults.SetFault(once(a, lossy))
					require.NoError(t, h.Checkpoint(ctx, number(1)))
					a.Faults.SetFault(once(a, lossy))
					require.NoError(t, h.Prepare(ctx, number(2), []byte("x")))
					a.Faults.SetFault(once(a, lossy))
					require.NoError(t, h.SetChildren(ctx, []string{"c"}))
					a.Faults.SetFault(once(a, lossy))
					time.Sleep(10 * time.Second) // renewals
					require.True(t, h.Valid())
					a.Faults.SetFault(once(a, lossy))
					require.NoError(t, h.Checkpoint(ctx, shardEnd))
				}
			})
			a.Faults.SetFault(once(a, lossy)) // the take
			a.Run()
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Equal(t, 1, starts, "resend %d", resend)
			row := f.Row(first)
			require.True(t, row.Finished())
			require.Equal(t, []string{"c"}, row.Children)
		})
	}
}

// once applies a fault to the next write only.
func once(w *fleettest.Worker, fault leasefault.Fault) leasefault.Fault {
	return func(ctx context.Context, call leasefault.Call, apply func() error) error {
		if call.Op == "update" {
			w.Faults.SetFault(nil)
		}
		return fault(ctx, call, apply)
	}
}

// TestL12RefusedCheckpointDoesNotCostTheLease lets a table refuse or swallow checkpoints, and
// accept renewals. A call that gives up returns at once.
func TestL12RefusedCheckpointDoesNotCostTheLease(t *testing.T) {
	for name, fault := range map[string]leasefault.Fault{
		"refused":   leasefault.Failing(errStore),
		"swallowed": leasefault.Silent,
	} {
		t.Run(name, func(t *testing.T) {
			held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
				refuse := func(ctx context.Context, call leasefault.Call, apply func() error) error {
					if call.Op == "update" && call.Update.Set&leases.AttrCheckpoint != 0 {
						return fault(ctx, call, apply)
					}
					return apply()
				}
				a.Faults.SetFault(refuse)
				for _, patience := range []time.Duration{10 * time.Millisecond, 7 * time.Second, time.Hour} {
					begun := time.Now()
					short, cancel := context.WithTimeout(ctx, patience)
					require.ErrorIs(t, h.Checkpoint(short, number(5)), context.DeadlineExceeded)
					cancel()
					require.Equal(t, patience, time.Since(begun))
					require.True(t, h.Valid())
				}
				// Several callers at once do not crowd the renewals out.
				var wg sync.WaitGroup
				for i := range 4 {
					wg.Go(func() {
						short, cancel := context.WithTimeout(ctx, 10*time.Minute)
						defer cancel()
						require.ErrorIs(t, h.Checkpoint(short, number(6+i)), context.DeadlineExceeded)
					})
				}
				wg.Wait()
				require.True(t, h.Valid())
				require.NoError(t, ctx.Err())
				a.Faults.SetFault(nil)
				require.NoError(t, h.Checkpoint(ctx, number(10)))
				require.Equal(t, number(10), f.Row(first).Checkpoint)
			})
		})
	}
}

// TestRenewalAndCheckpointShareAWrite counts the writes of a lease that is
// checkpointed just when it would be renewed, or more often.
func TestRenewalAndCheckpointShareAWrite(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 2990 * time.Millisecond} {
		held(t, func(ctx context.Context, f *fleettest.Fleet, _ *fleettest.Worker, h *holder.Holder) {
			before := f.Row(first).Counter
			for n := range 1000 {
				time.Sleep(every)
				require.NoError(t, h.Checkpoint(ctx, number(n)))
			}
			require.EqualValues(t, 1000, f.Row(first).Counter-before, "every %s", every)
		})
	}
}

// TestThroughputIsWrittenWithRenewals delivers 10 KiB a second, with and without
// checkpoints, and nothing at last.
func TestThroughputIsWrittenWithRenewals(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
		require.Negative(t, f.Row(first).ThroughputKBps)
		time.Sleep(20 * time.Second)
		require.Negative(t, f.Row(first).ThroughputKBps, "nobody measures")
		f.Edit(first, func(l *leases.Lease) { l.ThroughputKBps = 3 })
		var writes, values atomic.Int64
		a.Faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			writes.Add(1)
			if call.Op == "update" && call.Update.Set.Has(leases.AttrThroughput) {
				values.Add(1)
			}
			return apply()
		})
		for range 60 {
			time.Sleep(time.Second)
			h.Delivered(10 << 10)
		}
		require.InDelta(t, 10, f.Row(first).ThroughputKBps, 2)
		require.Less(t, values.Load(), writes.Load(), "scans are among the calls")
		values.Store(0)
		for n := range 60 {
			time.Sleep(time.Second)
			h.Delivered(10 << 10)
			require.NoError(t, h.Checkpoint(ctx, number(n)))
		}
		require.InDelta(t, 10, f.Row(first).ThroughputKBps, 2)
		require.LessOrEqual(t, values.Load(), int64(20), "not with each checkpoint")
		time.Sleep(3 * time.Minute)
		require.Less(t, f.Row(first).ThroughputKBps, 0.001)
	})
}

// A checkpoint at the recorded position writes nothing. It does not delay the renewal, however
// often it is repeated.
func TestCheckpointsThatWriteNothingDoNotPutOffTheRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		var failed atomic.Pointer[error]
		f.Start("a", func(c *coordinator.Config) {
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				for begun := time.Now(); time.Since(begun) < time.Minute; time.Sleep(10 * time.Millisecond) {
					if err := h.Checkpoint(ctx, number(7)); err != nil {
						failed.Store(&err)
						return
					}
				}
			}
		})
		time.Sleep(50 * time.Second)
		require.Nil(t, failed.Load(), "the lease was lost on a healthy table")
	})
}

// A LATEST that is written by hand must not be read from the time of an earlier LATEST. A sync
// writes PinnedAt without the holder's knowledge.
func TestFirstCheckpointRemovesThePin(t *testing.T) {
	t.Parallel()
	held(t, func(ctx context.Context, f *fleettest.Fleet, _ *fleettest.Worker, h *holder.Holder) {
		pin := time.Unix(1_700_000_000, 0).UTC()
		origin := leases.Origin{Kind: kcl.SentinelLatest, At: pin}
		f.Edit(first, func(l *leases.Lease) {
			l.Checkpoint, l.PinnedAt, l.Origin = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelLatest}, pin, origin
		})
		require.NoError(t, h.Prepare(ctx, number(10), nil))
		require.Equal(t, pin, f.Row(first).PinnedAt, "a prepared checkpoint starts nobody anywhere else")
		require.NoError(t, h.Checkpoint(ctx, number(10)))
		require.Zero(t, f.Row(first).PinnedAt)
		require.True(t, f.Row(first).Origin.Equal(origin))
	})
}
