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

// table is the lease table as this worker uses it: each call of the store with its deadline, and
// the verbs that every assignment needs. They are in this file, in take.go and in arrivals.go.
type table struct {
	*known
	nudge   func() // asks for a scan soon
	tempo   tempo
	holding *holder.Config // of all holders
	wg      sync.WaitGroup // the holders' goroutines

	// base has the values of Run's context, and does not end. Run sets it.
	base context.Context //nolint:containedctx // a holder outlives the call that makes it
	// last is the context of writes after a stop. It ends with the time that a stop may take, long
	// after Run's own.
	last context.Context //nolint:containedctx // of Run

	arrivals arrivals
	asksLeft atomic.Bool // requests were left out, because enough leases are being handed over
	cutShort bool        // the last round ran out of time; of Run's goroutine
}

func newTable(k *known, nudge func()) *table {
	return &table{
		known: k, nudge: nudge, tempo: tempo{failover: k.cfg.FailoverTime}, arrivals: newArrivals(),
		holding: &holder.Config{
			Store: k.cfg.Store, WorkerID: k.cfg.WorkerID, FailoverTime: k.cfg.FailoverTime,
			RenewInterval: k.cfg.RenewInterval, ShutdownTimeout: k.cfg.ShutdownTimeout,
			Accept: k.cfg.Accept, Consume: k.cfg.Consume, Clock: k.clock, Log: k.log,
			Metrics: k.cfg.Metrics, Vanished: &k.vanished,
		},
	}
}

// start runs a holder for a lease that was just taken. former is the worker that had it, or empty.
func (t *table) start(l leases.Lease, sent trust.Instant, reason, former string) {
	h := holder.New(t.base, t.holding, l, sent)
	t.add(l, h)
	t.cfg.Metrics.LeaseTaken(reason)
	t.log.Info("lease taken", "shard", l.ShardID, "lease", l.Key,
		"reason", reason, "former_owner", former, "checkpoint", l.Checkpoint)
	begun := t.clock.Now().Mono
	t.wg.Go(func() { // ends with the lease and its consumer, or when the consumer is abandoned
		h.Run()
		t.noteReturn(h, t.clock.Now().Mono-begun)
		select {
		case <-h.Returned():
			t.forget(h)
		default:
			// Ends when the abandoned consumer returns, which may be never. Until then this worker
			// must not read the shard a second time.
			go func() {
				<-h.Returned()
				t.forget(h)
			}()
		}
	})
}

// forget notes that the consumer of h has returned.
func (t *table) forget(h *holder.Holder) {
	t.remove(h)
	t.countHeld()
	t.nudge()
}

// act carries out plans until nothing is left to do, or the round has lasted long enough. After a
// surprise it plans anew: a conflict shows a worker that was not known before, or a lease that is
// held already. Without a surprise the rest of the plan stands. With many leases, planning takes
// longer than some writes.
func (t *table) act(ctx context.Context, v *plan.View, decide func(plan.View) []plan.Action) {
	t.cutShort = false
	var left []plan.Action
	for begun := t.clock.Now().Mono; ctx.Err() == nil; {
		if len(left) == 0 {
			left = decide(*v)
		}
		if left = t.affordable(left); len(left) == 0 {
			return
		}
		if t.clock.Now().Mono-begun >= t.cfg.roundTime() {
			t.cutShort = true
			return
		}
		actions := left[:min(len(left), maxParallel)]
		left = left[len(actions):]
		known := make([]*leases.Lease, len(actions))
		parallel.Do(len(actions), maxParallel, func(i int) { known[i] = t.do(ctx, actions[i]) })
		for i, a := range actions {
			r := v.Row(a.Row.Key)
			r.Busy = true // one action for each row in a round
			if known[i] != nil {
				r.Lease, r.Expired, r.Quiet = *known[i], false, false
			}
			if !a.Done(known[i], v.Me) {
				left = nil
			}
			if a.Reason == "balance" && v.Asks > 0 && (known[i] == nil || known[i].Owner == v.Me) {
				v.Asks--
			}
		}
	}
}

// affordable leaves out requests while too many leases are being handed over to this worker.
func (t *table) affordable(actions []plan.Action) []plan.Action {
	room := t.maxArrivals() - t.arrivals.count()
	return slices.DeleteFunc(actions, func(a plan.Action) bool {
		if a.Verb != plan.Ask {
			return false
		}
		room--
		if room < 0 {
			t.asksLeft.Store(true)
		}
		return room < 0
	})
}

// getAll reads the rows of keys. It leaves out those that cannot be read now; the next scan reads
// them.
func (t *table) getAll(ctx context.Context, keys []string) []leases.Lease {
	rows := make([]leases.Lease, len(keys))
	parallel.Do(len(keys), maxParallel, func(i int) {
		if l, err := t.get(ctx, keys[i]); err == nil {
			rows[i] = l
		}
	})
	return slices.DeleteFunc(rows, func(l leases.Lease) bool { return l.Key == "" })
}

// get reads one row.
func (t *table) get(ctx context.Context, key string) (leases.Lease, error) {
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
