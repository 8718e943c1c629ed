package coordinator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/election"
	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/leases"
)

const (
	// workersReadInterval is the time between two reads of the workers' metrics by the leader. While
	// there are leases that no worker reads, the leader reads the metrics at each scan.
	workersReadInterval = 10 * time.Second
	// maxFailedRounds is the number of failed rounds in a row after which the leader resigns.
	maxFailedRounds = 3
	// resignInterval is the least time between two resignations because leases cannot be assigned.
	resignInterval = 10 * time.Minute
)

// leaderWork is the work that only the leader of a KCL 3.x fleet does. It assigns leases that no
// worker reads, evens out the load, and carries on the migrations. It stands where the KCL has
// LeaseAssignmentManager. All of it runs on the coordinator's goroutine. internal/kcl3 makes the
// decisions.
//
// A former leader that does not know that its term is over does no harm. Each of its writes is
// conditional on the owners that it read. A write that ends a lease is also conditional on the
// counter.
type leaderWork struct {
	*scanner
	store       leaderStore
	elector     *election.Elector
	suspects    map[string]suspect // see suspectOwners
	workerWatch kcl3.WorkerWatch
	tenure

	// resigned says that this worker has resigned in any of its terms, the last time at resignedAt.
	resigned   bool
	resignedAt time.Duration
}

// leaderStore is the part of the store that the leader uses besides the leases.
type leaderStore interface {
	leases.WorkerReports
	leases.MigrationStates
}

// tenure is this worker's present term as the leader.
type tenure struct {
	term            int
	startedAt       time.Duration
	failures        int // failed rounds in a row
	workers         []leases.WorkerMetrics
	alive           map[string]bool
	active          []leases.WorkerMetrics // the workers that may get leases
	workersReadAt   time.Duration          // when workers were read
	cadence         kcl3.Cadence
	cadenceAskedAt  time.Duration   // when the cadence was asked last
	balancedWith    map[string]bool // the active workers when the load was evened out last
	choresDue       time.Duration
	spilloverLogged bool // a warning was logged that no worker has room for some leases
}

// reset forgets all earlier terms.
func (d *leaderWork) reset() {
	d.tenure, d.workerWatch = tenure{term: -1}, kcl3.WorkerWatch{}
	d.resigned, d.resignedAt = false, 0
}

// run does the leader's work that is due, given the rows of a scan.
func (d *leaderWork) run(ctx context.Context, v *plan.View) {
	term, ok := d.elector.Leads()
	if !ok {
		return
	}
	now := d.clock.Now().Mono
	if term != d.term {
		d.tenure = tenure{term: term, startedAt: now, choresDue: now}
	}
	hasUnread := slices.ContainsFunc(v.Rows,
		func(r plan.Row) bool { return !r.Finished() && (r.Expired || r.ActualOwner() == "") })
	if d.workers == nil || hasUnread || now-d.workersReadAt >= workersReadInterval {
		if err := d.readWorkers(ctx); err != nil {
			d.countFailure(ctx, err)
			return
		}
	}
	if d.awaitsFirstReports(now, v.Rows) {
		d.scanRequested = true
		return
	}
	// If resigning has not helped, other leaders fail too. A row that nobody can write must not
	// leave the fleet without a leader.
	if err := d.assign(ctx, v); err != nil && (!d.resigned || now-d.resignedAt > resignInterval) {
		d.countFailure(ctx, err)
		return
	}
	d.failures = 0
	if now >= d.choresDue && ctx.Err() == nil {
		d.choresDue = now + choresInterval
		d.chores(ctx)
	}
}

// awaitsFirstReports tells whether the leader waits for the reports of the other workers. It does
// so for a short while when the application starts for the first time.
func (d *leaderWork) awaitsFirstReports(now time.Duration, rows []plan.Row) bool {
	return now-d.startedAt < d.cfg.ScanInterval/2 &&
		!slices.ContainsFunc(rows, func(r plan.Row) bool { return r.Owner != "" || r.Counter > 0 })
}

// readWorkers reads the metrics of all workers.
func (d *leaderWork) readWorkers(ctx context.Context) error {
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
	d.workers, d.workersReadAt = workers, d.clock.Now().Mono
	d.alive = d.workerWatch.Alive(d.clock.Wall(), d.workersReadAt, workers)
	d.active = d.workerWatch.Active(d.clock.Wall(), d.workersReadAt, workers)
	return nil
}

// countFailure counts failed rounds of the leader. After maxFailedRounds of them this worker
// resigns.
func (d *leaderWork) countFailure(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if d.failures++; d.failures >= maxFailedRounds {
		d.failures = 0
		d.resigned, d.resignedAt = true, d.clock.Now().Mono
		d.log.Warn("leader of the fleet cannot do its work, resigning", "err", err)
		d.elector.Resign()
	}
}

// clearUnassigned resets the metric of leases for which no worker has room, because only the leader
// knows it. It may be called on a nil leaderWork.
func (d *leaderWork) clearUnassigned() {
	if d != nil && d.spilloverLogged {
		d.spilloverLogged = false
		d.cfg.Metrics.SetLeasesUnassigned(0)
	}
}

// call makes one call of the store with a deadline. A conflict is no error: another worker was
// faster.
func (d *leaderWork) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.FailoverTime)
	defer cancel()
	err := f(ctx)
	if _, conflict := errors.AsType[*leases.ConflictError](err); conflict {
		return nil
	}
	return err
}
