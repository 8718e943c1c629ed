package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// assignment is a way in which leases get to this worker. One is in use at a time.
type assignment interface {
	// round does what is due now, and tells when the next round is.
	round(ctx context.Context) (pause, error)
	// leave ends this worker's part after its consumers have returned.
	leave(ctx context.Context)
}

// pause is how long to wait before the next round.
type pause int

const (
	fullPause  pause = iota // ScanInterval
	halfPause               // there are leases to take that others may leave alone
	briefPause              // the round ran out of time
)

// mode is how leases are assigned now.
type mode int

const (
	modeUnknown mode = iota
	// modeNative: every worker takes by itself.
	modeNative
	// modeUpgrade is the same while an application moves from KCL 2.x to 3.x:
	// workers report as well, and there is the index, so that the leader can see
	// when all are ready.
	modeUpgrade
	// modeKCL3: the leader assigns.
	modeKCL3
)

// String returns what logs and the status show.
func (m mode) String() string {
	return [...]string{"unknown", "native", "native (upgrade from KCL 2.x)", "KCL 3.x"}[m]
}

// modeInterval is how often the table is asked for the mode, less up to a
// sixth. Java's workers do it as often, so the fleet flips within a minute.
const modeInterval = time.Minute

// modeOf says what the states of the migrations mean for a worker.
func modeOf(a leases.Assignment, m leases.Migrations) mode {
	status := ""
	if m.ClientVersion != nil {
		status = m.ClientVersion.Status
	}
	switch {
	case a == leases.AssignmentNative:
		return modeNative
	case status == leases.ClientVersion3x || status == leases.ClientVersion3xRollback:
		return modeKCL3
	case status == leases.ClientVersionUpgradeFrom2x:
		return modeUpgrade
	case status == "" && a == leases.AssignmentKCL3:
		return modeKCL3
	}
	return modeNative
}

// modes finds out how leases are assigned, and changes over from one way to another. Its
// methods belong to the goroutine in Run, but for state.
type modes struct {
	*scan
	fleet    leases.FleetStore // nil when the store has none
	reporter *reporter
	elector  *elector

	native      *native
	upgrading   *upgrading // nil without fleet, as is led
	leaderBased *leaderBased
	now         assignment // in use; nil before the first round

	due        time.Duration     // when the table is asked for the mode again, monotonic
	migrations leases.Migrations // as read last
	mixed      bool              // others do not fit to Config.Assignment
	apart      string            // what was said about tables that do not go together
	reporting  loop
	electing   loop

	current atomic.Int32 // a mode
}

func newModes(s *scan) *modes {
	ms := &modes{scan: s, native: &native{scan: s}}
	if shared, ok := s.cfg.Store.(leases.SharedStore); ok {
		fleet := shared.Fleet()
		ms.fleet, ms.reporter, ms.elector = fleet, newReporter(s.table, fleet), newElector(s.table, fleet)
		index := &ownerIndex{known: s.known, store: fleet}
		ms.upgrading = &upgrading{native: ms.native, index: index, fleet: fleet}
		ms.upgrading.state = func() *leases.MigrationState { return ms.migrations.ClientVersion }
		ms.upgrading.changed = func() { ms.due = 0 } // the table is asked for the mode at once
		ms.leaderBased = newLeaderBased(s, fleet, ms.elector, index)
	}
	return ms
}

// mode is how leases are assigned now.
func (ms *modes) mode() mode { return mode(ms.current.Load()) }

// state tells how this worker gets its leases at present. It may be called by any goroutine.
func (ms *modes) state() leases.AssignmentState {
	m := ms.mode()
	s := leases.AssignmentState{Mode: m.String()}
	if m == modeKCL3 {
		s.Leader = ms.elector.leaderName()
		_, s.Leading = ms.elector.leads()
	}
	return s
}

// round sees which leases this worker can have, and gets them.
func (ms *modes) round(ctx context.Context) (pause, error) {
	if err := ms.followMode(ctx); err != nil {
		return fullPause, err
	}
	return ms.now.round(ctx)
}

// leave ends this worker's part in the fleet, after its consumers.
func (ms *modes) leave(ctx context.Context) {
	ms.reporting.wait()
	ms.electing.wait()
	if ms.now != nil {
		ms.now.leave(ctx)
	}
}

// followMode asks the table how leases are assigned, when that is due, and
// changes over. Until that is known nothing may be taken, so the first failure
// is an error; later the worker goes on as it did.
func (ms *modes) followMode(ctx context.Context) error {
	now := ms.clock.now().mono
	if ms.mode() != modeUnknown && (ms.fleet == nil || now < ms.due) {
		return nil
	}
	if ms.fleet == nil {
		if ms.cfg.Assignment == leases.AssignmentKCL3 {
			return fmt.Errorf("%w: the lease store cannot do what AssignmentKCL3 needs: use leases/dynamodb", leases.ErrMixedAssignment)
		}
		ms.become(ctx, modeNative)
		return nil
	}
	first := ms.mode() == modeUnknown
	call, cancel := context.WithTimeout(ctx, ms.cfg.FailoverTime)
	m, err := ms.fleet.Migrations(call)
	cancel()
	switch {
	case errors.Is(err, kcl.ErrAccessDenied) && ms.cfg.Assignment != leases.AssignmentKCL3:
		if err := ms.followUnseen(ctx, err); err != nil {
			return err
		}
	case err != nil:
		if ctx.Err() == nil {
			ms.cfg.Metrics.LeaseStoreError("migrations")
		}
		if first {
			return err
		}
		ms.log.Debug("mode of assignment cannot be read, going on as before", "err", err)
	default:
		to := modeOf(ms.cfg.Assignment, m)
		if err := ms.checkOthers(ctx, m, first); err != nil {
			return err
		}
		ms.migrations, ms.native.gentle = m, false
		ms.become(ctx, to)
	}
	ms.due = ms.clock.now().mono + modeInterval - jitter(modeInterval/6)
	return nil
}

// become changes over to another mode. Leases that are held stay: all modes
// agree on who owns a row, and on how it is handed over.
func (ms *modes) become(ctx context.Context, to mode) {
	from := ms.mode()
	if from == to {
		return
	}
	if ms.leaderBased != nil {
		ms.leaderBased.index.reset()
		ms.leaderBased.duty.retire()
	}
	switch to {
	case modeKCL3:
		ms.leaderBased.duty.reset()
		ms.now = ms.leaderBased
	case modeUpgrade:
		ms.upgrading.reset()
		ms.now = ms.upgrading
	default:
		ms.now = ms.native
	}
	ms.current.Store(int32(to))
	ms.waited = map[string]int{}
	ms.cfg.Metrics.SetAssignmentMode(int(to - modeNative))
	if from != modeUnknown || to != modeNative {
		ms.log.Info("leases are assigned in another way", "mode", to.String(), "before", from.String())
	}
	ms.reporting.set(ctx, to != modeNative, ms.reporter)
	ms.electing.set(ctx, to == modeKCL3, ms.elector)
}

// checkOthers tells whether others use the table in a way that does not go together
// with the mode that this worker is to be in. Only at the start is that an error:
// a worker that came later must not end the work of those that are running.
func (ms *modes) checkOthers(ctx context.Context, m leases.Migrations, first bool) error {
	var err error
	if _, early := kcl3.TableStatus(m.Table, m.SideTables, m.Wanted); early != nil {
		err = fmt.Errorf("%w: %w", leases.ErrMixedAssignment, early)
	}
	ms.warnApart(m)
	switch {
	case err != nil:
	case m.Split && ms.cfg.Assignment != leases.AssignmentNative:
		err = fmt.Errorf("%w: %s", leases.ErrMixedAssignment, m.Apart)
	case ms.cfg.Assignment == leases.AssignmentNative:
		err = ms.checkForKCL3(ctx, m)
	case ms.cfg.Assignment == leases.AssignmentKCL3 && m.ClientVersion == nil && first:
		err = ms.checkForKCL2(ctx)
	}
	mixed := errors.Is(err, leases.ErrMixedAssignment)
	if mixed && !first && !ms.mixed {
		ms.log.Error("workers of another kind have joined", "err", err)
	}
	ms.mixed = mixed
	if !first {
		return nil
	}
	return err
}

// checkForKCL3 looks for running workers of KCL 3.x.
func (ms *modes) checkForKCL3(ctx context.Context, m leases.Migrations) error {
	if modeOf(leases.AssignmentAuto, m) != modeKCL3 {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, ms.cfg.FailoverTime)
	defer cancel()
	workers, _, err := ms.fleet.Workers(call)
	if err != nil {
		return err
	}
	for _, w := range workers {
		if !w.Native && ms.clock.wall().Sub(w.Updated) < kcl3.WorkerSilence {
			return fmt.Errorf("%w: worker %s of KCL 3.x uses it (%s), and AssignmentNative goes only with KCL 1.x and 2.x: leave Assignment at AssignmentAuto, or stop the workers of KCL 3.x and wait a minute",
				leases.ErrMixedAssignment, w.Worker, m.ClientVersion.Status)
		}
	}
	return nil
}

// checkForKCL2 looks for running workers of KCL 1.x and 2.x, which would take leases
// by themselves, and fail at the items that only KCL 3.x knows.
func (ms *modes) checkForKCL2(ctx context.Context) error {
	owner, err := ms.renewing(ctx, ms.foreignSilent)
	if err == nil && owner != "" {
		err = fmt.Errorf("%w: worker %s of KCL 1.x or 2.x uses it, which cannot read a table with AssignmentKCL3: use AssignmentAuto", leases.ErrMixedAssignment, owner)
	}
	return err
}

// renewing returns a worker that renews one of the leases that look finds; empty
// when there is none. Who lives can only be seen by watching.
func (ms *modes) renewing(ctx context.Context, look func(context.Context) (map[string]leases.Lease, error)) (string, error) {
	first, err := look(ctx)
	begun := ms.clock.now().mono
	for err == nil && len(first) > 0 && ms.clock.now().mono-begun < ms.cfg.respect() {
		if err := retry.Sleep(ctx, ms.cfg.ScanInterval); err != nil {
			return "", err
		}
		var now map[string]leases.Lease
		now, err = look(ctx)
		for key, l := range now {
			if old, ok := first[key]; ok && old.Counter != l.Counter && old.Owner == l.Owner {
				return l.Owner, nil
			}
		}
	}
	return "", err
}

// foreign lists the leases whose owners are not of this library.
func (ms *modes) foreign(ctx context.Context) (map[string]leases.Lease, error) {
	call, cancel := context.WithTimeout(ctx, ms.cfg.FailoverTime)
	defer cancel()
	listing, err := ms.cfg.Store.List(call)
	if err != nil {
		return nil, err
	}
	foreign := map[string]leases.Lease{}
	for _, l := range listing.Leases {
		if l.Owner != "" && l.NativeOwner != l.Owner && !l.HandingOver() && !l.Finished() {
			foreign[l.Key] = l
		}
	}
	return foreign, nil
}

// foreignSilent leaves out those whose owners report.
func (ms *modes) foreignSilent(ctx context.Context) (map[string]leases.Lease, error) {
	foreign, err := ms.foreign(ctx)
	if err != nil || len(foreign) == 0 {
		return nil, err
	}
	call, cancel := context.WithTimeout(ctx, ms.cfg.FailoverTime)
	defer cancel()
	workers, _, err := ms.fleet.Workers(call)
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		for key, l := range foreign {
			if l.Owner == w.Worker {
				delete(foreign, key)
			}
		}
	}
	return foreign, nil
}
