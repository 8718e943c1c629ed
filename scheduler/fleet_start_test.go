package scheduler_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/scheduler"
)

// firstRecord returns how long a worker takes from its start to its first record,
// of some that are put before.
func (r *rig) firstRecord(w *worker) time.Duration {
	var first atomic.Int64
	begun := time.Now()
	w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
		first.CompareAndSwap(0, int64(time.Since(begun)))
		p.take(in)
		return p.checkpoint(ctx, in.Checkpointer)
	}
	r.put(keys(20)...)
	w.start()
	r.finished(time.Minute)
	return time.Duration(first.Load())
}

// A worker that is alone does not wait for others that may start with it: on a new
// table as little as on one that it has left, however many shards there are.
func TestLoneWorkerReadsAtOnce(t *testing.T) {
	t.Parallel()
	for _, shards := range testsize.Pick([]int{1, 150}, []int{1, 200, 1000}, []int{1, 200, 1000}) {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(shards))
				for _, name := range []string{"a", "b"} {
					w := r.worker(name, func(c *scheduler.Config) { c.RetrievalMode = scheduler.Polling })
					took := r.firstRecord(w)
					t.Logf("the first record after %v", took)
					require.LessOrEqual(t, took, 3*time.Second)
					require.NoError(t, w.stop())
				}
				r.audit.check(0)
			})
		})
	}
}

// fleetOf makes the rows of workers that hold a lease each. While they live, they renew
// their leases as real ones do, until stop.
func (r *rig) fleetOf(workers int, live bool) (stop func()) {
	const renewal = 3300 * time.Millisecond
	ctx, cancel := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	for i, id := range r.open() {
		name := fmt.Sprintf("old%d", i%workers)
		row := leases.Lease{Key: id, ShardID: id, Owner: name, Extension: leases.Extension{NativeOwner: name}, Counter: 1}
		row.Checkpoint.SequenceNumber = "TRIM_HORIZON"
		require.NoError(r.t, r.store.Create(ctx, row))
		if !live {
			continue
		}
		wg.Go(func() { // ends with ctx
			wait := time.Duration(i) * 33 * time.Millisecond % renewal
			for retry.Sleep(ctx, wait) == nil {
				if now, err := r.store.Get(ctx, id); err == nil && now.ActualOwner() == name {
					to := now
					to.Counter++
					_ = r.store.Update(ctx, leases.Update{Read: now, Expect: leases.AttrCounter, To: to, Set: leases.AttrCounter})
				}
				wait = renewal
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// ready returns how long a worker took to be ready to take leases.
func (r *rig) ready(w *worker) time.Duration {
	begun := time.Now()
	w.start()
	r.eventually(time.Minute, "the worker is ready", func() bool { return w.Status().Phase == "running" })
	return time.Since(begun)
}

// A worker that comes to a fleet that works does not wait for the others to start.
func TestWorkerOfALargeFleetRestartsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(100))
		defer r.fleetOf(99, true)()
		took := r.ready(r.worker("new"))
		t.Logf("ready after %v", took)
		require.LessOrEqual(t, took, 3*time.Second)
	})
}

// A fleet that was killed and starts again finds leases that nobody renews, and
// which nobody may take before they expire: that nothing happens says nothing then.
func TestKilledFleetStartsWithinTheLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(60))
		seen := &rates{}
		seen.watch(r.srv)
		defer r.fleetOf(60, false)()
		for i := range 60 {
			r.worker(fmt.Sprintf("new%d", i), func(c *scheduler.Config) { c.RetrievalMode = scheduler.Polling }).start()
		}
		r.eventually(time.Minute, "all shards are read", func() bool { return r.owned() == 60 })
		seen.check(t)
	})
}
