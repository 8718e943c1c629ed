package leases

import (
	"context"
	"errors"
	"time"
)

// SharedStore is a [Store] whose table workers of the Java KCL 3.x can share. Only
// leases/dynamodb implements it. Other stores have no fleet, and no worker of the KCL can
// use their tables.
type SharedStore interface {
	Store
	// Fleet returns what the table holds besides leases. It makes no request, and is
	// never nil.
	Fleet() FleetStore
}

// FleetStore is what a lease table has, besides leases, when workers of the
// Java KCL 3.x share it; see [SharedStore]. The store decides where
// the items are kept: in the lease table or in the two side tables of KCL 3.0 to 3.4. All
// methods are safe for concurrent use and return when ctx ends.
type FleetStore interface {
	OwnerIndex
	WorkerReports
	LeaderLocks
	MigrationStates
}

// OwnerIndex is the index of the leases by owner.
type OwnerIndex interface {
	// EnsureIndex asks for the index LeaseOwnerToLeaseKeyIndex unless it is
	// there, and tells whether it can be used already.
	EnsureIndex(ctx context.Context) (ready bool, err error)
	// HasIndex tells whether the index is there, in use or not. It makes none.
	HasIndex(ctx context.Context) (bool, error)
	// OwnedBy returns the keys of the leases whose Owner is worker, in no order.
	// It asks the index, which may be behind: read each row before trusting it.
	// The error wraps [ErrNoIndex] when there is none or it is being built.
	OwnedBy(ctx context.Context, worker string) ([]string, error)
}

// WorkerReports are the metrics that each worker writes for the leader.
type WorkerReports interface {
	// Workers returns the metrics of all workers, and those that cannot be read.
	// While the tables are being merged a worker may be there twice, once from
	// each table. It reads the whole lease table, as List does; where there are
	// no side tables, Listing.Workers has the same for nothing.
	Workers(ctx context.Context) ([]WorkerMetrics, []*RowError, error)
	// ReportWorker writes the metrics of one worker, whatever was there before.
	ReportWorker(ctx context.Context, m WorkerMetrics) error
	// ForgetWorker removes the metrics of a worker if they are still those of
	// read (its Updated); otherwise the error is a [*ConflictError].
	ForgetWorker(ctx context.Context, read WorkerMetrics) error
}

// LeaderLocks is the lock of the leader.
type LeaderLocks interface {
	// Leader returns the lock of the leader, or nil when there is none.
	Leader(ctx context.Context) (*LeaderLock, error)
	// AcquireLeader writes to if the lock is as read: absent (nil), released, or
	// of the same Version. Otherwise the error is a [*ConflictError].
	AcquireLeader(ctx context.Context, read *LeaderLock, to LeaderLock) error
	// HeartbeatLeader gives the lock mine a new version, if it still has Owner
	// and Version of mine. Otherwise the error is a [*ConflictError].
	HeartbeatLeader(ctx context.Context, mine LeaderLock, version string) error
	// ReleaseLeader removes the lock if it still has Owner and Version of mine.
	// Otherwise the error is a [*ConflictError].
	ReleaseLeader(ctx context.Context, mine LeaderLock) error
}

// MigrationStates are the states of the moves from KCL 2.x to 3.x and to a single table.
type MigrationStates interface {
	// Migrations returns the state of both migrations, as it is now.
	Migrations(ctx context.Context) (Migrations, error)
	// SetClientVersion writes to, if the state is as read (nil: absent), and
	// adds it to the history. Otherwise the error is a [*ConflictError].
	SetClientVersion(ctx context.Context, read *MigrationState, to MigrationState) error
	// SetTableMigration does the same for the migration to a single table, where
	// there are side tables. An empty to.Status removes the state.
	// TableMigrationComplete is written only while to.By has the lock, which is
	// gone then: it has to be acquired anew, in the lease table.
	SetTableMigration(ctx context.Context, read *MigrationState, to MigrationState) error
	// MoveToLeaseTable moves what the side table of the coordinator holds, but
	// for the lock and this migration's own state, into the lease table, in
	// transactions that hold only while mine.Owner has the lock; otherwise the
	// error is a [*ConflictError]. Metrics of workers are not moved: each worker
	// writes its own. It may be repeated.
	MoveToLeaseTable(ctx context.Context, mine LeaderLock) error
}

// ErrNoIndex says that the index of leases by owner does not exist, or cannot be
// used yet. List the table instead.
var ErrNoIndex = errors.New("leases: the index LeaseOwnerToLeaseKeyIndex cannot be used")

// WorkerMetrics is what a worker of a KCL 3.x fleet tells the leader about
// itself (WorkerMetricStats).
type WorkerMetrics struct {
	// Worker is its id.
	Worker string
	// Updated is when it reported last, by its own clock, in whole seconds (lut).
	Updated time.Time
	// Stats are the last samples of each metric in percent, oldest first, ten at
	// most; -1 is a sensor that failed (sts). Metrics are named C (CPU), M
	// (memory), NI and NO (network in and out).
	Stats map[string][]float64
	// Range is the operating range of each metric: its first element is the most
	// that the worker wants to be used, in percent (opr).
	Range map[string][]float64
	// Support is the newest feature that the worker knows: 1 is the migration to a
	// single table. Zero when not told (sup), and SupportUpdated when it was told
	// (slu).
	Support        int
	SupportUpdated time.Time
	// Native says that the worker is of this library (goWorker).
	Native bool
	// MaxLeases is the most leases that the worker takes (goMaxLeases): negative
	// for no limit, 0 when it was not told.
	MaxLeases int
	// Handover is for how long the worker may hand over a lease, in whole seconds
	// (goHandover); 0 when it was not told.
	Handover time.Duration
	// InSideTable says that the item is in the table of KCL 3.0 to 3.4.
	InSideTable bool
}

// LeaderLock is the lock of the leader, as the DynamoDB lock client writes it.
type LeaderLock struct {
	// Owner is the worker that holds it (ownerName).
	Owner string
	// Version changes with every heartbeat (recordVersionNumber).
	Version string
	// Duration is for how long an observer must see the same Version before the
	// lock is free (leaseDuration).
	Duration time.Duration
	// Released says that the lock is free at once (isReleased).
	Released bool
}

// Migrations is how far an application's two migrations have come.
type Migrations struct {
	// ClientVersion is the move from KCL 2.x to 3.x (Migration3.0); nil when the
	// table has no such state.
	ClientVersion *MigrationState
	// Table is the move to a single table (TableMigration3.5); nil when there is
	// no such state, or no side table of the coordinator.
	Table *MigrationState
	// SideTables says that a table of KCL 3.0 to 3.4 exists, and is what the
	// application uses.
	SideTables bool
	// Apart says, in words, which tables of KCL 3.5 and of KCL 3.0 to 3.4 exist
	// that do not go together, and what to do. Empty when all is well.
	Apart string
	// Split says that both are in use, so that there may be two leaders. Otherwise
	// those of KCL 3.0 to 3.4 have been left behind, and are not used here.
	Split bool
	// Wanted says that the operator has asked for the move to a single table.
	Wanted bool
}

// MigrationState is one state of a migration.
type MigrationState struct {
	// Status is one of the names below (cv, tm).
	Status string
	// By is the worker that wrote it (mb), and At when, by its clock (mts).
	By string
	At time.Time
}

// The states of the move from KCL 2.x to 3.x, as they are stored.
const (
	ClientVersionInit          = "CLIENT_VERSION_INIT"
	ClientVersionUpgradeFrom2x = "CLIENT_VERSION_UPGRADE_FROM_2X"
	ClientVersion2x            = "CLIENT_VERSION_2X"
	ClientVersion3xRollback    = "CLIENT_VERSION_3X_WITH_ROLLBACK"
	ClientVersion3x            = "CLIENT_VERSION_3X"
)

// The states of the move to a single table, as they are stored.
const (
	TableMigrationInit     = "TABLE_MIGRATION_STATUS_INIT"
	TableMigrationDeployed = "TABLE_MIGRATION_STATUS_DEPLOYED"
	TableMigrationPending  = "TABLE_MIGRATION_STATUS_PENDING"
	TableMigrationComplete = "TABLE_MIGRATION_STATUS_COMPLETE"
)
