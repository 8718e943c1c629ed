package coordinator

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/election"
	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// assignment is a way in which leases get to this worker. The worker uses one at a time.
type assignment interface {
	// round does the work that is due, and returns how long to wait before the next round.
	round(ctx context.Context) (pause, error)
	// leave gives back leases that have no consumer, after all consumers have returned.
	leave(ctx context.Context)
}

// pause is how long to wait before the next round.
type pause int

const (
	fullPause  pause = iota // ScanInterval
	halfPause               // there are leases to take that others may leave alone
	briefPause              // the round ran out of time
)

// mode is a way in which leases are assigned.
type mode int

const (
	modeUnknown mode = iota
	// modeNative lets every worker take leases by itself.
	modeNative
	// modeUpgrade is modeNative while an application moves from KCL 2.x to 3.x. The workers also
	// report, and there is the index, so that the leader can see when all of them are ready.
	modeUpgrade
	// modeKCL3 lets the leader assign the leases.
	modeKCL3
)

// String returns the word that logs and the status show.
func (m mode) String() string {
	return [...]string{"unknown", "native", "native (upgrade from KCL 2.x)", "KCL 3.x"}[m]
}

// modeInterval is the time between two reads of the mode from the table, less up to a sixth. Java's
// workers read it as often, so the whole fleet changes over within a minute.
const modeInterval = time.Minute

// modeOf returns the mode for a worker, given Config.Assignment and the states of the migrations.
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

// modes reads from the table how leases are assigned, and changes over from one assignment to
// another. Its methods belong to the goroutine in Run, except for state.
type modes struct {
	*scan
	fleet    leases.FleetStore // nil when the store has none
	reporter *reporter
	elector  *election.Elector

	native      *native
	upgrading   *upgrading // nil without fleet, as is leaderBased
	leaderBased *leaderBased
	now         assignment // in use; nil before the first round

	due        time.Duration     // when the mode is read again, monotonic
	migrations leases.Migrations // as read last
	mixed      bool              // other workers do not fit Config.Assignment
	apart      string            // the last warning about tables that do not fit together
	reporting  loop
	electing   loop

	current atomic.Int32 // a mode
}

func newModes(s *scan) *modes {
	ms := &modes{scan: s, native: &native{scan: s}}
	if shared, ok := s.cfg.Store.(leases.SharedStore); ok {
		fleet := shared.Fleet()
		ms.fleet, ms.reporter = fleet, newReporter(s.table, fleet)
		ms.elector = election.New(election.Config{
			Store: fleet, WorkerID: s.cfg.WorkerID, Clock: s.clock, Log: s.log, Metrics: s.cfg.Metrics,
			Timeout: min(trust.CallTimeout(s.cfg.FailoverTime), kcl3.LockHeartbeat/2),
			Elected: s.nudge, LastCalls: func() context.Context { return s.last },
		})
		index := &ownerIndex{known: s.known, store: fleet}
		ms.upgrading = &upgrading{native: ms.native, index: index, fleet: fleet}
		ms.upgrading.state = func() *leases.MigrationState { return ms.migrations.ClientVersion }
		ms.upgrading.changed = func() { ms.due = 0 } // the mode is read at once
		ms.leaderBased = newLeaderBased(s, fleet, ms.elector, index)
	}
	return ms
}

// mode returns the present mode.
func (ms *modes) mode() mode { return mode(ms.current.Load()) }

// state returns how this worker gets its leases at present. Any goroutine may call it.
func (ms *modes) state() leases.AssignmentState {
	m := ms.mode()
	s := leases.AssignmentState{Mode: m.String()}
	if m == modeKCL3 {
		s.Leader = ms.elector.Leader()
		_, s.Leading = ms.elector.Leads()
	}
	return s
}

// round does a round of the present assignment.
func (ms *modes) round(ctx context.Context) (pause, error) {
	if err := ms.followMode(ctx); err != nil {
		return fullPause, err
	}
	return ms.now.round(ctx)
}

// leave waits for the reporter and the elector, and gives back leases that have no consumer.
func (ms *modes) leave(ctx context.Context) {
	ms.reporting.wait()
	ms.electing.wait()
	if ms.now != nil {
		ms.now.leave(ctx)
	}
}

// followMode reads the mode from the table, when that is due, and changes over. No lease may be
// taken until the mode is known, so the first failure is an error. After a later failure the worker
// keeps its mode.
func (ms *modes) followMode(ctx context.Context) error {
	now := ms.clock.Now().Mono
	if ms.mode() != modeUnknown && (ms.fleet == nil || now < ms.due) {
		return nil
	}
	if ms.fleet == nil {
		if ms.cfg.Assignment == leases.AssignmentKCL3 {
			return fmt.Errorf("%w: the lease store does not support AssignmentKCL3: use leases/dynamodb",
				leases.ErrMixedAssignment)
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
	ms.due = ms.clock.Now().Mono + modeInterval - jitter(modeInterval/6)
	return nil
}

// become changes over to another mode. This worker keeps the leases that it holds: all modes agree
// on who owns a row, and on how it is handed over.
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
		ms.log.Info("assignment of leases has changed", "mode", to.String(), "before", from.String())
	}
	ms.reporting.set(ctx, to != modeNative, ms.reporter.run)
	ms.electing.set(ctx, to == modeKCL3, ms.elector.Run)
}

// checkOthers returns an error when other workers use the table in a way that does not fit the mode
// of this worker. That is an error only at the start. A worker that comes later must not end the
// work of those that run.
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
		ms.log.Error("other workers use the lease table in a way that does not fit this worker", "err", err)
	}
	ms.mixed = mixed
	if !first {
		return nil
	}
	return err
}

// checkForKCL3 returns an error when a worker of KCL 3.x is running.
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
		if !w.Native && ms.clock.Wall().Sub(w.Updated) < kcl3.WorkerSilence {
			return fmt.Errorf("%w: worker %s of KCL 3.x uses it (%s), and AssignmentNative fits only KCL 1.x and 2.x: "+
				"leave Assignment at AssignmentAuto, or stop the workers of KCL 3.x and wait a minute",
				leases.ErrMixedAssignment, w.Worker, m.ClientVersion.Status)
		}
	}
	return nil
}

// checkForKCL2 returns an error when a worker of KCL 1.x or 2.x is running. It would take leases by
// itself, and fail at the items that only KCL 3.x knows.
func (ms *modes) checkForKCL2(ctx context.Context) error {
	owner, err := ms.renewing(ctx, ms.foreignSilent)
	if err == nil && owner != "" {
		err = fmt.Errorf("%w: worker %s of KCL 1.x or 2.x uses it, and cannot read a table with AssignmentKCL3: "+
			"use AssignmentAuto",
			leases.ErrMixedAssignment, owner)
	}
	return err
}

// renewing returns a worker that renews one of the leases that find returns; empty when there is
// none. It watches the counters for as long as a lease needs to expire.
func (ms *modes) renewing(
	ctx context.Context, find func(context.Context) (map[string]leases.Lease, error),
) (worker string, err error) {
	first, err := find(ctx)
	begun := ms.clock.Now().Mono
	for err == nil && len(first) > 0 && ms.clock.Now().Mono-begun < trust.Respect(ms.cfg.FailoverTime) {
		if err := retry.Sleep(ctx, ms.cfg.ScanInterval); err != nil {
			return "", err
		}
		var now map[string]leases.Lease
		now, err = find(ctx)
		for key, l := range now {
			if old, ok := first[key]; ok && old.Counter != l.Counter && old.Owner == l.Owner {
				return l.Owner, nil
			}
		}
	}
	return "", err
}

// foreign returns the leases whose owners are workers of other libraries, by key.
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

// foreignSilent returns the leases of foreign whose owners do not report.
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
