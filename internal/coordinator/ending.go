package coordinator

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// held is a lease that this worker holds, and how the hold ends: whether it can be trusted,
// and what the consumer has been told. It writes nothing, and is safe for concurrent use.
type held struct {
	cfg   *Config
	clock clock
	log   *slog.Logger

	stopping chan struct{} // closed: the consumer shall finish
	abandon  chan struct{} // closed: wait for the consumer no longer

	ctx      context.Context //nolint:containedctx // of the consumer; it lives as long as the lease
	cancel   context.CancelCauseFunc
	io       context.Context //nolint:containedctx // of the calls to the store; ends with the lease
	cancelIO context.CancelCauseFunc

	mu       sync.Mutex // guards the fields below
	row      leases.Lease
	sent     instant // when the last accepted renewal was sent
	lost     string  // why the lease was lost, or empty
	over     bool    // the lease was given back, or finished
	asked    bool    // stopping is closed
	leaving  bool    // because the worker stops
	timers   []*time.Timer
	deadline *time.Timer
}

// newHeld returns a lease whose take was sent at the instant sent. watchDeadline is still
// to be called.
func newHeld(base context.Context, cfg *Config, clk clock, row leases.Lease, sent instant) *held {
	h := &held{
		cfg: cfg, clock: clk, log: cfg.Logger.With("shard", row.ShardID, "lease", row.Key),
		stopping: make(chan struct{}), abandon: make(chan struct{}), row: row, sent: sent,
	}
	// Neither ends because Run's context does: a consumer is asked to finish,
	// and its last writes must still be possible.
	h.ctx, h.cancel = context.WithCancelCause(base)
	h.io, h.cancelIO = context.WithCancelCause(base)
	return h
}

// watchDeadline ends the lease when it can be trusted no longer.
func (h *held) watchDeadline() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = time.AfterFunc(h.remainingLocked(), h.expire)
}

// stop asks the consumer to finish, and arranges what happens when it does not.
// leaving says that the worker stops.
func (h *held) stop(leaving bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return
	}
	if leaving && !h.leaving {
		h.leaving = true
		// Run returns then, so the store has no more time than that either.
		h.timers = append(h.timers, time.AfterFunc(h.cfg.ShutdownTimeout+abandonAfter, func() { h.cancelIO(kcl.ErrShutdownTimeout) }))
	}
	if !h.asked {
		h.asked = true
		close(h.stopping)
		h.timers = append(h.timers,
			time.AfterFunc(h.cfg.ShutdownTimeout, func() { h.cancel(kcl.ErrShutdownTimeout) }),
			time.AfterFunc(h.cfg.ShutdownTimeout+abandonAfter, func() { close(h.abandon) }),
		)
	}
}

func (h *Holder) hasReturned() bool {
	select {
	case <-h.consumed:
		return true
	default:
		return false
	}
}

func (h *held) isLeaving() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leaving
}

// endLease ends the lease after the consumer: a finished shard's row stays as it
// is, any other is given back so that others can take it at once.
func (h *writer) endLease() {
	h.mu.Lock()
	row, lost := h.row, h.lost
	h.mu.Unlock()
	switch {
	case lost != "":
	case row.Finished():
		h.noteEnd("finished")
	default:
		h.release()
	}
}

// noteEnd notes that the lease ended as it should.
func (h *held) noteEnd(reason string) {
	h.mu.Lock()
	settled := h.lost == "" && !h.over
	h.over = true
	h.mu.Unlock()
	if settled {
		h.cfg.Metrics.LeaseLost(reason)
		h.log.Info("lease ended", "reason", reason)
	}
}

// lose ends the lease at once; only the first call counts.
func (h *held) lose(reason string) {
	h.mu.Lock()
	first := h.lost == "" && !h.over
	if first {
		h.lost = reason
	}
	h.mu.Unlock()
	if !first {
		return
	}
	h.cancel(kcl.ErrLeaseLost)
	h.cancelIO(kcl.ErrLeaseLost)
	h.cfg.Metrics.LeaseLost(reason)
	h.log.Warn("lease lost", "reason", reason)
}

// expire is called by the deadline's timer.
func (h *held) expire() {
	h.mu.Lock()
	left := h.remainingLocked()
	if left > 0 { // renewed meanwhile
		h.deadline.Reset(left)
	}
	h.mu.Unlock()
	if left <= 0 {
		h.lose("expired")
	}
}

func (h *held) remaining() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.remainingLocked()
}

// remainingLocked is for how long the worker may still trust its lease.
func (h *held) remainingLocked() time.Duration {
	return h.cfg.trust() - h.clock.now().since(h.sent)
}

func (h *Holder) end() {
	h.mu.Lock()
	h.over = true
	h.deadline.Stop()
	for _, t := range h.timers {
		t.Stop()
	}
	h.mu.Unlock()
	close(h.ended)
	h.cancelIO(kcl.ErrLeaseLost)
	h.cancel(kcl.ErrLeaseLost)
}
