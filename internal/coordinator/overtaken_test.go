package coordinator_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

// worker2x is a worker of KCL 2.x. It writes the attributes that a recording of 2.7.2 shows, under
// the same conditions. It does not know CheckpointOwner.
type worker2x struct {
	f    *fleettest.Fleet
	id   string
	key  string
	lost atomic.Int64 // at which renewal it lost its lease; 0: not yet
	stop context.CancelFunc
}

// steal takes a lease from its owner, and renews it until it is lost.
func steal(f *fleettest.Fleet, id, key string) *worker2x {
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker2x{f: f, id: id, key: key, stop: cancel}
	f.T.Cleanup(cancel)
	row, err := f.Store.Get(f.T.Context(), key)
	require.NoError(f.T, err)
	to := row
	to.Owner, to.Counter, to.OwnerSwitchesSinceCheckpoint = id, row.Counter+1, row.OwnerSwitchesSinceCheckpoint+1
	require.NoError(f.T, f.Store.Update(f.T.Context(), leases.Update{
		Read: row, Expect: leases.AttrCounter, To: to, Set: leases.AttrOwner | leases.AttrCounter | leases.AttrOwnerSwitches,
	}))
	go func() { // ends with stop, or with the lease
		for held, n := to, int64(1); ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(3308 * time.Millisecond):
			}
			next := held
			next.Counter++
			if f.Store.Update(ctx, leases.Update{
				Read: held, Expect: leases.AttrCounter, To: next,
				Set: leases.AttrCounter,
			}) != nil {
				w.lost.Store(n)
				return
			}
			held = next
		}
	}()
	return w
}

// evict gives the lease back, as 2.x does.
func (w *worker2x) evict() {
	w.stop()
	row, err := w.f.Store.Get(w.f.T.Context(), w.key)
	require.NoError(w.f.T, err)
	to := row
	to.Owner, to.Counter = "", row.Counter+1
	require.NoError(w.f.T, w.f.Store.Update(w.f.T.Context(),
		leases.Update{Read: row, Expect: leases.AttrOwner, To: to, Set: leases.AttrOwner | leases.AttrCounter}))
}

// slow is a consumer that processes a batch for d.
func slow(d time.Duration) func(*coordinator.Config) {
	return func(c *coordinator.Config) {
		c.Consume = func(ctx context.Context, h *holder.Holder) {
			select {
			case <-ctx.Done():
				return
			case <-h.Stopping():
			}
			select {
			case <-time.After(d):
			case <-ctx.Done():
			}
		}
	}
}

// beingHandedOver waits for a hand-over and returns its row.
func beingHandedOver(f *fleettest.Fleet) leases.Lease {
	for {
		time.Sleep(50 * time.Millisecond)
		for _, l := range mustList(f.T, f.Store) {
			if l.CheckpointOwner != "" {
				return l
			}
		}
	}
}

// A worker of KCL 2.x takes a lease while it is handed over. The row still says that the former
// owner hands it over.
func TestKCL2StealsALeaseThatIsHandedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		f.Start("a", slow(15*time.Second))
		time.Sleep(10 * time.Second)
		f.Start("b", slow(15*time.Second))
		row := beingHandedOver(f)
		time.Sleep(time.Second)
		j := steal(f, "java", row.Key)

		row, err := f.Store.Get(t.Context(), row.Key)
		require.NoError(t, err)
		require.Equal(t, "java", row.ActualOwner(), "at once, for status and kclctl")
		require.False(t, row.HandingOver())
		time.Sleep(time.Minute)
		require.Zero(t, j.lost.Load(), "the former owner threw a living worker out")
		row, err = f.Store.Get(t.Context(), row.Key)
		require.NoError(t, err)
		require.Equal(t, "java", row.Owner)
		require.Empty(t, row.CheckpointOwner)
		require.Empty(t, row.HandoverTo)
	})
}

// A worker of KCL 2.x takes a lease after both sides of the hand-over have died. Others can take
// the lease from that worker, as any other lease.
func TestKCL2StealsALeaseOfTheDead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		a := f.Start("a", slow(20*time.Second))
		time.Sleep(10 * time.Second)
		b := f.Start("b", slow(20*time.Second))
		row := beingHandedOver(f)
		a.Kill()
		b.Kill()
		for _, l := range mustList(t, f.Store) {
			steal(f, "java", l.Key)
		}
		time.Sleep(time.Minute)
		row, err := f.Store.Get(t.Context(), row.Key)
		require.NoError(t, err)
		require.Equal(t, "a", row.CheckpointOwner)
		require.Equal(t, "java", row.ActualOwner())

		f.Start("c")
		time.Sleep(20 * time.Second)
		load := map[string]int{}
		for _, l := range mustList(t, f.Store) {
			require.Empty(t, l.CheckpointOwner)
			load[l.ActualOwner()]++
		}
		require.Equal(t, map[string]int{"java": 1, "c": 1}, load)
	})
}

// A worker of KCL 2.x gives a lease back that it took during a hand-over. The lease is free at
// once.
func TestKCL2GivesUpALeaseThatWasHandedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		a := f.Start("a", slow(20*time.Second))
		time.Sleep(10 * time.Second)
		b := f.Start("b", slow(20*time.Second))
		row := beingHandedOver(f)
		a.Kill()
		b.Kill()
		j := steal(f, "java", row.Key)
		time.Sleep(30 * time.Second)
		c := f.Start("c")
		time.Sleep(5 * time.Second)
		j.evict()
		time.Sleep(5 * time.Second)
		require.Equal(t, "c", ownerOf(f, row.Key))
		c.Stop()
	})
}

// ownerOf returns the owner of a lease.
func ownerOf(f *fleettest.Fleet, key string) string {
	row := f.Row(key)
	return row.ActualOwner()
}

// Another library leaves CheckpointOwner behind in rows. While a worker renews such a lease, the
// row no longer counts as a hand-over after a while.
func TestHandOverThatWasLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 3)
		for _, l := range mustList(t, f.Store) {
			to := l
			to.CheckpointOwner = "ghost"
			require.NoError(t, f.Store.Update(t.Context(), leases.Update{Read: l, To: to, Set: leases.AttrCheckpointOwner}))
		}
		var java []*worker2x
		for i, l := range mustList(t, f.Store) {
			java = append(java, steal(f, fmt.Sprint("java", i), l.Key))
		}
		a := f.Start("a", maxLeases(1))
		time.Sleep(30 * time.Second)
		for _, l := range mustList(t, f.Store) {
			require.Equal(t, "ghost", l.ActualOwner(), "it may be true")
		}
		time.Sleep(30 * time.Second)
		for _, l := range mustList(t, f.Store) {
			require.True(t, strings.HasPrefix(l.ActualOwner(), "java"))
		}
		for _, j := range java {
			require.Zero(t, j.lost.Load())
		}
		a.Stop()
	})
}

// A renewal of the former owner lands late, after a worker of KCL 2.x has taken the lease with the
// same counter. The former owner must not take the row for its own write.
func TestKCL2TakesWithTheCounterOfALostRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		a := f.Start("a", slow(25*time.Second))
		time.Sleep(10 * time.Second)
		f.Start("b", slow(25*time.Second))
		row := beingHandedOver(f)
		time.Sleep(3 * time.Second)
		a.Faults.SetFault(leasefault.Silent) // a's next renewal has no answer, and does not land
		time.Sleep(4 * time.Second)
		j := steal(f, "java", row.Key)
		a.Faults.SetFault(nil)
		time.Sleep(time.Minute)
		require.Zero(t, j.lost.Load())
		require.Equal(t, "java", ownerOf(f, row.Key))
	})
}
