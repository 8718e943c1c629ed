package coordinator

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// workerState keeps the rows as this worker saw them last, and the leases that it holds. It calls
// no store, and is safe for concurrent use.
type workerState struct {
	cfg      *Config
	clock    *trust.Clock
	log      *slog.Logger
	vanished holder.VanishedRows

	mu      sync.Mutex // guards the fields below
	rows    map[string]leases.Lease
	active  map[string]*holder.Holder // until the consumer has returned
	taking  map[string]bool           // leases that are being taken
	avoided map[string]*avoidance
	// unlistedWrites are this worker's latest writes to the owners of leases, by key.
	unlistedWrites map[string]unlistedWrite
	listErr        error // why the table could not be listed the last time
}

func newWorkerState(cfg *Config, clk *trust.Clock) *workerState {
	return &workerState{
		cfg: cfg, clock: clk, log: cfg.Logger,
		rows: map[string]leases.Lease{}, active: map[string]*holder.Holder{},
		taking: map[string]bool{}, avoided: map[string]*avoidance{}, unlistedWrites: map[string]unlistedWrite{},
	}
}

// avoidance keeps a worker away from a lease for a while. The worker refuses the lease, or gave it
// back although no worker had asked for it.
type avoidance struct {
	backoff *retry.Backoff
	until   time.Duration // monotonic
}

// listError returns why the table could not be listed the last time, or nil. See [Coordinator.Err].
func (ws *workerState) listError() error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.listErr
}

// lookup returns a row as last seen. The row of a lease that this worker holds is as last written.
// False means that there was no such row.
func (ws *workerState) lookup(key string) (leases.Lease, bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	l, ok := ws.rows[key]
	if h := ws.active[key]; h != nil {
		if mine := h.Lease(); !ok || mine.Counter >= l.Counter {
			return mine, true
		}
	}
	return l, ok
}

// allRows returns all rows as last seen, sorted by key, even those that Accept refuses.
func (ws *workerState) allRows() []leases.Lease {
	ws.mu.Lock()
	keys := slices.Sorted(maps.Keys(ws.rows))
	ws.mu.Unlock()
	list := make([]leases.Lease, 0, len(keys))
	for _, key := range keys {
		if l, ok := ws.lookup(key); ok {
			list = append(list, l)
		}
	}
	return list
}

// holderOf returns the holder of a lease that this worker has, or nil.
func (ws *workerState) holderOf(key string) *holder.Holder {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.active[key]
}

// storeNewer keeps rows that were read or written. It keeps a stored row that has a higher counter.
func (ws *workerState) storeNewer(rows ...leases.Lease) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, l := range rows {
		if stored, ok := ws.rows[l.Key]; !ok || l.Counter >= stored.Counter {
			ws.rows[l.Key] = l
		}
	}
}

// reserve reserves a lease for the caller to take. It returns false when this worker has the lease
// already or is taking it. So a lease never has two consumers.
func (ws *workerState) reserve(key string) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.active[key] != nil || ws.taking[key] {
		return false
	}
	ws.taking[key] = true
	return true
}

func (ws *workerState) unreserve(key string) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.taking, key)
}

// recordReturn keeps the last row of h, whose consumer has returned. If no worker had asked for the
// lease, this worker avoids the lease for a while. held is how long it had the lease.
func (ws *workerState) recordReturn(h *holder.Holder, held time.Duration) {
	l := h.Lease()
	ws.mu.Lock()
	if stored, ok := ws.rows[l.Key]; ok && l.Counter >= stored.Counter {
		ws.rows[l.Key] = l
	}
	ws.mu.Unlock()
	if h.ReturnedEarly() {
		ws.avoid(l.Key, held > time.Minute, time.Second, time.Minute)
	}
}

// avoid keeps this worker away from a lease, first for the time first, and longer with each call,
// up to the time longest. restart begins with first again.
func (ws *workerState) avoid(key string, restart bool, first, longest time.Duration) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	a := ws.avoided[key]
	if a == nil || restart {
		a = &avoidance{backoff: retry.New(first, longest)}
		ws.avoided[key] = a
	}
	a.until = ws.clock.Now().Mono + a.backoff.Next()
}

// countHeld sets the metric of the leases that the worker holds.
func (ws *workerState) countHeld() {
	ws.mu.Lock()
	n := 0
	for _, h := range ws.active {
		if !h.Ended() {
			n++
		}
	}
	ws.mu.Unlock()
	ws.cfg.Metrics.SetLeasesHeld(n)
}

// stopHolders asks all consumers to finish.
func (ws *workerState) stopHolders() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, h := range ws.active {
		h.Stop(true)
	}
}

// addHolder adds h, which holds the lease l.
func (ws *workerState) addHolder(l leases.Lease, h *holder.Holder) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.rows[l.Key], ws.active[l.Key] = l, h
	delete(ws.unlistedWrites, l.Key) // the holder knows later writes
}

// removeHolder removes h, whose consumer has returned.
func (ws *workerState) removeHolder(h *holder.Holder) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.active, h.Lease().Key)
}

// unreturnedKeys returns the keys of leases whose consumers have not returned, sorted.
func (ws *workerState) unreturnedKeys() []string {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return slices.Sorted(maps.Keys(ws.active))
}
