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

// known keeps what this worker knows: the rows as seen last, and the leases that it holds. It calls
// no store, and is safe for concurrent use.
type known struct {
	cfg      *Config
	clock    *trust.Clock
	log      *slog.Logger
	vanished holder.VanishedRows

	mu      sync.Mutex // guards the fields below
	rows    map[string]leases.Lease
	active  map[string]*holder.Holder // until the consumer has returned
	taking  map[string]bool           // leases that are being taken
	avoided map[string]*avoidance
	// unlisted are this worker's latest writes, by key.
	unlisted map[string]unlisted
	err      error // why the table could not be listed the last time
}

func newKnown(cfg *Config, clk *trust.Clock) *known {
	return &known{
		cfg: cfg, clock: clk, log: cfg.Logger,
		rows: map[string]leases.Lease{}, active: map[string]*holder.Holder{},
		taking: map[string]bool{}, avoided: map[string]*avoidance{}, unlisted: map[string]unlisted{},
	}
}

// avoidance keeps a worker away from a lease that it gave back although nobody had asked for it,
// or that it refuses.
type avoidance struct {
	backoff *retry.Backoff
	until   time.Duration // monotonic
}

// lastErr returns why the table could not be listed the last time, or nil. See [Coordinator.Err].
func (k *known) lastErr() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// lookup returns a row as last seen. The row of a lease that this worker holds is as last written.
// False means that there was no such row.
func (k *known) lookup(key string) (leases.Lease, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.rows[key]
	if h := k.active[key]; h != nil {
		if mine := h.Lease(); !ok || mine.Counter >= l.Counter {
			return mine, true
		}
	}
	return l, ok
}

// all returns all rows as last seen, sorted by key, even those that Accept refuses.
func (k *known) all() []leases.Lease {
	k.mu.Lock()
	keys := slices.Sorted(maps.Keys(k.rows))
	k.mu.Unlock()
	list := make([]leases.Lease, 0, len(keys))
	for _, key := range keys {
		if l, ok := k.lookup(key); ok {
			list = append(list, l)
		}
	}
	return list
}

// holder returns the holder of a lease that this worker has, or nil.
func (k *known) holder(key string) *holder.Holder {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.active[key]
}

// learn keeps rows that were read or written, unless a later state is known.
func (k *known) learn(rows ...leases.Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range rows {
		if known, ok := k.rows[l.Key]; !ok || l.Counter >= known.Counter {
			k.rows[l.Key] = l
		}
	}
}

// reserve reserves a lease for the caller to take. It fails when this worker has the lease already
// or is taking it, so that a lease never has two consumers.
func (k *known) reserve(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.active[key] != nil || k.taking[key] {
		return false
	}
	k.taking[key] = true
	return true
}

func (k *known) unreserve(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.taking, key)
}

// noteReturn keeps the holder's last row. If the consumer returned although nobody had asked for
// the lease, the worker avoids the lease for a while.
func (k *known) noteReturn(h *holder.Holder, held time.Duration) {
	l := h.Lease()
	k.mu.Lock()
	if known, ok := k.rows[l.Key]; ok && l.Counter >= known.Counter {
		k.rows[l.Key] = l
	}
	k.mu.Unlock()
	if h.ReturnedEarly() {
		k.avoid(l.Key, held > time.Minute, time.Second, time.Minute)
	}
}

// avoid keeps this worker away from a lease, for about first, and for longer with each time, up to
// about most. anew begins with first again.
func (k *known) avoid(key string, anew bool, first, most time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.avoided[key]
	if a == nil || anew {
		a = &avoidance{backoff: retry.New(first, most)}
		k.avoided[key] = a
	}
	a.until = k.clock.Now().Mono + a.backoff.Next()
}

// countHeld sets the metric of the leases that the worker holds.
func (k *known) countHeld() {
	k.mu.Lock()
	n := 0
	for _, h := range k.active {
		if !h.Ended() {
			n++
		}
	}
	k.mu.Unlock()
	k.cfg.Metrics.SetLeasesHeld(n)
}

// stopHolders asks all consumers to finish.
func (k *known) stopHolders() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, h := range k.active {
		h.Stop(true)
	}
}

// add notes that h holds the lease l.
func (k *known) add(l leases.Lease, h *holder.Holder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rows[l.Key], k.active[l.Key] = l, h
	delete(k.unlisted, l.Key) // the holder knows later writes
}

// remove notes that the consumer of h has returned.
func (k *known) remove(h *holder.Holder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.active, h.Lease().Key)
}

// unreturned returns the keys of leases whose consumers have not returned, sorted.
func (k *known) unreturned() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.active))
}
