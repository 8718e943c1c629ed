package coordinator

import (
	"time"

	"github.com/kinesis-go/kcl"
)

// stop asks the consumer to finish, and arranges what happens when it does not.
// leaving says that the worker stops.
func (h *Holder) stop(leaving bool) {
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

func (h *Holder) isLeaving() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leaving
}

// finish ends the lease after the consumer: a finished shard's row stays as it
// is, any other is given back so that others can take it at once.
func (h *Holder) finish() {
	h.mu.Lock()
	row, lost := h.row, h.lost
	h.mu.Unlock()
	switch {
	case lost != "":
	case row.Finished():
		h.settle("finished")
	default:
		h.release()
	}
}

// settle notes that the lease ended as it should.
func (h *Holder) settle(reason string) {
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
func (h *Holder) lose(reason string) {
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
func (h *Holder) expire() {
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

func (h *Holder) remaining() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.remainingLocked()
}

// remainingLocked is for how long the worker may still trust its lease.
func (h *Holder) remainingLocked() time.Duration {
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
