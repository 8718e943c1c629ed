package kcl3

import (
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// readyTime is how long a fleet must be ready before it moves to KCL 3.x.
const readyTime = 10 * time.Minute

// ReadyWatch compares reads of the table, and tells when a fleet is ready to move from KCL 2.x to
// 3.x. In the KCL the leader watches. In a mode of KCL 2.x that leader may be a worker of this
// library, which does not know its rank. So every worker of this library watches. The zero value
// has observed nothing.
type ReadyWatch struct {
	ready bool
	since time.Duration
}

// Observe tells whether the fleet is ready at the monotonic time at. index says that the index can
// be used. rows are all rows, and alive names the living workers. The fleet is ready when three
// facts have held for ten minutes. The index can be used. The owner of each lease lives and
// reports, even of expired and finished leases. Every unfinished lease has an owner.
func (w *ReadyWatch) Observe(at time.Duration, index bool, rows []leases.Lease, alive map[string]bool) bool {
	ready := index
	for _, l := range rows {
		if l.Owner == "" && l.Finished() {
			continue
		}
		ready = ready && alive[l.Owner]
	}
	if ready != w.ready {
		w.ready, w.since = ready, at
	}
	return ready && at-w.since >= readyTime
}

// NextClientVersion returns the state to write when the fleet has been ready. It is the only step
// that workers make by themselves. An operator writes the first state, and the last one: 3X, or 2X
// again.
func NextClientVersion(
	stored *leases.MigrationState, ready bool, me string, now time.Time,
) (to leases.MigrationState, ok bool) {
	if !ready || stored == nil || stored.Status != leases.ClientVersionUpgradeFrom2x {
		return leases.MigrationState{}, false
	}
	return leases.MigrationState{Status: leases.ClientVersion3xRollback, By: me, At: now}, true
}

// Times of the migration to a single table.
const (
	// All owners of leases must support the migration for tableReadyTime before it is deployed. A
	// report of support counts for supportTime.
	tableReadyTime = time.Hour
	supportTime    = 90 * time.Second
	// tableBakeTime is how long nothing may be written to the side tables before the fleet gives
	// them up (tableMigrationCompleteBakeTimeSeconds).
	tableBakeTime = 24 * time.Hour
)

// TableView is the input of the migration to a single table.
type TableView struct {
	// Stored is the state as it was read; nil when there is none.
	Stored *leases.MigrationState
	// SideTables says that the tables of KCL 3.0 to 3.4 are in use.
	SideTables bool
	// Migrate says that the operator wants the migration
	// (migrateAllEntitiesToLeaseTable).
	Migrate bool
	// Leases are all leases.
	Leases []leases.Lease
	// Workers are the reports of all workers.
	Workers []leases.WorkerMetrics
	// Alive names the living workers; see [WorkerWatch.Alive].
	Alive map[string]bool
	// Me is this worker.
	Me string
	// Now is the wall clock.
	Now time.Time
}

// TableStep is one step of the migration to a single table.
type TableStep struct {
	// Move says that the items of the side tables are moved before To is written.
	Move bool
	// To is the state to write. Without Status the state is removed.
	To leases.MigrationState
}

// TableStatus returns the status of a worker that reads the stored state. It is the stored status,
// except for the last steps, which the operator must ask for.
func TableStatus(stored *leases.MigrationState, sideTables, migrate bool) (string, error) {
	status := ""
	if stored != nil {
		status = stored.Status
	}
	switch {
	case status == "" && !sideTables, status == leases.TableMigrationComplete:
		return leases.TableMigrationComplete, nil
	case status == "" || status == leases.TableMigrationInit:
		if migrate {
			return "", errors.New("leases: not all workers of this application have supported a single table for an hour: " +
				"first run them all without the migration to the lease table, until the status is " + leases.TableMigrationDeployed)
		}
		return leases.TableMigrationInit, nil
	case status == leases.TableMigrationDeployed || status == leases.TableMigrationPending:
		if migrate {
			return leases.TableMigrationPending, nil
		}
		return leases.TableMigrationDeployed, nil
	}
	return "", fmt.Errorf("leases: unknown state of the migration to a single table: %s", status)
}

// NextTable returns the leader's next step. ok is false while there is none.
//
//	(none) -> INIT -> DEPLOYED -> PENDING -> COMPLETE
//
// The leader writes INIT once all owners of leases support the migration, and removes it when one
// no longer does. An hour later it writes DEPLOYED. It writes PENDING once no worker reports to the
// side table, and DEPLOYED again when a worker does. After another day it writes COMPLETE, which is
// final.
//
// Unlike the KCL, a leader that was not asked to migrate leaves PENDING alone: other workers may
// have been asked.
func NextTable(v TableView) (step TableStep, ok bool) {
	status, err := TableStatus(v.Stored, v.SideTables, v.Migrate)
	if err != nil {
		return TableStep{}, false
	}
	write := func(status string) (TableStep, bool) {
		return TableStep{To: leases.MigrationState{Status: status, By: v.Me, At: v.Now}}, true
	}
	switch status {
	case leases.TableMigrationInit:
		switch {
		case !v.allSupport() && v.Stored != nil:
			return write("")
		case !v.allSupport():
		case v.Stored == nil:
			return write(leases.TableMigrationInit)
		case v.Now.Sub(v.Stored.At) >= tableReadyTime:
			return write(leases.TableMigrationDeployed)
		}
	case leases.TableMigrationPending:
		sideTable, leaseTable := v.countReports()
		switch {
		case v.Stored.Status == leases.TableMigrationPending && sideTable > 0:
			return write(leases.TableMigrationDeployed)
		case v.Stored.Status == leases.TableMigrationDeployed && sideTable == 0 && leaseTable > 0:
			step, _ = write(leases.TableMigrationPending)
			step.Move = true
			return step, true
		case v.Stored.Status == leases.TableMigrationPending && v.Now.Sub(v.Stored.At) >= tableBakeTime:
			step, _ = write(leases.TableMigrationComplete)
			step.Move = true // items that were written since PENDING
			return step, true
		}
	}
	return TableStep{}, false
}

// allSupport tells whether each owner of a lease supports the migration.
func (v TableView) allSupport() bool {
	supports := map[string]bool{}
	for _, m := range v.Workers {
		supports[m.Worker] = supports[m.Worker] || (m.Support >= 1 && v.Now.Sub(m.SupportUpdated) <= supportTime)
	}
	owners := 0
	for _, l := range v.Leases {
		if l.Owner == "" {
			continue
		}
		owners++
		if !supports[l.Owner] {
			return false
		}
	}
	return owners > 0
}

// countReports counts the living workers by the table of their newest report.
func (v TableView) countReports() (sideTable, leaseTable int) {
	for _, m := range newestReports(v.Workers) {
		switch {
		case !v.Alive[m.Worker]:
		case m.InSideTable:
			sideTable++
		default:
			leaseTable++
		}
	}
	return sideTable, leaseTable
}
