package coordinator

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl/internal/election"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

const (
	// workersInterval is the time between two reads of the workers' metrics by the leader. While
	// there are leases that nobody has, the leader reads them at each scan.
	workersInterval = 10 * time.Second
	// choresInterval is the time between two rounds of chores: migrations, and metrics of workers
	// that are long gone.
	choresInterval = time.Minute
	// patienceWithStore is the number of failed rounds in a row after which the leader resigns.
	patienceWithStore = 3
	// patienceWithRows is how long a leader that has resigned does not do so again because leases
	// cannot be assigned.
	patienceWithRows = 10 * time.Minute
)

// leaderDuty is the work that only the leader of a KCL 3.x fleet does. It assigns leases that
// nobody has, evens out the load, and carries on the migrations. It stands where the KCL has
// LeaseAssignmentManager. All of it runs on the coordinator's goroutine. internal/kcl3 makes the
// decisions.
//
// A worker that believes for too long to be the leader does no harm. Each of its writes is
// conditional on the owners that it read. A write that ends a lease is also conditional on the
// counter.
type leaderDuty struct {
	*scan
	store    leaderStore
	elector  *election.Elector
	suspects map[string]suspect // see suspectOwners
	watch    kcl3.WorkerWatch
	tenure

	// Of all terms: whether and when this worker resigned.
	gaveUp   bool
	gaveUpAt time.Duration
}

// leaderStore is the part of the store that the leader uses besides the leases.
type leaderStore interface {
	leases.WorkerReports
	leases.MigrationStates
}

// tenure is this worker's present term as the leader.
type tenure struct {
	term            int
	began           time.Duration
	failures        int // failed rounds in a row
	workers         []leases.WorkerMetrics
	alive           map[string]bool
	active          []leases.WorkerMetrics // the workers that may get leases
	readAt          time.Duration          // when workers were read
	cadence         kcl3.Cadence
	balanceAt       time.Duration   // when the cadence was asked last
	counted         map[string]bool // the active workers at that time
	choresDue       time.Duration
	spilloverLogged bool // a warning was logged that no worker has room for some leases
}

// reset forgets all earlier terms.
func (d *leaderDuty) reset() {
	d.tenure, d.watch = tenure{term: -1}, kcl3.WorkerWatch{}
	d.gaveUp, d.gaveUpAt = false, 0
}

// run does the leader's work that is due, given the rows of a scan.
func (d *leaderDuty) run(ctx context.Context, v *plan.View) {
	term, ok := d.elector.Leads()
	if !ok {
		return
	}
	now := d.clock.Now().Mono
	if term != d.term {
		d.tenure = tenure{term: term, began: now, choresDue: now}
	}
	idle := slices.ContainsFunc(v.Rows, func(r plan.Row) bool { return !r.Finished() && (r.Expired || r.ActualOwner() == "") })
	if d.workers == nil || idle || now-d.readAt >= workersInterval {
		if err := d.readWorkers(ctx); err != nil {
			d.failed(ctx, err)
			return
		}
	}
	if d.tooSoon(now, v.Rows) {
		d.asked = true
		return
	}
	// If resigning has not helped, other leaders fail too. A row that nobody can write must not
	// leave the fleet without a leader.
	if err := d.assign(ctx, v); err != nil && (!d.gaveUp || now-d.gaveUpAt > patienceWithRows) {
		d.failed(ctx, err)
		return
	}
	d.failures = 0
	if now >= d.choresDue && ctx.Err() == nil {
		d.choresDue = now + choresInterval
		d.chores(ctx)
	}
}

// tooSoon tells whether the application starts for the first time and the other workers may not
// have reported yet.
func (d *leaderDuty) tooSoon(now time.Duration, rows []plan.Row) bool {
	return now-d.began < d.cfg.ScanInterval/2 &&
		!slices.ContainsFunc(rows, func(r plan.Row) bool { return r.Owner != "" || r.Counter > 0 })
}

// readWorkers reads the metrics of all workers.
func (d *leaderDuty) readWorkers(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, d.cfg.FailoverTime)
	defer cancel()
	workers, bad, err := d.store.Workers(call)
	if err != nil {
		if ctx.Err() == nil {
			d.cfg.Metrics.LeaseStoreError("workers")
		}
		return err
	}
	for _, e := range bad {
		d.log.Debug("metrics of a worker cannot be read", "err", e)
	}
	me := d.cfg.WorkerID
	if !slices.ContainsFunc(workers, func(m leases.WorkerMetrics) bool { return m.Worker == me }) {
		workers = append(workers, d.cfg.ownMetrics(d.clock.Wall())) // its own report is on its way
	}
	d.workers, d.readAt = workers, d.clock.Now().Mono
	d.alive = d.watch.Alive(d.clock.Wall(), d.readAt, workers)
	d.active = d.watch.Active(d.clock.Wall(), d.readAt, workers)
	return nil
}

// failed counts failed rounds of the leader. After patienceWithStore of them this worker resigns.
func (d *leaderDuty) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if d.failures++; d.failures >= patienceWithStore {
		d.failures = 0
		d.gaveUp, d.gaveUpAt = true, d.clock.Now().Mono
		d.log.Warn("leader of the fleet cannot do its work, resigning", "err", err)
		d.elector.Resign()
	}
}

// assign assigns leases to workers. It returns an error if no planned assignment succeeded.
func (d *leaderDuty) assign(ctx context.Context, v *plan.View) error {
	// Every worker watches the hand-overs, so that a new leader knows their age.
	overdue := d.handovers.Overdue(d.watched, d.handoverLimit)
	balance, newcomers := d.balance()
	byCount := d.cfg.AssignmentStrategy == leases.AssignByLeaseCount
	balance = balance && (newcomers || v.Calm || byCount)
	f := kcl3.View{
		Workers: d.trusted(), Balance: balance, Delivers: map[string]float64{}, Doubts: map[string]float64{},
		Config: kcl3.DefaultConfig(), Rand: rand.New(rand.NewPCG(rand.Uint64(), 0)),
	}
	f.Config.MaxLeases, f.Config.MaxThroughput = d.cfg.MaxLeasesForWorker, d.cfg.MaxThroughputKBps
	f.Config.ByCount, f.Config.Certain = byCount, !newcomers
	if newcomers {
		f.Config.Dampening = 1 + 1e-6 // a new worker gets its whole share at once
	}
	for _, r := range v.Rows {
		f.Leases = append(f.Leases, kcl3.Row{
			Lease: r.Lease, Expired: r.Expired, Overdue: overdue[r.Key], Since: d.sightings[r.Key].since,
		})
		f.Delivers[r.Key], f.Doubts[r.Key] = r.KBps, r.Doubt
	}
	moves, spillover := kcl3.Assign(f)
	d.cfg.Metrics.SetLeasesUnassigned(spillover)
	if spillover > 0 && !d.spilloverLogged {
		d.log.Warn("no worker has room for some leases: start more workers, or raise MaxLeasesForWorker",
			"leases", spillover, "workers", len(d.active))
	}
	d.spilloverLogged = spillover > 0
	moves = d.reassignFailed(f, moves, v)

	known := make([]*leases.Lease, len(moves))
	var done, left atomic.Int64
	begun := d.clock.Now().Mono
	parallel.Do(len(moves), maxParallel, func(i int) {
		if d.clock.Now().Mono-begun >= d.cfg.roundTime() {
			left.Add(1)
			return // left to the next round
		}
		row, ok := d.carryOut(ctx, moves[i], overdue[moves[i].Lease.Key])
		known[i] = row
		if ok {
			done.Add(1)
		}
	})
	d.cutShort = d.cutShort || left.Load() > 0
	for i, m := range moves {
		if r := v.Row(m.Lease.Key); known[i] != nil {
			r.Lease, r.Expired, r.Quiet = *known[i], false, false
		}
	}
	if len(moves) == 0 {
		return nil
	}
	d.log.Info("leader has assigned leases",
		"leases", done.Load(), "of", len(moves), "workers", len(d.active), "balance", f.Balance)
	if done.Load() == 0 {
		return errors.New("no lease could be assigned")
	}
	return nil
}

// handoverLimit returns how long an owner may hand over a lease, by the time that it reports.
func (d *leaderDuty) handoverLimit(owner string) time.Duration {
	var told time.Duration
	for _, m := range d.workers {
		if m.Worker == owner {
			told = max(told, m.Handover)
		}
	}
	return d.cfg.handoverLimit(told)
}

// retire resets the metric of leases for which no worker has room: only the leader knows it. It may
// be called on a nil leaderDuty.
func (d *leaderDuty) retire() {
	if d != nil && d.spilloverLogged {
		d.spilloverLogged = false
		d.cfg.Metrics.SetLeasesUnassigned(0)
	}
}

// trusted returns the active workers, without those that had an expired lease and have not reported
// since.
func (d *leaderDuty) trusted() []leases.WorkerMetrics {
	return slices.DeleteFunc(slices.Clone(d.active), func(m leases.WorkerMetrics) bool {
		s, is := d.suspects[m.Worker]
		switch {
		case !is:
			return false
		case s.reported.IsZero():
			s.reported = m.Updated
			d.suspects[m.Worker] = s
		case !m.Updated.Equal(s.reported):
			delete(d.suspects, m.Worker)
			return false
		}
		return true
	})
}

// suspect is a worker that had an expired lease. The report of a killed worker looks good for a
// minute. It has fewer and fewer leases in that time, and so would get more than any other.
type suspect struct {
	since    time.Duration // when an expired lease was seen last
	reported time.Time     // the time of its report then; zero when not known yet
}

// suspectOwners notes the owners of expired leases. Every worker does that at its scans, so that a
// new leader knows them.
func (a *leaderBased) suspectOwners(rows []plan.Row) {
	now := a.clock.Now().Mono
	for _, r := range rows {
		if owner := r.ActualOwner(); r.Expired && !r.Finished() && owner != a.cfg.WorkerID {
			s := a.suspects[owner]
			s.since = now
			a.suspects[owner] = s
		}
	}
	maps.DeleteFunc(a.suspects, func(_ string, s suspect) bool { return now-s.since > kcl3.WorkerSilence })
}

// balance tells whether leases may move to even out the load. due is true at every few assignments,
// as the KCL counts them, and when there are newcomers: workers that were not there at the last
// time.
func (d *leaderDuty) balance() (due, newcomers bool) {
	now, failover := d.clock.Now().Mono, d.cfg.FailoverTime
	newcomers = slices.ContainsFunc(d.active, func(m leases.WorkerMetrics) bool { return !d.counted[m.Worker] })
	watched := now - d.watchBegan
	switch {
	case newcomers && watched > trust.Respect(failover) && now-d.balanceAt >= failover/2:
		d.cadence = kcl3.Cadence{}
	case now-d.balanceAt < 2*failover:
		return false, false
	}
	d.balanceAt = now
	if !d.cadence.Next(watched, trust.Respect(failover)) {
		return false, false
	}
	d.counted = map[string]bool{}
	for _, m := range d.active {
		d.counted[m.Worker] = true
	}
	return true, newcomers
}

// reassignFailed finds other workers for leases that this worker has just failed with.
func (d *leaderDuty) reassignFailed(f kcl3.View, moves []kcl3.Move, v *plan.View) []kcl3.Move {
	me := d.cfg.WorkerID
	busy := map[string]bool{}
	for _, r := range v.Rows {
		busy[r.Key] = r.Busy
	}
	mine := func(m kcl3.Move) bool { return m.To == me && !m.Graceful && busy[m.Lease.Key] }
	failed := map[string]bool{}
	for _, m := range moves {
		failed[m.Lease.Key] = mine(m)
	}
	f.Workers = slices.DeleteFunc(slices.Clone(f.Workers), func(m leases.WorkerMetrics) bool { return m.Worker == me })
	f.Leases = slices.DeleteFunc(slices.Clone(f.Leases), func(l kcl3.Row) bool { return !failed[l.Key] })
	f.Balance = false
	moves = slices.DeleteFunc(moves, mine)
	if len(f.Leases) == 0 {
		return moves
	}
	others, _ := kcl3.Assign(f)
	return append(moves, others...)
}

// carryOut carries out one move, and returns the row as it is known afterwards.
func (d *leaderDuty) carryOut(ctx context.Context, m kcl3.Move, overdue bool) (*leases.Lease, bool) {
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
			To: to, Set: giveAttrs,
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

// chores does the leader's occasional work. It takes FailoverTime at most, because leases wait for
// the next round meanwhile. The rest is left to the next time.
func (d *leaderDuty) chores(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.FailoverTime)
	defer cancel()
	begun := d.clock.Now().Mono
	for _, m := range d.workers {
		if !kcl3.Forgettable(m, d.clock.Wall()) || d.alive[m.Worker] {
			continue
		}
		if d.clock.Now().Mono-begun >= d.cfg.roundTime() {
			break
		}
		err := d.call(ctx, func(ctx context.Context) error { return d.store.ForgetWorker(ctx, m) })
		if err != nil {
			d.log.Debug("metrics of a former worker cannot be deleted", "former_worker", m.Worker, "err", err)
		}
	}
	if err := d.migrate(ctx); err != nil && ctx.Err() == nil {
		d.log.Warn("migration to a single table does not proceed, trying again", "err", err)
	}
}

// migrate makes the next step of the migration to a single table, if there is one.
func (d *leaderDuty) migrate(ctx context.Context) error {
	var m leases.Migrations
	err := d.call(ctx, func(ctx context.Context) (err error) {
		m, err = d.store.Migrations(ctx)
		return err
	})
	if err != nil || !m.SideTables {
		return err
	}
	step, ok := kcl3.NextTable(kcl3.TableView{
		Stored: m.Table, SideTables: m.SideTables, Migrate: m.Wanted,
		Leases: d.all(), Workers: d.workers, Alive: d.alive, Me: d.cfg.WorkerID, Now: d.clock.Wall(),
	})
	lock, lead := d.elector.Lock()
	if !ok || !lead {
		return nil
	}
	if step.Move {
		if err := d.call(ctx, func(ctx context.Context) error { return d.store.MoveToLeaseTable(ctx, lock) }); err != nil {
			return err
		}
	}
	err = d.call(ctx, func(ctx context.Context) error { return d.store.SetTableMigration(ctx, m.Table, step.To) })
	if err == nil {
		d.log.Info("migration to a single table proceeds", "status", step.To.Status)
	}
	return err
}

// call makes one call of the store with a deadline. A conflict is no error: another worker was
// faster.
func (d *leaderDuty) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.FailoverTime)
	defer cancel()
	err := f(ctx)
	if _, conflict := errors.AsType[*leases.ConflictError](err); conflict {
		return nil
	}
	return err
}

// fleetOf returns the rows of v for the decisions of package kcl3.
func fleetOf(v *plan.View) []kcl3.Row {
	list := make([]kcl3.Row, 0, len(v.Rows))
	for _, r := range v.Rows {
		list = append(list, kcl3.Row{Lease: r.Lease, Expired: r.Expired})
	}
	return list
}
