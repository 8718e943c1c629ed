package coordinator

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// arrivals are the leases that their owners are handing over to this worker. A
// goroutine of its own looks at their rows: once a hand-over is complete, nobody
// renews the lease until this worker takes it, whatever a round does meanwhile.
//
// A listing may be behind, and does not show what this worker has asked for a moment
// ago. So the rows are also what a plan counts with.
type arrivals struct {
	added chan struct{} // holds one

	mu   sync.Mutex              // guards rows
	rows map[string]leases.Lease // as written by this worker, or read since
}

func newArrivals() arrivals {
	return arrivals{added: make(chan struct{}, 1), rows: map[string]leases.Lease{}}
}

// add notes that l is on its way.
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

// all returns the rows by key.
func (a *arrivals) all() map[string]leases.Lease {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.rows)
}

func (a *arrivals) has(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.rows[key]
	return ok
}

func (a *arrivals) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.rows)
}

// watchArrivals looks at the arrivals while there are any, until ctx ends.
func (t *table) watchArrivals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.coming.added:
		}
		for t.coming.count() > 0 && ctx.Err() == nil {
			_ = retry.Sleep(ctx, t.cfg.ScanInterval/4)
			t.lookAtArrivals(ctx)
		}
		if t.asksLeft.Swap(false) {
			t.nudge()
		}
	}
}

// lookAtArrivals reads the rows of the arrivals, and starts with those that are this
// worker's own now.
func (t *table) lookAtArrivals(ctx context.Context) {
	keys := slices.Sorted(maps.Keys(t.coming.all()))
	parallel(len(keys), func(i int) {
		if t.holder(keys[i]) != nil {
			t.coming.remove(keys[i])
			return
		}
		switch l, err := t.get(ctx, keys[i]); {
		case err == nil:
			t.takeOrAwait(ctx, l, "handover")
		case errors.Is(err, leases.ErrNotFound): // its owner may make it again; a listing will tell
			t.coming.remove(keys[i])
		}
	})
	t.countHeld()
}

// takeOrAwait starts with l, the row as it is now, if the lease is this worker's, and waits
// for it if it is being handed over to this worker.
func (t *table) takeOrAwait(ctx context.Context, l leases.Lease, reason string) {
	switch {
	case l.Finished() || l.Owner != t.cfg.WorkerID:
		t.coming.remove(l.Key)
	case l.CheckpointOwner != "":
		t.coming.add(l)
	default:
		t.take(ctx, action{verb: take, row: l, reason: reason})
		if t.holder(l.Key) != nil {
			t.coming.remove(l.Key)
		}
	}
}

// maxArrivals is how many leases may be on their way to this worker before it asks
// for another one: as many as it can take, at the pace that the table has shown, in a
// third of the time in which they expire.
func (t *table) maxArrivals() int {
	perWrite := max(t.tempo.slowestWrite(), time.Millisecond)
	return maxParallel * max(1, int(t.cfg.callTimeout()/perWrite))
}
