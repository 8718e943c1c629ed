package holder

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// Holder is one lease that this worker holds. A goroutine of its own, in Run, renews the lease,
// whatever the consumer does. It also makes all other writes to the row, so that they never race
// for the counter. The methods are safe for concurrent use.
type Holder struct {
	*writer
	requests chan request
	changed  chan struct{} // holds one; another writer has changed the row
	ended    chan struct{} // closed when nothing is written any more
	returned chan struct{} // closed when the consumer has returned
}

// New returns a Holder for a lease that was just taken. It does not run yet. row is the row after
// the take, and sent is when the take was sent. base gives its values to the consumer's context,
// and must not end.
func New(base context.Context, cfg *Config, row leases.Lease, sent trust.Instant) *Holder {
	h := &Holder{
		writer:   newWriter(newHeld(base, cfg, row, sent)),
		requests: make(chan request), changed: make(chan struct{}, 1),
		ended: make(chan struct{}), returned: make(chan struct{}),
	}
	h.watchDeadline()
	return h
}

// Delivered counts bytes that the record processor was given. The lease's throughput is computed
// from them. It is a moving average, and the renewals write it. Leases can be balanced by it, see
// [leases.Balance]. Until the first call, even with 0, the row's throughput stays as it is. It
// matches LeaseStatsRecorder.
func (h *Holder) Delivered(bytes int) { h.meter.add(bytes) }

// Run is the holder's goroutine, and may be called once. It starts the consumer, and renews and
// writes until the consumer has returned or is abandoned. Then it ends the lease.
func (h *Holder) Run() {
	defer h.end()
	// Ends when Consume returns. Run waits for it, unless it is abandoned.
	go func() {
		defer close(h.returned)
		h.cfg.Consume(h.ctx, h)
	}()
	timer := time.NewTimer(h.renewWait())
	defer timer.Stop()
	for {
		select {
		case <-h.returned:
			h.endLease()
			return
		case <-h.abandoned:
			h.log.Error("record processor did not return in time and is abandoned")
			if !h.workerStopping() {
				h.endLease() // others wait for the lease
			}
			return
		case <-h.storeCtx.Done(): // the lease is lost, and nothing is written any more
			select {
			case <-h.returned:
			case <-h.abandoned:
				h.log.Error("record processor did not return in time and is abandoned")
			}
			return
		case r := <-h.requests:
			if !h.serve(r) {
				continue // nothing was written, so the time of the renewal stays
			}
		case <-h.changed:
			h.renew()
		case <-timer.C:
			select {
			case r := <-h.requests:
				if !h.serve(r) {
					h.renew()
				}
			default:
				h.renew()
			}
		}
		timer.Reset(h.renewWait())
	}
}

// renewWait returns the time until the next renewal, counted from when the last one was sent. It is
// a little less than RenewInterval, so that the renewals of a worker spread out. When the renewal
// is late, because the table fails, it is the wait of the backoff.
func (h *Holder) renewWait() time.Duration {
	every := h.cfg.RenewInterval - chance.N(h.cfg.RenewInterval/10+1, "renew", h.cfg.WorkerID)
	if wait := every - h.clock.Now().Since(h.lastSent()); wait > 0 {
		return wait
	}
	return h.backoff.Next()
}

// end stops the timers and cancels all contexts after the holder's goroutine has done its work.
func (h *Holder) end() {
	h.mu.Lock()
	h.closed = true
	h.deadline.Stop()
	for _, t := range h.timers {
		t.Stop()
	}
	h.mu.Unlock()
	close(h.ended)
	h.cancelStore(kcl.ErrLeaseLost)
	h.cancel(kcl.ErrLeaseLost)
}

// RowChanged tells the holder that another writer has changed its row. The holder renews at once,
// to find out what that means. RowChanged does not block.
func (h *Holder) RowChanged() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// Returned is closed when the consumer has returned.
func (h *Holder) Returned() <-chan struct{} { return h.returned }

// Ended tells whether the holder has stopped to write to its row. The lease was lost or has ended,
// or the worker has not stopped in time.
func (h *Holder) Ended() bool { return h.storeCtx.Err() != nil }

// ReturnedEarly tells, after Run has returned, whether the consumer returned although nobody had
// asked for that. A lease that was lost and a finished shard are good reasons to return.
func (h *Holder) ReturnedEarly() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lossReason == "" && !h.stopAsked && !h.row.Finished()
}
