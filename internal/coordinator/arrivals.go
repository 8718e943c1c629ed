package coordinator

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// arrivals are the leases that their owners are handing over to this worker. A goroutine of its own
// reads their rows. Once a hand-over is complete, nobody renews the lease until this worker takes
// it. So the worker takes it without waiting for its next round.
//
// A listing may lack the requests that this worker has just written. So a plan uses these rows.
type arrivals struct {
	added chan struct{} // wakes watchArrivals; holds one

	mu   sync.Mutex              // guards rows
	rows map[string]leases.Lease // as written by this worker, or read since
}

func newArrivals() arrivals {
	return arrivals{added: make(chan struct{}, 1), rows: map[string]leases.Lease{}}
}

// add adds l, which is being handed over to this worker.
func (a *arrivals) add(l leases.Lease) {
	a.mu.Lock()
	a.rows[l.Key] = l
	a.mu.Unlock()
	select {
	case a.added <- struct{}{}:
	default:
	}
}

func (a *arrivals) remove(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.rows, key)
}

// copyRows returns a copy of the rows, by key.
func (a *arrivals) copyRows() map[string]leases.Lease {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.rows)
}

// has tells whether a lease is being handed over to this worker.
func (a *arrivals) has(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.rows[key]
	return ok
}

// owner returns the worker that hands a lease over, or an empty string.
func (a *arrivals) owner(key string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rows[key].CheckpointOwner
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.rows)
}

// watchArrivals reads the arrivals while there are any, until ctx ends.
func (t *table) watchArrivals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.arrivals.added:
		}
		for t.arrivals.count() > 0 && ctx.Err() == nil {
			_ = retry.Sleep(ctx, t.cfg.ScanInterval/4)
			t.readArrivals(ctx)
		}
		if t.asksPostponed.Swap(false) {
			t.nudge()
		}
	}
}

// readArrivals reads the rows of the arrivals, and takes the leases whose hand-over is complete.
func (t *table) readArrivals(ctx context.Context) {
	keys := slices.Sorted(maps.Keys(t.arrivals.copyRows()))
	parallel.Do(len(keys), maxParallel, func(i int) {
		if t.holderOf(keys[i]) != nil {
			t.arrivals.remove(keys[i])
			return
		}
		switch l, err := t.getRow(ctx, keys[i]); {
		case err == nil:
			t.takeOrAwait(ctx, l, "handover")
		case errors.Is(err, leases.ErrNotFound): // if its owner makes it again, a listing shows it
			t.arrivals.remove(keys[i])
		}
	})
	t.countHeld()
}

// takeOrAwait takes the lease l, given as its row is now, if it is this worker's. A lease that is
// being handed over to this worker becomes an arrival.
func (t *table) takeOrAwait(ctx context.Context, l leases.Lease, reason string) {
	switch {
	case l.Finished() || l.Owner != t.cfg.WorkerID:
		t.arrivals.remove(l.Key)
	case l.CheckpointOwner != "":
		t.arrivals.add(l)
	default:
		t.take(ctx, plan.Action{Verb: plan.Take, Row: l, Reason: reason})
		if t.holderOf(l.Key) != nil {
			t.arrivals.remove(l.Key)
		}
	}
}

// maxArrivals returns how many leases may be handed over to this worker at the same time. The
// worker must be able to take that many in a third of FailoverTime, at the present speed of the
// table.
func (t *table) maxArrivals() int {
	perWrite := max(t.tempo.slowestWrite(), time.Millisecond)
	return maxParallel * max(1, int(trust.CallTimeout(t.cfg.FailoverTime)/perWrite))
}
