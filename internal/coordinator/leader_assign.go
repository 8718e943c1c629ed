package coordinator

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// assign assigns leases to workers. It returns an error if no planned assignment succeeded.
func (d *leaderWork) assign(ctx context.Context, v *plan.View) error {
	// Every worker watches the hand-overs, so that a new leader knows their age.
	overdue := d.handovers.Overdue(d.listedAt, d.handoverLimit)
	balance, newcomers := d.balanceDue()
	byCount := d.cfg.AssignmentStrategy == leases.AssignByLeaseCount
	balance = balance && (newcomers || v.Calm || byCount)
	f := kcl3.View{
		Workers: d.unsuspected(), Balance: balance, Throughputs: map[string]float64{}, Variances: map[string]float64{},
		Config: kcl3.DefaultConfig(), Rand: chance.Rand("assign", d.cfg.WorkerID),
	}
	f.Config.MaxLeases, f.Config.MaxThroughput = d.cfg.MaxLeasesForWorker, d.cfg.MaxThroughputKBps
	f.Config.ByCount, f.Config.Certain = byCount, !newcomers
	if newcomers {
		f.Config.Dampening = 1 + 1e-6 // a new worker gets its whole share at once
	}
	for _, r := range v.Rows {
		f.Leases = append(f.Leases, kcl3.Row{
			Lease: r.Lease, Expired: r.Expired, Overdue: overdue[r.Key], Since: d.sightings[r.Key].Since,
		})
		f.Throughputs[r.Key], f.Variances[r.Key] = r.KBps, r.Variance
	}
	moves, spillover := kcl3.Assign(f)
	d.cfg.Metrics.SetLeasesUnassigned(spillover)
	if spillover > 0 && !d.spilloverLogged {
		d.log.Warn("no worker has room for some leases: start more workers, or raise MaxLeasesForWorker",
			"leases", spillover, "workers", len(d.active))
	}
	d.spilloverLogged = spillover > 0
	moves = d.reassignFailed(f, moves, v)

	rowsAfter := make([]*leases.Lease, len(moves))
	var assigned, postponed atomic.Int64
	begun := d.clock.Now().Mono
	parallel.Do(len(moves), maxParallel, func(i int) {
		if d.clock.Now().Mono-begun >= d.cfg.roundTime() {
			postponed.Add(1)
			return // the next round assigns it
		}
		row, ok := d.carryOut(ctx, moves[i], overdue[moves[i].Lease.Key])
		rowsAfter[i] = row
		if ok {
			assigned.Add(1)
		}
	})
	d.roundCutShort = d.roundCutShort || postponed.Load() > 0
	for i, m := range moves {
		if r := v.Row(m.Lease.Key); rowsAfter[i] != nil {
			r.Lease, r.Expired, r.Quiet = *rowsAfter[i], false, false
		}
	}
	if len(moves) == 0 {
		return nil
	}
	d.log.Info("leader has assigned leases",
		"leases", assigned.Load(), "of", len(moves), "workers", len(d.active), "balance", f.Balance)
	if assigned.Load() == 0 {
		return errors.New("no lease could be assigned")
	}
	return nil
}

// handoverLimit returns how long an owner may hand over a lease, by the time that it reports.
func (d *leaderWork) handoverLimit(owner string) time.Duration {
	var reported time.Duration
	for _, m := range d.workers {
		if m.Worker == owner {
			reported = max(reported, m.Handover)
		}
	}
	return d.cfg.handoverLimit(reported)
}

// balanceDue tells whether leases may move to even out the load. due is true at every few
// assignments, as the KCL counts them, and when there are newcomers. newcomers says that a worker
// is active that was not active when the load was evened out last.
func (d *leaderWork) balanceDue() (due, newcomers bool) {
	now, failover := d.clock.Now().Mono, d.cfg.FailoverTime
	newcomers = slices.ContainsFunc(d.active, func(m leases.WorkerMetrics) bool { return !d.balancedWith[m.Worker] })
	watched := now - d.unbrokenSince
	switch {
	case newcomers && watched > trust.Respect(failover) && now-d.cadenceAskedAt >= failover/2:
		d.cadence = kcl3.Cadence{}
	case now-d.cadenceAskedAt < 2*failover:
		return false, false
	}
	d.cadenceAskedAt = now
	if !d.cadence.MayBalance(watched, trust.Respect(failover)) {
		return false, false
	}
	d.balancedWith = map[string]bool{}
	for _, m := range d.active {
		d.balancedWith[m.Worker] = true
	}
	return true, newcomers
}

// reassignFailed finds other workers for leases that this worker could not keep. It returns moves
// with those of such leases replaced.
func (d *leaderWork) reassignFailed(f kcl3.View, moves []kcl3.Move, v *plan.View) []kcl3.Move {
	me := d.cfg.WorkerID
	busy := map[string]bool{}
	for _, r := range v.Rows {
		busy[r.Key] = r.Busy
	}
	failedHere := func(m kcl3.Move) bool { return m.To == me && !m.Graceful && busy[m.Lease.Key] }
	failed := map[string]bool{}
	for _, m := range moves {
		failed[m.Lease.Key] = failedHere(m)
	}
	f.Workers = slices.DeleteFunc(slices.Clone(f.Workers), func(m leases.WorkerMetrics) bool { return m.Worker == me })
	f.Leases = slices.DeleteFunc(slices.Clone(f.Leases), func(l kcl3.Row) bool { return !failed[l.Key] })
	f.Balance = false
	moves = slices.DeleteFunc(moves, failedHere)
	if len(f.Leases) == 0 {
		return moves
	}
	others, _ := kcl3.Assign(f)
	return append(moves, others...)
}

// carryOut carries out one move. It returns the row after the move, nil when it is not known, and
// whether the lease is assigned.
func (d *leaderWork) carryOut(ctx context.Context, m kcl3.Move, overdue bool) (*leases.Lease, bool) {
	if term, ok := d.elector.Leads(); !ok || term != d.term || ctx.Err() != nil {
		return nil, false
	}
	if m.Graceful {
		// The counter stays as it is, because the owner goes on renewing.
		to := withHandover(m.Lease, m.To)
		row, accepted := d.update(ctx, leases.Update{
			Read: m.Lease, Expect: leases.AttrOwner | leases.AttrCheckpointOwner,
			To: to, Set: holder.HandoverAttrs,
		})
		return row, accepted || (row != nil && row.Same(holder.HandoverAttrs, to))
	}
	if m.To == d.cfg.WorkerID && !overdue {
		row := d.take(ctx, plan.Action{Verb: plan.Take, Row: m.Lease, Reason: m.Reason})
		return row, row != nil && row.ActualOwner() == m.To
	}
	read := m.Lease
	for range 5 {
		// The KCL adds one to any counter. Here the counter is expected as read, so that no owner
		// loses a lease that it has renewed meanwhile.
		to := givenTo(read, m.To)
		row, accepted := d.update(ctx, leases.Update{
			Read: read, Expect: leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter,
			To: to, Set: ownerChangeAttrs,
		})
		if accepted || row == nil {
			return row, accepted
		}
		// If the row shows the planned owners, the lease is assigned, even if another worker wrote
		// that.
		if assigned := row.Same(holder.HandoverAttrs, to); assigned || !overdue || !row.Same(holder.HandoverAttrs, read) {
			return row, assigned
		}
		read = *row // the owner renews and does not hand over
	}
	return nil, false
}

// kcl3Rows returns the rows of v as the decisions of package kcl3 need them.
func kcl3Rows(v *plan.View) []kcl3.Row {
	list := make([]kcl3.Row, 0, len(v.Rows))
	for _, r := range v.Rows {
		list = append(list, kcl3.Row{Lease: r.Lease, Expired: r.Expired})
	}
	return list
}
