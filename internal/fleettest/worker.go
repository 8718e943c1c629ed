package fleettest

import (
	"context"
	"strconv"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

// Worker is one worker of a Fleet.
type Worker struct {
	ID          string
	Coordinator *coordinator.Coordinator
	// Faults are the faults of this worker's view of the table.
	Faults *leasefault.Injector
	// Done is closed when Run of the Coordinator has returned Err.
	Done chan struct{}
	Err  error

	f      *Fleet
	cancel context.CancelFunc
	killed bool // guarded by f.mu
}

// Run starts a worker that Prepare has made.
func (w *Worker) Run() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { // ends when Run does; Stop waits for it
		defer close(w.Done)
		w.Err = w.Coordinator.Run(ctx)
	}()
}

// Cancel asks the worker to stop gracefully, and does not wait.
func (w *Worker) Cancel() { w.cancel() }

// Stop stops the worker gracefully, and waits until it has stopped.
func (w *Worker) Stop() {
	w.cancel()
	<-w.Done
}

// Kill ends the process of the worker without warning, as far as others can tell.
func (w *Worker) Kill() {
	// The table first: a record that no longer counts must not be checkpointed.
	w.Faults.SetFault(leasefault.Silent)
	w.f.cutOff(w.ID)
	w.f.mu.Lock()
	w.killed = true
	w.f.mu.Unlock()
}

// consume is a consumer that keeps all rules of the scheduler.
func (w *Worker) consume(ctx context.Context, h *holder.Holder) {
	key := h.Lease().Key
	at := w.Begin(h)
	defer w.End(key)
	tick := time.NewTicker(w.f.Period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.Stopping():
			if at > 0 {
				w.checkpointed(key, h.Checkpoint(ctx, Number(at)))
			}
			return
		case <-tick.C:
			if isClosed(h.Stopping()) {
				continue // when both are ready, stopping goes first
			}
		}
		if !h.Valid() {
			return
		}
		at++
		w.Deliver(key, at)
		err := h.Checkpoint(ctx, Number(at))
		w.Acknowledged(key, at, err)
		if err != nil {
			w.checkpointed(key, err)
			return
		}
	}
}

// Number is the sequence number of record n.
func Number(n int) kcl.ExtendedSequenceNumber {
	return kcl.ExtendedSequenceNumber{SequenceNumber: strconv.Itoa(n)}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
