package coordinator

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// table is the lease table as this worker uses it. It makes each call of the store with a deadline.
// It has the verbs that every assignment needs, in this file, in take.go and in arrivals.go.
type table struct {
	*workerState
	nudge        func() // asks for a scan soon
	tempo        tempo
	holderConfig *holder.Config // of all holders
	wg           sync.WaitGroup // the holders' goroutines

	// holderCtx has the values of Run's context, and does not end. Run sets it.
	holderCtx context.Context //nolint:containedctx // a holder outlives the call that makes it
	// writeCtx is the context of writes after a stop. It ends with the time that a stop may take, long
	// after Run's own.
	writeCtx context.Context //nolint:containedctx // of Run

	arrivals      arrivals
	asksPostponed atomic.Bool // limitAsks has removed requests
	roundCutShort bool        // the last round ran out of time; of Run's goroutine
}

func newTable(ws *workerState, nudge func()) *table {
	return &table{
		workerState: ws, nudge: nudge, tempo: tempo{failover: ws.cfg.FailoverTime}, arrivals: newArrivals(),
		holderConfig: &holder.Config{
			Store: ws.cfg.Store, WorkerID: ws.cfg.WorkerID, FailoverTime: ws.cfg.FailoverTime,
			RenewInterval: ws.cfg.RenewInterval, ShutdownTimeout: ws.cfg.ShutdownTimeout,
			Accept: ws.cfg.Accept, Consume: ws.cfg.Consume, Clock: ws.clock, Log: ws.log,
			Metrics: ws.cfg.Metrics, Vanished: &ws.vanished,
		},
	}
}

// startHolder runs a holder for a lease that was just taken. former is the worker that had it, or
// empty.
func (t *table) startHolder(l leases.Lease, sent trust.Instant, reason, former string) {
	h := holder.New(t.holderCtx, t.holderConfig, l, sent)
	t.addHolder(l, h)
	t.cfg.Metrics.LeaseTaken(reason)
	t.log.Info("lease taken", "shard", l.ShardID, "lease", l.Key,
		"reason", reason, "former_owner", former, "checkpoint", l.Checkpoint)
	begun := t.clock.Now().Mono
	t.wg.Go(func() { // ends with the lease and its consumer, or when the consumer is abandoned
		h.Run()
		t.recordReturn(h, t.clock.Now().Mono-begun)
		select {
		case <-h.Returned():
			t.removeReturned(h)
		default:
			// Ends when the abandoned consumer returns, which may be never. Until then this worker
			// must not read the shard a second time.
			go func() {
				<-h.Returned()
				t.removeReturned(h)
			}()
		}
	})
}

// removeReturned removes h, whose consumer has returned, and asks for a scan.
func (t *table) removeReturned(h *holder.Holder) {
	t.removeHolder(h)
	t.countHeld()
	t.nudge()
}

// runPlans carries out plans until nothing is left to do, or the round has lasted long enough.
// After a failed action it plans anew. The conflict shows a worker that was not seen before, or a
// lease that another worker holds already. Otherwise it carries out the rest of the plan. With many
// leases, planning takes longer than some writes.
func (t *table) runPlans(ctx context.Context, v *plan.View, decide func(plan.View) []plan.Action) {
	t.roundCutShort = false
	var remaining []plan.Action
	for begun := t.clock.Now().Mono; ctx.Err() == nil; {
		if len(remaining) == 0 {
			remaining = decide(*v)
		}
		if remaining = t.limitAsks(remaining); len(remaining) == 0 {
			return
		}
		if t.clock.Now().Mono-begun >= t.cfg.roundTime() {
			t.roundCutShort = true
			return
		}
		actions := remaining[:min(len(remaining), maxParallel)]
		remaining = remaining[len(actions):]
		rowsAfter := make([]*leases.Lease, len(actions))
		parallel.Do(len(actions), maxParallel, func(i int) { rowsAfter[i] = t.runAction(ctx, actions[i]) })
		for i, a := range actions {
			r := v.Row(a.Row.Key)
			r.Busy = true // one action for each row in a round
			if rowsAfter[i] != nil {
				r.Lease, r.Expired, r.Quiet = *rowsAfter[i], false, false
			}
			if !a.Done(rowsAfter[i], v.Me) {
				remaining = nil
			}
			if a.Reason == "balance" && v.Asks > 0 && (rowsAfter[i] == nil || rowsAfter[i].Owner == v.Me) {
				v.Asks--
			}
		}
	}
}

// limitAsks removes requests from actions while too many leases are being handed over to this
// worker.
func (t *table) limitAsks(actions []plan.Action) []plan.Action {
	room := t.maxArrivals() - t.arrivals.count()
	return slices.DeleteFunc(actions, func(a plan.Action) bool {
		if a.Verb != plan.Ask {
			return false
		}
		room--
		if room < 0 {
			t.asksPostponed.Store(true)
		}
		return room < 0
	})
}

// getRows reads the rows of keys. It leaves out those that cannot be read now; the next scan reads
// them.
func (t *table) getRows(ctx context.Context, keys []string) []leases.Lease {
	rows := make([]leases.Lease, len(keys))
	parallel.Do(len(keys), maxParallel, func(i int) {
		if l, err := t.getRow(ctx, keys[i]); err == nil {
			rows[i] = l
		}
	})
	return slices.DeleteFunc(rows, func(l leases.Lease) bool { return l.Key == "" })
}

// getRow reads one row.
func (t *table) getRow(ctx context.Context, key string) (leases.Lease, error) {
	call, cancel := context.WithTimeout(ctx, t.rowTimeout())
	defer cancel()
	l, err := t.cfg.Store.Get(call, key)
	if err != nil && !errors.Is(err, leases.ErrNotFound) && ctx.Err() == nil {
		t.cfg.Metrics.LeaseStoreError("get")
	}
	return l, err
}

// rowTimeout returns the deadline of a call for one row, within the time that a stop may take.
func (t *table) rowTimeout() time.Duration {
	return min(trust.CallTimeout(t.cfg.FailoverTime), t.cfg.ShutdownTimeout)
}
