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

// modes reads from the table how leases are assigned, and changes over from one assignment to
// another. Its methods belong to the goroutine in Run, except for state.
type modes struct {
	*scanner
	fleet    leases.FleetStore // nil when the store has none
	reporter *reporter
	elector  *election.Elector

	native      *native
	upgrading   *upgrading // nil without fleet, as is leaderBased
	leaderBased *leaderBased
	inUse       assignment // nil before the first round

	modeReadDue   time.Duration     // when the mode is read next, monotonic
	migrations    leases.Migrations // as read last
	othersDiffer  bool              // other workers do not fit Config.Assignment
	tablesWarning string            // the last warning about tables that contradict each other
	reporting     loop
	electing      loop

	current atomic.Int32 // a mode
}

// modeInterval is the time between two reads of the mode from the table, less up to a sixth. Java's
// workers read it as often, so the whole fleet changes over within a minute.
const modeInterval = time.Minute

func newModes(s *scanner) *modes {
	ms := &modes{scanner: s, native: &native{scanner: s}}
	if shared, ok := s.cfg.Store.(leases.SharedStore); ok {
		fleet := shared.Fleet()
		ms.fleet, ms.reporter = fleet, newReporter(s.table, fleet)
		ms.elector = election.New(election.Config{
			Store: fleet, WorkerID: s.cfg.WorkerID, Clock: s.clock, Log: s.log, Metrics: s.cfg.Metrics,
			Timeout: min(trust.CallTimeout(s.cfg.FailoverTime), kcl3.LockHeartbeat/2),
			Elected: s.nudge, LastCalls: func() context.Context { return s.writeCtx },
		})
		index := &ownerIndex{workerState: s.workerState, store: fleet}
		ms.upgrading = &upgrading{native: ms.native, index: index, fleet: fleet}
		ms.upgrading.storedState = func() *leases.MigrationState { return ms.migrations.ClientVersion }
		ms.upgrading.stateWritten = func() { ms.modeReadDue = 0 } // the mode is read at once
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
	if err := ms.updateMode(ctx); err != nil {
		return fullPause, err
	}
	return ms.inUse.round(ctx)
}

// leave waits for the reporter and the elector, and gives back leases that have no consumer.
func (ms *modes) leave(ctx context.Context) {
	ms.reporting.wait()
	ms.electing.wait()
	if ms.inUse != nil {
		ms.inUse.leave(ctx)
	}
}

// updateMode reads the mode from the table, when that is due, and changes over to it. No lease may
// be taken until the mode is known, so a failure of the first read is an error. After a later
// failure the worker keeps its mode.
func (ms *modes) updateMode(ctx context.Context) error {
	now := ms.clock.Now().Mono
	if ms.mode() != modeUnknown && (ms.fleet == nil || now < ms.modeReadDue) {
		return nil
	}
	if ms.fleet == nil {
		if ms.cfg.Assignment == leases.AssignmentKCL3 {
			return fmt.Errorf("%w: the lease store does not support AssignmentKCL3: use leases/dynamodb",
				leases.ErrMixedAssignment)
		}
		ms.changeMode(ctx, modeNative)
		return nil
	}
	first := ms.mode() == modeUnknown
	call, cancel := context.WithTimeout(ctx, ms.cfg.FailoverTime)
	m, err := ms.fleet.Migrations(call)
	cancel()
	switch {
	case errors.Is(err, kcl.ErrAccessDenied) && ms.cfg.Assignment != leases.AssignmentKCL3:
		if err := ms.updateModeDenied(ctx, err); err != nil {
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
		ms.migrations, ms.native.noForce = m, false
		ms.changeMode(ctx, to)
	}
	ms.modeReadDue = ms.clock.Now().Mono + modeInterval - jitter(modeInterval/6)
	return nil
}

// changeMode changes over to another mode. This worker keeps the leases that it holds. All modes
// agree on who owns a row, and on how it is handed over.
func (ms *modes) changeMode(ctx context.Context, to mode) {
	from := ms.mode()
	if from == to {
		return
	}
	if ms.leaderBased != nil {
		ms.leaderBased.index.reset()
		ms.leaderBased.work.clearUnassigned()
	}
	switch to {
	case modeKCL3:
		ms.leaderBased.work.reset()
		ms.inUse = ms.leaderBased
	case modeUpgrade:
		ms.upgrading.reset()
		ms.inUse = ms.upgrading
	default:
		ms.inUse = ms.native
	}
	ms.current.Store(int32(to))
	ms.scansWaited = map[string]int{}
	ms.cfg.Metrics.SetAssignmentMode(int(to - modeNative))
	if from != modeUnknown || to != modeNative {
		ms.log.Info("assignment of leases has changed", "mode", to.String(), "before", from.String())
	}
	ms.reporting.set(ctx, to != modeNative, ms.reporter.run)
	ms.electing.set(ctx, to == modeKCL3, ms.elector.Run)
}
