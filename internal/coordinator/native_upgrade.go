package coordinator

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/leases"
)

// upgrading is the native assignment while an application moves from KCL 2.x to 3.x. The workers
// also report, and watch whether the fleet is ready.
type upgrading struct {
	*native
	index *ownerIndex
	fleet leases.FleetStore
	// storedState returns the state of the move, as read last. stateWritten is called after that state
	// was written.
	storedState  func() *leases.MigrationState
	stateWritten func()

	prepareDue  time.Duration // when to prepare the move next, monotonic
	workerWatch kcl3.WorkerWatch
	readyWatch  kcl3.ReadyWatch
}

// reset forgets the observations of an earlier move.
func (a *upgrading) reset() {
	a.prepareDue, a.workerWatch, a.readyWatch = 0, kcl3.WorkerWatch{}, kcl3.ReadyWatch{}
}

// round does a native round, and then prepares the move.
func (a *upgrading) round(ctx context.Context) (pause, error) {
	return a.roundWith(ctx, true, a.prepareUpgrade)
}

// prepareUpgrade creates the index. Each worker watches whether the fleet has been ready for long
// enough. The first worker that sees this switches the fleet to the assignment by a leader.
func (a *upgrading) prepareUpgrade(ctx context.Context) {
	now := a.clock.Now().Mono
	if now < a.prepareDue {
		return
	}
	a.prepareDue = now + choresInterval
	// An operator that rolls back deletes the index, so it is checked again.
	a.index.ready, a.index.checkDue = false, 0
	call, cancel := context.WithTimeout(ctx, a.cfg.FailoverTime) // for all calls together
	defer cancel()
	a.index.ensure(call)
	workers, _, err := a.fleet.Workers(call)
	if err != nil {
		if ctx.Err() == nil {
			a.cfg.Metrics.LeaseStoreError("workers")
			a.log.Debug("metrics of the workers cannot be read", "err", err)
		}
		return
	}
	alive := a.workerWatch.Alive(a.clock.Wall(), a.clock.Now().Mono, workers)
	ready := a.readyWatch.Observe(a.clock.Now().Mono, a.index.ready, a.allRows(), alive)
	to, ok := kcl3.NextClientVersion(a.storedState(), ready, a.cfg.WorkerID, a.clock.Wall())
	if !ok {
		return
	}
	err = a.fleet.SetClientVersion(call, a.storedState(), to)
	if _, conflict := errors.AsType[*leases.ConflictError](err); err != nil && !conflict {
		a.log.Warn("application cannot be switched over to KCL 3.x, trying again", "err", err)
		return
	}
	a.log.Info("application is switched over from KCL 2.x to 3.x", "client_version", to.Status)
	a.stateWritten()
}
