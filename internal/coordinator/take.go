package coordinator

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// runAction carries out one action. It returns the row after the action; nil when it is not known.
func (t *table) runAction(ctx context.Context, a plan.Action) *leases.Lease {
	switch a.Verb {
	case plan.Take:
		return t.take(ctx, a)
	case plan.Ask:
		return t.ask(a)
	case plan.Mend:
		return t.removeHandover(a)
	default:
		return t.completeHandover(a)
	}
}

// takeAttempts bounds the takes of one lease in a round. The next scan tries again.
const takeAttempts = 3

// formerOwner returns the worker that has read l last. The row of a completed hand-over names this
// worker alone. The arrival still has the owner of before.
func (t *table) formerOwner(l leases.Lease) string {
	if owner := l.ActualOwner(); owner != t.cfg.WorkerID {
		return owner
	}
	return t.arrivals.owner(l.Key)
}

// take makes this worker the owner of a row, if its counter and owners are unchanged, and starts a
// consumer.
func (t *table) take(ctx context.Context, a plan.Action) *leases.Lease {
	if !t.reserve(a.Row.Key) {
		return nil
	}
	defer t.unreserve(a.Row.Key)
	former := t.formerOwner(a.Row)
	for range takeAttempts {
		write := TakeUpdate(a.Row, t.cfg.WorkerID)
		sent := t.clock.Now()
		row, accepted := t.update(t.writeCtx, write)
		outcome := JudgeTake(write, row, accepted)
		switch {
		case outcome == NotTaken:
			return row
		case ctx.Err() != nil: // this worker was stopped meanwhile
			t.withdraw(*row)
			return row
		case outcome == TakenNow:
			if t.clock.Now().Since(sent) < trust.Window(t.cfg.FailoverTime) {
				t.startHolder(*row, sent, a.Reason, former)
			}
			return row
		}
		// An uncertain take is no take, see JudgeTake. The row says that the lease is this worker's,
		// so this worker may take it once more.
		a.Row = *row
	}
	return &a.Row
}

// ask makes this worker the next owner of a lease. The counter stays as it is, because the owner
// goes on renewing. The owner finishes its work, checkpoints, and completes the hand-over.
// watchArrivals waits for the end of the hand-over.
func (t *table) ask(a plan.Action) *leases.Lease {
	write := AskUpdate(a.Row, t.cfg.WorkerID)
	row, accepted := t.update(t.writeCtx, write)
	if accepted || (row != nil && row.Same(holder.HandoverAttrs, write.To)) {
		t.arrivals.add(*row)
		t.log.Info("lease asked for", "shard", row.ShardID, "lease", row.Key, "lease_owner", row.CheckpointOwner)
	}
	return row
}

// completeHandover completes the hand-over of a lease for which this worker has no consumer any
// more. So the next owner can take the lease before it expires.
func (t *table) completeHandover(a plan.Action) *leases.Lease {
	row, _ := t.update(t.writeCtx, CompleteUpdate(a.Row))
	return row
}

// removeHandover removes the hand-over from a row whose lease a worker of KCL 1.x or 2.x took. That
// worker reads the shard. The counter stays as it is, so that the worker's renewals still succeed.
func (t *table) removeHandover(a plan.Action) *leases.Lease {
	row, ok := t.update(t.writeCtx, leases.Update{
		Read: a.Row, Expect: holder.HandoverAttrs,
		To: withoutHandover(a.Row), Set: leases.AttrCheckpointOwner | leases.AttrHandoverTo,
	})
	if ok {
		t.log.Info("lease was taken by another library while it was handed over",
			"shard", row.ShardID, "lease", row.Key, "lease_owner", row.Owner, "former_owner", a.Row.CheckpointOwner)
	}
	return row
}

// update sends one conditional write, once. It returns the row as it is afterwards, nil when it is
// not known, and whether this write was accepted. A conflict is no failure. When the answer is
// lost, update reads the row. A row with the wanted values does not tell which write set them, or
// when. A stop must not end ctx, or the lease would be left to expire.
func (t *table) update(ctx context.Context, u leases.Update) (row *leases.Lease, accepted bool) {
	call, cancel := context.WithTimeout(ctx, t.rowTimeout())
	defer cancel()
	begun := time.Now()
	err := t.cfg.Store.Update(call, u)
	t.tempo.recordWrite(time.Since(begun), err != nil && call.Err() != nil)
	if err == nil {
		to := u.Read.With(u.Set, u.To)
		t.recordUnlisted(u, to, u.Expect&leases.AttrCounter != 0)
		return &to, true
	}
	if conflict, ok := errors.AsType[*leases.ConflictError](err); ok {
		if conflict.Current != nil {
			t.recordUnlisted(u, *conflict.Current, true)
		}
		return conflict.Current, false
	}
	t.cfg.Metrics.LeaseStoreError("update")
	t.log.Warn("lease write failed, reading the row", "lease", u.Read.Key, "err", err)
	current, err := t.getRow(ctx, u.Read.Key)
	if err != nil {
		return nil, false // the next scan reads the row
	}
	t.recordUnlisted(u, current, true)
	return &current, false
}

// giveBack removes this worker from a row whose lease has no consumer here.
func (t *table) giveBack(l leases.Lease) (current *leases.Lease, accepted bool) {
	to := l
	to.Owner = ""
	to.Counter++
	return t.update(t.writeCtx, leases.Update{
		Read: l, Expect: leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter,
		To: to, Set: leases.AttrOwner | leases.AttrCounter,
	})
}

// withdrawAll withdraws the requests of this worker. It gives back a lease that is this worker's
// already.
func (t *table) withdrawAll() {
	asked := t.arrivals.copyRows()
	t.mu.Lock()
	for key, l := range t.rows {
		if l.Owner == t.cfg.WorkerID && !l.Finished() {
			asked[key] = l
		}
	}
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(asked)), func(key string) bool { return t.active[key] != nil })
	t.mu.Unlock()
	parallel.Do(len(keys), maxParallel, func(i int) {
		if l, err := t.getRow(t.writeCtx, keys[i]); err == nil {
			t.withdraw(l)
		}
	})
}

// withdraw removes this worker from a row whose lease has no consumer here. The owner may complete
// the hand-over between the read and the write:
//
//	this worker                          owner
//	reads: being handed over
//	                                     completes: now this worker's
//	takes its request back: conflict
//
// Nobody would renew the lease then. So after a conflict withdraw tries again with the row that the
// conflict shows.
func (t *table) withdraw(l leases.Lease) {
	for range takeAttempts {
		var current *leases.Lease
		var accepted bool
		switch {
		case l.Finished():
			return
		case l.Owner != t.cfg.WorkerID:
			if l.ActualOwner() == t.cfg.WorkerID { // another worker has asked for it
				t.completeHandover(plan.Action{Row: l})
			}
			return
		case l.CheckpointOwner == "":
			current, accepted = t.giveBack(l)
		default:
			to := withoutHandover(l)
			to.Owner = l.CheckpointOwner
			current, accepted = t.update(t.writeCtx,
				leases.Update{Read: l, Expect: holder.HandoverAttrs, To: to, Set: holder.HandoverAttrs})
		}
		if accepted || current == nil {
			return
		}
		l = *current
	}
}
