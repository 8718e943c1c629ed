package scheduler_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

// before makes the rows as an earlier release or another library left them:
// without marks and origin.
func (r *rig) before() {
	r.t.Helper()
	for _, l := range r.table() {
		const marks = leases.AttrApplication | leases.AttrStreamARN | leases.AttrOrigin
		require.NoError(r.t, r.store.Update(r.t.Context(), leases.Update{Read: l, Set: marks}))
	}
}

// usedTable has one finished row, the least, and three that were read, none of
// which says whose it is.
func usedTable(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, twoStreams())
	w := r.worker("first", func(c *scheduler.Config) { c.RetrievalMode = scheduler.Polling }).start()
	r.produce(2, time.Second, keys(20))
	r.split(r.open()[0])
	r.produce(2, time.Second, keys(20))
	r.finished(time.Minute)
	require.NoError(t, w.stop())
	r.before()
	require.Len(t, r.table(), 4)
	require.True(t, r.row("shardId-000000000000").Finished())
	return r
}

// A table from before is taken over: all rows get their marks, those that nobody
// takes as well.
func TestTableFromBeforeIsAdopted(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := usedTable(t)
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(20))
		r.finished(time.Minute)
		for _, l := range r.table() {
			require.Equal(t, "app "+ordersARN, l.Application+" "+l.StreamARN, l.Key)
		}
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// Of two applications that take over a table from before at the same time, one at
// most goes on, and the other one takes nothing.
func TestTwoAdoptATable(t *testing.T) {
	t.Parallel()
	for seed := range testsize.Pick[uint64](2, 8, 16) {
		synctest.Test(t, func(t *testing.T) {
			r := usedTable(t)
			r.capture()
			a := r.worker("a", func(c *scheduler.Config) { c.RetrievalMode = scheduler.Polling })
			b := r.worker("b", func(c *scheduler.Config) { c.RetrievalMode, c.Application = scheduler.Polling, "billing" })
			for i, w := range []*worker{a, b} {
				w.faults.SetFault(shaky(rand.New(rand.NewPCG(seed, uint64(i))), false))
				w.start()
				time.Sleep(time.Duration(seed%4) * 200 * time.Millisecond)
			}
			owners := map[string]bool{}
			for range 120 {
				time.Sleep(time.Second)
				for _, l := range r.table() {
					owners[l.ActualOwner()] = true
				}
			}
			refused := 0
			for _, w := range []*worker{a, b} {
				if isDone(w) {
					refused++
					require.ErrorIs(t, w.err, leases.ErrForeignTable)
					require.NotContains(t, owners, w.Status().Worker)
				}
			}
			require.Equal(t, 1, refused, "seed %d", seed) // both mark the same row
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// The leader of the Java KCL deletes the finished row by which the table was
// claimed: it is claimed by another one.
func TestAnchorIsDeletedDuringAdoption(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := usedTable(t)
		w := r.worker("a")
		w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			err := apply()
			if call.Key == "shardId-000000000000" && call.Update.Set.Has(leases.AttrApplication) {
				require.NoError(t, r.store.Delete(context.Background(), leases.Lease{Key: call.Key}, 0))
			}
			return err
		})
		w.start()
		r.produce(2, time.Second, keys(20))
		r.finished(time.Minute)
		require.Len(t, r.table(), 3)
		for _, l := range r.table() {
			require.Equal(t, "app", l.Application, l.Key)
		}
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// Rows without marks whose numbers, hash keys and parents are not those of the
// stream are left alone.
func TestTableOfAnotherStreamIsNotAdopted(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		for _, id := range r.open() {
			require.NoError(t, r.store.Create(t.Context(), leases.Lease{
				Key: id, ShardID: id, ThroughputKBps: -1, Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: "7"},
			}))
		}
		rows := r.rows()
		w := r.worker("a", mode).start()
		<-w.done
		require.ErrorIs(t, w.err, leases.ErrForeignTable)
		require.ErrorContains(t, w.err, "the table seems to belong to another stream than "+ordersARN)
		require.ErrorContains(t, w.err, "kclctl leases adopt -application app -stream "+ordersARN)
		require.Equal(t, rows, r.rows())
	})
}
