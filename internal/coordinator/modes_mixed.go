package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// checkOthers returns an error when other workers use the table in another mode than this worker.
// That is an error only at the start. A worker that comes later must not end the work of those that
// run.
func (ms *modes) checkOthers(ctx context.Context, m leases.Migrations, first bool) error {
	var err error
	if _, tableErr := kcl3.TableStatus(m.Table, m.SideTables, m.MoveRequested); tableErr != nil {
		err = fmt.Errorf("%w: %w", leases.ErrMixedAssignment, tableErr)
	}
	ms.warnTableConflict(m)
	switch {
	case err != nil:
	case m.BothTablesUsed && ms.cfg.Assignment != leases.AssignmentNative:
		err = fmt.Errorf("%w: %s", leases.ErrMixedAssignment, m.TableConflict)
	case ms.cfg.Assignment == leases.AssignmentNative:
		err = ms.checkForKCL3(ctx, m)
	case ms.cfg.Assignment == leases.AssignmentKCL3 && m.ClientVersion == nil && first:
		err = ms.checkForKCL2(ctx)
	}
	mixed := errors.Is(err, leases.ErrMixedAssignment)
	if mixed && !first && !ms.othersDiffer {
		ms.log.Error("other workers use the lease table in another mode than this worker", "err", err)
	}
	ms.othersDiffer = mixed
	if !first {
		return nil
	}
	return err
}

// warnTableConflict warns once of tables that a worker of an older KCL 3.x has left behind. If
// those tables are in use, it does not warn, because checkOthers returns an error.
func (ms *modes) warnTableConflict(m leases.Migrations) {
	if m.TableConflict != ms.tablesWarning && m.TableConflict != "" && !m.BothTablesUsed {
		ms.log.Warn("tables of different versions of KCL 3.x contradict each other", "problem", m.TableConflict)
	}
	ms.tablesWarning = m.TableConflict
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
	owner, err := ms.findRenewing(ctx, ms.foreignUnreported)
	if err == nil && owner != "" {
		err = fmt.Errorf("%w: worker %s of KCL 1.x or 2.x uses it, and cannot read a table with AssignmentKCL3: "+
			"use AssignmentAuto",
			leases.ErrMixedAssignment, owner)
	}
	return err
}

// findRenewing returns a worker that renews one of the leases that find returns; empty when no
// worker does. It watches the counters for as long as a lease needs to expire.
func (ms *modes) findRenewing(
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

// foreignLeases returns the leases whose owners are workers of other libraries, by key.
func (ms *modes) foreignLeases(ctx context.Context) (map[string]leases.Lease, error) {
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

// foreignUnreported returns the leases of foreignLeases whose owners do not report.
func (ms *modes) foreignUnreported(ctx context.Context) (map[string]leases.Lease, error) {
	foreign, err := ms.foreignLeases(ctx)
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
