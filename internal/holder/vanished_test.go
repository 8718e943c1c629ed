package holder_test

import (
	"context"
	"strings"
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

func requireNoRow(f *fleettest.Fleet) {
	_, err := f.Store.Get(context.Background(), first)
	require.ErrorIs(f.T, err, leases.ErrNotFound)
}

// idle is a consumer that does nothing until it is asked to finish.
func idle(c *coordinator.Config) {
	c.Consume = func(ctx context.Context, h *holder.Holder) {
		select {
		case <-h.Stopping():
		case <-ctx.Done():
		}
	}
}

func TestL17RowDeletedUnderItsHolderIsMadeAgain(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, _ *fleettest.Worker, h *holder.Holder) {
		created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		f.Edit(first, func(l *leases.Lease) {
			l.Checkpoint, l.PinnedAt = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelLatest}, created
		})
		h.Amend(f.Row(first), leases.AttrAll)
		before := f.Row(first)
		f.Erase(first)
		time.Sleep(3500 * time.Millisecond) // a renewal
		after := f.Row(first)
		require.Equal(t, before.Counter+2, after.Counter, "the counter goes on, and the renewal is written on top")
		require.Equal(t, kcl.SentinelTrimHorizon, after.Checkpoint.SequenceNumber, "as last accepted")
		require.Equal(t, created, after.PinnedAt)
		require.Equal(t, "a", after.Owner)
		require.Equal(t, "a", after.NativeOwner)
		require.True(t, h.Valid())
		require.NoError(t, ctx.Err())

		require.NoError(t, h.Prepare(ctx, number(7), []byte("state")))
		require.NoError(t, h.SetChildren(ctx, []string{"x"}))
		f.Erase(first)
		require.NoError(t, h.Checkpoint(ctx, number(9)), "a checkpoint makes it again, and is written on top")
		require.Equal(t, number(9), f.Row(first).Checkpoint)
		require.Equal(t, []string{"x"}, f.Row(first).Children)
		require.Equal(t, after.Counter+4, f.Row(first).Counter, "prepared, children, again, checkpoint")
		lines := f.Warned.Take()
		require.Len(t, lines, 2)
		for _, text := range []string{"deleted while it was held", "time to live", "partial restore"} {
			require.Contains(t, lines[0], text)
		}
	})
}

func TestRowDeletedUnderAnIdleFleetLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 12)
		f.Start("a")
		f.Start("b")
		time.Sleep(time.Minute)
		f.RequireBalance("a", "b")
		f.Reset()
		for key := range f.Rows() {
			f.Erase(key)
		}
		time.Sleep(time.Minute)
		// A listing between two of the rows may show a fleet out of balance: leases can move, in order.
		f.RequireBalance("a", "b")
		require.Zero(t, f.Repeats())
		require.Less(t, f.LongestGap(), 5*time.Second)
	})
}

// TestRecreationWhoseAnswerIsLost lets the row be made although the store says that
// it failed, and lets the store's client send it twice.
func TestRecreationWhoseAnswerIsLost(t *testing.T) {
	for name, answer := range map[string]func(call leasefault.Call, apply func() error) error{
		"lost":       func(_ leasefault.Call, apply func() error) error { _ = apply(); return errStore },
		"sent twice": func(_ leasefault.Call, apply func() error) error { _ = apply(); return apply() },
		"not sent":   func(leasefault.Call, func() error) error { return errStore },
	} {
		t.Run(name, func(t *testing.T) {
			held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
				require.NoError(t, h.Checkpoint(ctx, number(1)))
				once := false
				a.Faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
					if call.Op == "create" && !once {
						once = true
						return answer(call, apply)
					}
					return apply()
				})
				before := f.Row(first)
				f.Erase(first)
				require.NoError(t, h.Checkpoint(ctx, number(2)))
				require.Equal(t, number(2), f.Row(first).Checkpoint)
				require.Equal(t, before.Counter+2, f.Row(first).Counter)
				require.True(t, once)
				require.Empty(t, a.Coordinator.Vanished())
			})
		})
	}
}

// TestTrustCountsFromTheRecreation lets the creation take long: others see the new
// counter only after it was sent.
func TestTrustCountsFromTheRecreation(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
		require.NoError(t, h.Checkpoint(ctx, number(1)))
		f.Erase(first)
		var sent atomic.Pointer[time.Time]
		a.Faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			switch {
			case call.Op == "create":
				now := time.Now()
				sent.Store(&now)
				time.Sleep(2 * time.Second)
				return apply()
			case sent.Load() != nil:
				return errStore // no renewal after it
			}
			return apply()
		})
		<-ctx.Done()
		require.Equal(t, 9500*time.Millisecond, time.Since(*sent.Load()))
		require.False(t, h.Valid())
	})
}

func TestRowIsNotMadeAgainByAFormerHolder(t *testing.T) {
	held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
		require.NoError(t, h.Checkpoint(ctx, number(1)))
		thaw := make(chan struct{})
		late := make(chan error, 100)
		a.Faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "update" {
				go func() { <-thaw; late <- apply() }() // ends with thaw
			}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		<-ctx.Done()
		f.Erase(first)
		a.Faults.SetFault(nil)
		close(thaw)
		synctest.Wait()
		require.NotEmpty(t, late)
		require.ErrorIs(t, h.Checkpoint(context.Background(), number(2)), kcl.ErrLeaseLost)
		requireNoRow(f)
	})
}

// TestFinishedRow lets a finished row vanish. After the children have been read from, nobody needs
// it. Before that it says that they may be.
func TestFinishedRowThatVanishes(t *testing.T) {
	for name, start := range map[string]kcl.ExtendedSequenceNumber{
		"children have begun":     number(100),
		"children are still to":   {SequenceNumber: kcl.SentinelTrimHorizon},
		"children have ended too": shardEnd,
	} {
		for _, accepted := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
					child := leases.Lease{Key: "child", ShardID: "child", Checkpoint: start, Owner: "z", ThroughputKBps: -1}
					require.NoError(t, f.Store.Create(ctx, child))
					require.NoError(t, h.SetChildren(ctx, []string{"child"}))
					if !accepted { // it is, but the answer is lost
						once := false
						a.Faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
							err := apply()
							if call.Op == "update" && !once {
								once = true
								f.Erase(first)
								return errStore
							}
							return err
						})
					}
					require.NoError(t, h.Checkpoint(ctx, shardEnd))
					if accepted {
						f.Erase(first)
						time.Sleep(4 * time.Second)
					}
					if start.SequenceNumber == kcl.SentinelTrimHorizon {
						require.Equal(t, shardEnd, f.Row(first).Checkpoint)
						return
					}
					requireNoRow(f)
					require.True(t, h.Lease().Finished())
					require.NoError(t, ctx.Err(), "it ended as it should")
				})
			})
		}
	}
}

func TestRowOfAStreamThatWasLeftIsNotMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		var mu sync.Mutex
		left := false
		a := f.Start("a", func(c *coordinator.Config) {
			c.Accept = func(leases.Lease) bool {
				mu.Lock()
				defer mu.Unlock()
				return !left
			}
		})
		time.Sleep(time.Minute)
		mu.Lock()
		left = true
		mu.Unlock()
		f.Erase(first)
		time.Sleep(time.Minute)
		requireNoRow(f)
		a.Stop()
		require.NoError(t, a.Err)
		requireNoRow(f)
	})
}

// TestRowThatVanishesBeforeAReleaseIsGivenBack deletes the row between the last renewal and a stop.
// Nobody else knows the position in the shard.
func TestRowThatVanishesBeforeAReleaseIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		a := f.Start("a", func(c *coordinator.Config) {
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				require.NoError(t, h.Checkpoint(ctx, number(5)))
				<-h.Stopping()
			}
		})
		time.Sleep(time.Minute)
		before := f.Row(first)
		f.Erase(first)
		a.Stop()
		require.NoError(t, a.Err)
		after := f.Row(first)
		require.Equal(t, number(5), after.Checkpoint)
		require.Empty(t, after.ActualOwner())
		require.Greater(t, after.Counter, before.Counter)
	})
}

// TestRowMadeAnewBySomebodyElse deletes a row that another process makes again. The cases say which
// worker keeps the shard, and where it starts.
func TestRowMadeAnewBySomebodyElse(t *testing.T) {
	pin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	latest := kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelLatest}
	horizon := kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon}
	origin := leases.Origin{Kind: kcl.SentinelLatest, At: pin}
	pinned := func(t time.Time) leases.Extension { return leases.Extension{PinnedAt: t} }
	for name, tc := range map[string]struct {
		made        leases.Lease
		kept, wrong bool
	}{
		"free, at the start": {made: leases.Lease{Checkpoint: horizon}, kept: true},
		"free, at a later tip": {
			made: leases.Lease{Checkpoint: latest, Extension: pinned(pin.Add(time.Hour))}, kept: true,
		},
		"free, behind":              {made: leases.Lease{Checkpoint: number(3)}, kept: true},
		"free, ahead":               {made: leases.Lease{Checkpoint: number(9)}, wrong: true},
		"free, finished":            {made: leases.Lease{Checkpoint: shardEnd}, wrong: true},
		"ours, from a backup":       {made: leases.Lease{Checkpoint: number(3), Owner: "a", Counter: 1}, kept: true},
		"another's, from the start": {made: leases.Lease{Checkpoint: horizon, Owner: "z", Counter: 1}},
		"another's, from the origin": {
			made: leases.Lease{Checkpoint: latest, Extension: pinned(pin), Owner: "z", Counter: 1},
		},
		"another's, from a later tip": {
			made: leases.Lease{Checkpoint: latest, Extension: pinned(pin.Add(time.Second)), Owner: "z", Counter: 1}, wrong: true,
		},
		"another's, from an unknown tip": {made: leases.Lease{Checkpoint: latest, Owner: "z", Counter: 1}, wrong: true},
		"another's, ahead":               {made: leases.Lease{Checkpoint: number(9), Owner: "z", Counter: 1}, wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, between := range []bool{false, true} { // made between the look and the creation, or before
				held(t, func(ctx context.Context, f *fleettest.Fleet, a *fleettest.Worker, h *holder.Holder) {
					for n := range 5 {
						require.NoError(t, h.Checkpoint(ctx, number(n+1)))
					}
					h.Amend(leases.Lease{Extension: leases.Extension{Origin: origin}}, leases.AttrOrigin)
					tc.made.Key, tc.made.ShardID, tc.made.ThroughputKBps, tc.made.StreamCreated = first, first, -1, pin
					make := func() { require.NoError(t, f.Store.Create(context.Background(), tc.made)) }
					before := f.Row(first)
					f.Erase(first)
					if between {
						once := false
						a.Faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
							if call.Op == "create" && !once {
								once = true
								make()
							}
							return apply()
						})
					} else {
						make()
					}
					err := h.Checkpoint(ctx, number(6))
					if tc.kept {
						require.NoError(t, err)
						require.Equal(t, before.Counter+2, f.Row(first).Counter)
						require.Equal(t, number(6), f.Row(first).Checkpoint)
						require.Equal(t, "a", f.Row(first).Owner)
						require.Equal(t, pin, f.Row(first).StreamCreated, "what was not known is kept")
						require.True(t, f.Row(first).PinnedAt.IsZero())
						require.Empty(t, a.Coordinator.Vanished())
						return
					}
					require.ErrorIs(t, err, kcl.ErrLeaseLost)
					require.Equal(t, tc.made.Owner, f.Row(first).Owner, "nothing is stolen back")
					if !tc.wrong {
						require.Empty(t, a.Coordinator.Vanished())
						return
					}
					require.Len(t, a.Coordinator.Vanished(), 1)
					text := a.Coordinator.Vanished()[0].Error()
					require.Contains(t, text, "stood at 5")
					require.Contains(t, text, "set-checkpoint "+first+" 5")
					require.Contains(t, strings.Join(f.Warned.Take(), ""), "level=ERROR")
				})
			}
		})
	}
}

// TestRowDeletedOnPurpose deletes it again and again.
func TestRowDeletedOnPurpose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		f.Period = time.Minute
		a := f.Start("a")
		time.Sleep(61 * time.Second)
		for range 3 {
			f.Erase(first)
			time.Sleep(10 * time.Minute)
			require.Equal(t, "a", f.Row(first).Owner)
			require.Empty(t, a.Coordinator.Vanished())
		}
		f.Erase(first)
		time.Sleep(10 * time.Second)
		requireNoRow(f)
		lost := a.Coordinator.Vanished()
		require.Len(t, lost, 1)
		require.Equal(t, number(31), lost[0].Held.Checkpoint)
		require.Contains(t, lost[0].Error(), "kclctl leases restore -at 31 "+first)
		require.Contains(t, strings.Join(f.Warned.Take(), ""), "level=ERROR")
		require.Equal(t, map[string]int{"a": 1}, f.Load(), "the other goes on")

		time.Sleep(time.Hour)
		requireNoRow(f)
		require.Len(t, a.Coordinator.Vanished(), 1)
		again := leases.Lease{Key: first, ShardID: first, Checkpoint: number(31), ThroughputKBps: -1}
		require.NoError(t, f.Store.Create(t.Context(), again))
		time.Sleep(5 * time.Second)
		require.Empty(t, a.Coordinator.Vanished())
		f.RequireBalance("a")
		f.Erase(first) // an hour later it is no habit
		time.Sleep(10 * time.Second)
		require.Equal(t, "a", f.Row(first).Owner)
	})
}

func TestOneStaleListingDoesNotMendARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		f.TableFaults.SetListLag(5 * time.Second)
		a := f.Start("a", idle)
		time.Sleep(time.Minute)
		for range 4 {
			f.Erase(first)
			time.Sleep(4 * time.Second)
		}
		time.Sleep(20 * time.Second)
		requireNoRow(f)
		require.Len(t, a.Coordinator.Vanished(), 1)
	})
}
