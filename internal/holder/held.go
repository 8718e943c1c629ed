package holder

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// held is a lease that this worker holds. It knows whether the lease can be trusted, and whether
// the consumer has been asked to finish. It makes no writes, and is safe for concurrent use.
type held struct {
	cfg   *Config
	clock trust.Clock
	log   *slog.Logger

	stopping  chan struct{} // closed when the consumer shall finish
	abandoned chan struct{} // closed when nobody waits for the consumer any longer

	ctx         context.Context //nolint:containedctx // of the consumer; it ends with the lease
	cancel      context.CancelCauseFunc
	storeCtx    context.Context //nolint:containedctx // of the calls to the store; ends with the lease
	cancelStore context.CancelCauseFunc

	mu          sync.Mutex // guards the fields below
	row         leases.Lease
	sent        trust.Instant // when the last accepted renewal was sent
	lossReason  string        // why the lease was lost, or empty
	closed      bool          // the lease was released, or its shard is finished
	stopAsked   bool          // stopping is closed
	workerStops bool          // the worker stops
	timers      []*time.Timer
	deadline    *time.Timer
}

// newHeld returns a lease whose take was sent at the instant sent. Call watchDeadline next.
func newHeld(base context.Context, cfg *Config, row leases.Lease, sent trust.Instant) *held {
	h := &held{
		cfg: cfg, clock: *cfg.Clock, log: cfg.Log.With("shard", row.ShardID, "lease", row.Key),
		stopping: make(chan struct{}), abandoned: make(chan struct{}), row: row, sent: sent,
	}
	// Neither context ends when the worker stops. A consumer is asked to finish, and must still be
	// able to write.
	h.ctx, h.cancel = context.WithCancelCause(base)
	h.storeCtx, h.cancelStore = context.WithCancelCause(base)
	return h
}

// Lease returns the row as this worker last wrote or read it.
func (h *held) Lease() leases.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.row
}

// Valid tells whether the worker may still trust its lease (I5, I6). Since the last accepted
// renewal was sent, less than 0.95 FailoverTime must have passed on both clocks. Ask before every
// delivery: a machine that was suspended notices here. Once false, Valid stays false, and the
// consumer's context ends.
func (h *held) Valid() bool {
	h.mu.Lock()
	valid := h.lossReason == "" && !h.closed
	late := h.remainingLocked() <= 0
	h.mu.Unlock()
	if valid && late {
		h.lose("expired")
	}
	return valid && !late
}

// Stopping is closed when the consumer shall finish, checkpoint and return. The reason is that the
// worker stops, or that another worker has asked for the lease.
func (h *held) Stopping() <-chan struct{} { return h.stopping }

// lastSent returns when the last accepted renewal was sent.
func (h *held) lastSent() trust.Instant {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent
}

// remaining returns how long the worker may still trust its lease.
func (h *held) remaining() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.remainingLocked()
}

// remainingLocked is remaining for callers that hold h.mu.
func (h *held) remainingLocked() time.Duration {
	return trust.Remaining(h.cfg.FailoverTime, h.sent, h.clock.Now())
}

// watchDeadline ends the lease when it can no longer be trusted.
func (h *held) watchDeadline() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deadline = time.AfterFunc(h.remainingLocked(), h.expire)
}

// expire ends a lease whose deadline has passed. The deadline's timer calls it.
func (h *held) expire() {
	h.mu.Lock()
	left := h.remainingLocked()
	if left > 0 { // the lease was renewed meanwhile
		h.deadline.Reset(left)
	}
	h.mu.Unlock()
	if left <= 0 {
		h.lose("expired")
	}
}

// Stop asks the consumer to finish, and does not wait. If the consumer does not return, timers
// cancel its context and then abandon it. If workerStops is set, the calls of the store end too.
func (h *held) Stop(workerStops bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	if workerStops && !h.workerStops {
		h.workerStops = true
		// The coordinator returns at that time, so calls of the store must end too.
		h.timers = append(h.timers,
			time.AfterFunc(h.cfg.ShutdownTimeout+AbandonAfter, func() { h.cancelStore(kcl.ErrShutdownTimeout) }))
	}
	if !h.stopAsked {
		h.stopAsked = true
		close(h.stopping)
		h.timers = append(h.timers,
			time.AfterFunc(h.cfg.ShutdownTimeout, func() { h.cancel(kcl.ErrShutdownTimeout) }),
			time.AfterFunc(h.cfg.ShutdownTimeout+AbandonAfter, func() { close(h.abandoned) }),
		)
	}
}

// workerStopping tells whether the worker stops.
func (h *held) workerStopping() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.workerStops
}

// endWithoutLoss ends the lease after its release, or after the end of its shard.
func (h *held) endWithoutLoss(reason string) {
	h.mu.Lock()
	first := h.lossReason == "" && !h.closed
	h.closed = true
	h.mu.Unlock()
	if first {
		h.cfg.Metrics.LeaseLost(reason)
		h.log.Info("lease ended", "reason", reason)
	}
}

// lose ends the lease at once, because it was lost. Only the first call counts.
func (h *held) lose(reason string) {
	h.mu.Lock()
	first := h.lossReason == "" && !h.closed
	if first {
		h.lossReason = reason
	}
	h.mu.Unlock()
	if !first {
		return
	}
	h.cancel(kcl.ErrLeaseLost)
	h.cancelStore(kcl.ErrLeaseLost)
	h.cfg.Metrics.LeaseLost(reason)
	h.log.Warn("lease lost", "reason", reason)
}

// callContext returns the context of one call to the store. It ends with ctx, the lease, or the
// deadline of a call.
func (h *held) callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	call, cancel := context.WithTimeout(h.storeCtx, min(trust.CallTimeout(h.cfg.FailoverTime), h.remaining()))
	stop := context.AfterFunc(ctx, cancel)
	return call, func() { stop(); cancel() }
}

// pause waits before the next attempt, unless ctx or the lease ends.
func (h *held) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-h.storeCtx.Done():
		return kcl.ErrLeaseLost
	case <-ctx.Done():
		if h.storeCtx.Err() != nil {
			return kcl.ErrLeaseLost
		}
		return context.Cause(ctx)
	}
}
