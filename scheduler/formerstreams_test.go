package scheduler_test

import (
	"context"
	"errors"
	"sync/atomic"
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

// formerWait is shorter than the default: quiet hours of a fleet are long in
// real time too.
const formerWait = 10 * time.Minute

func deleting(d scheduler.FormerStreamsDeletion) func(*scheduler.Config) {
	return func(c *scheduler.Config) { c.FormerStreams = scheduler.FormerStreams{Deletion: d, Wait: formerWait} }
}

// The leases of a stream that is gone from the list are deleted after the wait,
// counted from the last write; a stream that comes back before goes on, and one
// that comes back after begins anew.
func TestFormerStreamsAreDeletedAfterTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(testsize.Pick(1, 2, 2), "orders", "bills"))
		l := list("orders", "bills")
		w := r.worker("a", tracked(l), func(c *scheduler.Config) { // the default is an hour
			c.FormerStreams.Deletion = scheduler.AutoDetectionAndDeferredDeletion
		}).start()
		r.produceTo(2, time.Second, "orders", "bills")
		r.finished(2 * time.Minute)

		l.set("orders")
		time.Sleep(55 * time.Minute)
		require.Len(t, r.rowsOf("bills"), 1)
		l.set("orders", "bills")
		r.produceTo(2, time.Second, "bills")
		r.finished(2 * time.Minute)
		r.audit.check(0)

		l.set("orders")
		time.Sleep(55 * time.Minute)
		require.Len(t, r.rowsOf("bills"), 1, "the wait begins anew")
		time.Sleep(10 * time.Minute)
		require.Empty(t, r.rowsOf("bills"))
		require.Len(t, r.rowsOf("orders"), 1)

		l.set("orders", "bills")
		r.produceTo(2, time.Minute, "orders", "bills")
		r.finished(2 * time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(40) // bills was read twice
	})
}

// Leases of another region's streams stay: a worker of the application that is
// down for long may read those.
func TestFormerStreamsOfAnotherRegionStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders", "bills"))
		other := r.inOtherRegion(someStreams(1, "payments"))
		b := other.worker("b", tracked(list("payments"))).start()
		r.eventually(time.Minute, "the row is made", func() bool { return len(r.table()) == 1 })
		require.NoError(t, b.stop())
		l := list("orders", "bills")
		a := r.worker("a", tracked(l), deleting(scheduler.AutoDetectionAndDeferredDeletion)).start()
		r.eventually(time.Minute, "the rows are made", func() bool { return len(r.table()) == 3 })
		l.set("orders")
		time.Sleep(3 * time.Hour)
		require.Empty(t, r.rowsOf("bills"))
		require.Len(t, r.rowsOf("payments"), 1)
		require.NoError(t, a.stop())
	})
}

// A worker that does not read a stream leaves its leases alone while another one
// reads it, however long its list lacks it.
func TestFormerStreamIsReadByAnotherWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(testsize.Pick(1, 2, 2), "orders", "bills"))
		a := r.worker("a", tracked(list("orders")), deleting(scheduler.AutoDetectionAndDeferredDeletion)).start()
		b := r.worker("b", tracked(list("orders", "bills")), deleting(scheduler.AutoDetectionAndDeferredDeletion)).start()
		for range 4 {
			r.produceTo(3, time.Second, "orders", "bills")
			time.Sleep(formerWait)
		}
		r.finished(time.Minute)
		require.NoError(t, a.Healthy())
		require.NoError(t, b.Healthy())

		// Killed: nobody renews, and its name stays in the rows.
		b.kill()
		time.Sleep(formerWait - 2*time.Minute)
		require.Len(t, r.rowsOf("bills"), 1)
		time.Sleep(5 * time.Minute)
		require.Empty(t, r.rowsOf("bills"))
		require.NoError(t, a.stop())
		r.audit.check(0)
	})
}

// A lease that changes between the look and the deletion keeps all that are left.
func TestFormerStreamIsTakenAtTheLastMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(3, "orders", "bills"))
		l := list("orders", "bills")
		w := r.worker("a", tracked(l), deleting(scheduler.AutoDetectionAndDeferredDeletion))
		var deletions atomic.Int32
		w.faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "delete" && deletions.Add(1) == 2 {
				row, err := r.store.Get(ctx, call.Key)
				require.NoError(t, err)
				to := row
				to.Counter++
				require.NoError(t, r.store.Update(ctx, leases.Update{Read: row, To: to, Set: leases.AttrCounter}))
			}
			return apply()
		})
		w.start()
		r.produceTo(2, time.Second, "orders", "bills")
		r.finished(2 * time.Minute)
		l.set("orders")
		time.Sleep(formerWait + 5*time.Minute)
		for _, rows := range r.rowsOf("bills") {
			require.Len(t, rows, 2, "the first is deleted, the second has changed, the third stays")
		}
		require.EqualValues(t, 2, deletions.Load())
		// The wait begins and ends at a refresh, and each may be 72 seconds late.
		time.Sleep(formerWait + 5*time.Minute)
		require.Empty(t, r.rowsOf("bills"))
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// Nothing is deleted on the word of an empty list, while the tracker fails, or
// while a stream of the list is not known yet.
func TestFormerStreamsStayWhenInDoubt(t *testing.T) {
	t.Parallel()
	for name, doubt := range map[string]func(r *rig, l *streamList){
		"empty list":    func(_ *rig, l *streamList) { l.set() },
		"tracker fails": func(_ *rig, l *streamList) { l.fail(errors.New("catalogue is away")) },
		"unknown":       func(r *rig, _ *streamList) { require.NoError(r.t, r.srv.DeleteStream("bills")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, someStreams(2, "orders", "bills"))
				l := list("orders", "bills")
				w := r.worker("a", tracked(l), deleting(scheduler.AutoDetectionAndDeferredDeletion)).start()
				r.produceTo(2, time.Second, "orders", "bills")
				r.finished(2 * time.Minute)
				doubt(r, l)
				time.Sleep(3 * formerWait)
				require.Len(t, r.rowsOf("bills"), 1)
				require.NoError(t, w.stop())
				w = r.worker("b", tracked(l), deleting(scheduler.AutoDetectionAndDeferredDeletion)).start()
				time.Sleep(3 * formerWait)
				require.Len(t, r.rowsOf("bills"), 1)
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// With a provided list, only what it names is deleted, and only what is not read.
func TestFormerStreamsAreProvided(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders", "bills", "notes"))
		l := list("orders", "bills", "notes")
		var provided atomic.Pointer[[]kcl.StreamIdentifier]
		w := r.worker("a", tracked(l), deleting(scheduler.ProvidedListDeferredDeletion), func(c *scheduler.Config) {
			c.FormerStreams.Provided = func(context.Context) ([]kcl.StreamIdentifier, error) {
				if p := provided.Load(); p != nil {
					return *p, nil
				}
				return nil, errors.New("catalogue is away")
			}
		}).start()
		r.produceTo(2, time.Second, "orders", "bills", "notes")
		r.finished(2 * time.Minute)
		var ids []kcl.StreamIdentifier
		for _, st := range w.Status().Streams {
			if st.Stream.Name != "notes" {
				ids = append(ids, st.Stream)
			}
		}
		require.Len(t, ids, 2)
		l.set("orders")
		time.Sleep(2 * formerWait)
		require.Len(t, r.rowsOf("bills"), 1, "the provided list is not known")
		provided.Store(&ids)
		time.Sleep(15 * time.Minute)
		require.Empty(t, r.rowsOf("bills"))
		require.Len(t, r.rowsOf("notes"), 1, "not provided")
		require.Len(t, r.rowsOf("orders"), 1, "provided, and read")
		r.produceTo(2, time.Second, "orders")
		r.finished(time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A processor that does not return when its stream goes gets as much time as at
// any other stop.
func TestX04ProcessorOfAFormerStreamBlocks(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, someStreams(1, "orders", "bills"))
		l := list("orders", "bills")
		w := r.worker("a", mode, tracked(l))
		cause := make(chan error, 1)
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if p.stream.Name == "bills" {
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return ctx.Err()
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		w.start()
		r.produceTo(2, time.Second, "orders", "bills")
		r.eventually(time.Minute, "both are read", func() bool { return r.owned() == 2 })
		l.set("orders")
		time.Sleep(3 * time.Minute)
		require.ErrorIs(t, <-cause, kcl.ErrShutdownTimeout)
		for _, rows := range r.rowsOf("bills") {
			require.Empty(t, rows[0].ActualOwner())
		}
		require.NoError(t, w.Healthy())

		w.setDo(nil)
		l.set("orders", "bills")
		r.finished(3 * time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}
