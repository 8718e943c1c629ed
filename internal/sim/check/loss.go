package check

import (
	"sync"
	"time"
)

// shutdownTimeout is less than the ShutdownTimeout of all workers.
const shutdownTimeout = 19 * time.Second

// Reasons knows what gives a worker a reason to lose its leases. It is safe for concurrent use.
type Reasons struct {
	mu       sync.Mutex // guards the fields below
	renewed  map[lease]time.Time
	stopping map[string]time.Time // when workers were asked to stop
}

// lease is a lease of one worker.
type lease struct{ worker, key string }

// Renewed says that a worker has got the answer to a write that renews its lease, and that it sent
// the write at the time sent.
func (r *Reasons) Renewed(worker, key string, sent time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renewed[lease{worker, key}] = sent
}

// Stopping says that a worker was asked to stop.
func (r *Reasons) Stopping(worker string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.stopping[worker]; !known {
		r.stopping[worker] = time.Now()
	}
}

// get returns when a worker has last renewed a lease, and when it was asked to stop.
func (r *Reasons) get(worker, key string) (renewed, stopping time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.renewed[lease{worker, key}], r.stopping[worker]
}

// Replaced says that the processor has asked for its replacement.
func (r *Reader) Replaced() { r.replaced = true }

// checkLoss checks that a lease that the processor has lost was lost (S11). A worker that still
// owns the row, and has just renewed it, has no reason to give the shard up. A stop or a hand-over
// that took longer than ShutdownTimeout is a reason. So is a decorator, which replaces all of its
// processors if one asks.
func (r *Reader) checkLoss(h *history) {
	if r.replaced || r.c.rules.Loose || h.row == nil || WorkerOf(h.row.ActualOwner()) != r.worker {
		return
	}
	renewed, stopping := r.c.Reasons.get(r.worker, r.key)
	late := func(asked time.Time) bool { return !asked.IsZero() && time.Since(asked) >= shutdownTimeout }
	if since := time.Since(renewed); since < r.c.rules.Failover*9/10 && !late(h.asked) && !late(stopping) {
		r.c.violate("S11", r.key, "%s gives up the lease, which it has renewed %s ago", r.worker, since)
	}
}
