package kcl3

import (
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// readyTime is for how long a fleet must be ready before it goes over to
// KCL 3.x.
const readyTime = 10 * time.Minute

// ReadyWatch tells when a fleet is ready to go over from KCL 2.x to 3.x, from
// one look to the next. The KCL lets its leader watch; here every worker of this
// library does, as the leader that a KCL of 2.x modes agrees on may be one of
// them. The zero value has seen nothing.
type ReadyWatch struct {
	ready bool
	since time.Duration
}

// Note takes in a look: whether the index can be used, the rows, and the workers
// that live. It is ready when it was at all looks of the last ten minutes: each
// owner of a lease lives and reports, those of expired and finished leases too,
// and no lease that is to be read is without one.
func (w *ReadyWatch) Note(at time.Duration, index bool, rows []leases.Lease, alive map[string]bool) bool {
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

// NextClientVersion returns what to write when the fleet has been ready. That
// is the only step that workers make by themselves; the state begins, and goes
// on to 3X, or back to 2X, when an operator says so.
func NextClientVersion(stored *leases.MigrationState, ready bool, me string, now time.Time) (to leases.MigrationState, ok bool) {
	if !ready || stored == nil || stored.Status != leases.ClientVersionUpgradeFrom2x {
		return leases.MigrationState{}, false
	}
	return leases.MigrationState{Status: leases.ClientVersion3xRollback, By: me, At: now}, true
}

// The times of the migration to a single table.
const (
	// All owners of leases must support it for tableReadyTime before it is
	// deployed; what they said about that holds for supportTime.
	tableReadyTime = time.Hour
	supportTime    = 90 * time.Second
	// tableBakeTime is for how long nothing may be written to the side tables
	// before they are given up for good (tableMigrationCompleteBakeTimeSeconds).
	tableBakeTime = 24 * time.Hour
)

// TableView is all that the migration to a single table depends on.
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

// TableStep is what the leader does about the migration.
type TableStep struct {
	// Move says that what is in the side tables is moved first.
	Move bool
	// To is written then; without Status the state is removed.
	To leases.MigrationState
}

// TableStatus is how far a worker has come that sees the stored state: what is
// stored, but for the last steps, which the operator has to ask for.
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
			return "", errors.New("leases: not all workers of this application were known to support a single table for an hour: first run them all without the migration to the lease table, until the status is " + leases.TableMigrationDeployed)
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
// INIT is written once all owners of leases support it, and removed when that
// is so no longer; DEPLOYED an hour later; PENDING once no worker reports to the
// side table; COMPLETE after another day. When a worker reports there again, it
// is back to DEPLOYED. COMPLETE is final. Unlike the KCL, a leader that was not
// asked to migrate leaves PENDING alone: it says nothing about the others.
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
		case !v.supported() && v.Stored != nil:
			return write("")
		case !v.supported():
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
			step.Move = true // what came later
			return step, true
		}
	}
	return TableStep{}, false
}

// supported tells whether each owner of a lease knows the migration.
func (v TableView) supported() bool {
	knows := map[string]bool{}
	for _, m := range v.Workers {
		knows[m.Worker] = knows[m.Worker] || (m.Support >= 1 && v.Now.Sub(m.SupportUpdated) <= supportTime)
	}
	owners := 0
	for _, l := range v.Leases {
		if l.Owner == "" {
			continue
		}
		owners++
		if !knows[l.Owner] {
			return false
		}
	}
	return owners > 0
}

// reports counts the living workers whose newest metrics are in the side table,
// and in the lease table.
func (v TableView) countReports() (sideTable, leaseTable int) {
	for _, m := range newest(v.Workers) {
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
