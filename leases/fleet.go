package leases

import (
	"context"
	"errors"
	"time"
)

// SharedStore is a [Store] whose table workers of the Java KCL 3.x can share. Only leases/dynamodb
// implements it. Other stores have no fleet, and no worker of the KCL can use their tables.
type SharedStore interface {
	Store
	// Fleet returns the store of the other data in the table. It makes no request, and never returns
	// nil.
	Fleet() FleetStore
}

// FleetStore keeps the data that workers of the Java KCL 3.x share, besides leases; see
// [SharedStore]. The store decides where to keep them: in the lease table, or in the two side
// tables of KCL 3.0 to 3.4. All methods are safe for concurrent use and return when ctx ends.
type FleetStore interface {
	OwnerIndex
	WorkerReports
	LeaderLocks
	MigrationStates
}

// OwnerIndex is the index of the leases by owner.
type OwnerIndex interface {
	// EnsureIndex makes the index LeaseOwnerToLeaseKeyIndex if it does not exist. ready tells whether
	// it can be used already.
	EnsureIndex(ctx context.Context) (ready bool, err error)
	// HasIndex tells whether the index exists, also while it is being built.
	HasIndex(ctx context.Context) (bool, error)
	// OwnedBy returns the keys of the leases whose Owner is worker, in no order. It asks the index,
	// which may lack the latest writes. Read each row before you rely on it. The error wraps
	// [ErrNoIndex] when the index does not exist or is being built.
	OwnedBy(ctx context.Context, worker string) ([]string, error)
}

// WorkerReports are the metrics that each worker writes for the leader.
type WorkerReports interface {
	// Workers returns the metrics of all workers, and an error for each that cannot be read. While the
	// tables are being merged, a worker may be in the result twice, once from each table. Workers
	// reads the whole lease table, as List does. Without side tables, Listing.Workers has the same
	// metrics at no cost.
	Workers(ctx context.Context) ([]WorkerMetrics, []*RowError, error)
	// ReportWorker writes the metrics of one worker over its earlier metrics.
	ReportWorker(ctx context.Context, m WorkerMetrics) error
	// ForgetWorker removes the metrics of a worker if they still have the Updated of read. Otherwise
	// the error is a [*ConflictError].
	ForgetWorker(ctx context.Context, read WorkerMetrics) error
}

// LeaderLocks is the lock of the leader.
type LeaderLocks interface {
	// Leader returns the lock of the leader, or nil when there is none.
	Leader(ctx context.Context) (*LeaderLock, error)
	// AcquireLeader writes to if the lock is as read: absent (nil), released, or of the same Version.
	// Otherwise the error is a [*ConflictError].
	AcquireLeader(ctx context.Context, read *LeaderLock, to LeaderLock) error
	// HeartbeatLeader gives the lock mine a new version, if it still has Owner and Version of mine.
	// Otherwise the error is a [*ConflictError].
	HeartbeatLeader(ctx context.Context, mine LeaderLock, version string) error
	// ReleaseLeader removes the lock if it still has Owner and Version of mine. Otherwise the error is
	// a [*ConflictError].
	ReleaseLeader(ctx context.Context, mine LeaderLock) error
}

// MigrationStates are the states of the moves from KCL 2.x to 3.x and to a single table.
type MigrationStates interface {
	// Migrations returns the state of both migrations, as it is now.
	Migrations(ctx context.Context) (Migrations, error)
	// SetClientVersion writes to if the state is as read (nil: absent), and adds it to the history.
	// Otherwise the error is a [*ConflictError].
	SetClientVersion(ctx context.Context, read *MigrationState, to MigrationState) error
	// SetTableMigration does the same for the migration to a single table, if there are side tables.
	// An empty to.Status removes the state. TableMigrationComplete is written only while to.By has the
	// lock. The write removes the lock, and a leader must acquire it again, in the lease table.
	SetTableMigration(ctx context.Context, read *MigrationState, to MigrationState) error
	// MoveToLeaseTable moves the items of the coordinator's side table into the lease table, except
	// for the lock and the state of this migration. Its transactions hold only while mine.Owner has
	// the lock. Otherwise the error is a [*ConflictError]. It does not move metrics of workers,
	// because each worker writes its own. It may be repeated.
	MoveToLeaseTable(ctx context.Context, mine LeaderLock) error
}

// ErrNoIndex says that the index of leases by owner does not exist, or cannot be used yet. List the
// table instead.
var ErrNoIndex = errors.New("leases: the index LeaseOwnerToLeaseKeyIndex cannot be used")

// WorkerMetrics are the data that a worker of a KCL 3.x fleet reports about itself to the leader
// (WorkerMetricStats).
type WorkerMetrics struct {
	// Worker is the id of the worker.
	Worker string
	// Updated is the time of the last report, by the worker's clock, in whole seconds (lut).
	Updated time.Time
	// Stats are the last samples of each metric in percent, oldest first, ten at most (sts). -1 is a
	// sensor that failed. Metrics are named C (CPU), M (memory), NI and NO (network in and out).
	Stats map[string][]float64
	// Range is the operating range of each metric (opr). Its first element is the most that the worker
	// wants to be used, in percent.
	Range map[string][]float64
	// Support is the newest feature that the worker knows (sup). 1 is the migration to a single table.
	// It is zero when the worker did not report it.
	Support int
	// SupportUpdated is when the worker reported Support (slu).
	SupportUpdated time.Time
	// Native says that the worker is of this library (goWorker).
	Native bool
	// MaxLeases is the most leases that the worker takes (goMaxLeases). It is negative for no limit,
	// and 0 when the worker did not report it.
	MaxLeases int
	// Handover is how long the worker may need to hand over a lease, in whole seconds (goHandover). It
	// is 0 when the worker did not report it.
	Handover time.Duration
	// InSideTable says that the item is in the side table of KCL 3.0 to 3.4.
	InSideTable bool
}

// LeaderLock is the lock of the leader, as the DynamoDB lock client writes it.
type LeaderLock struct {
	// Owner is the worker that holds the lock (ownerName).
	Owner string
	// Version changes with every heartbeat (recordVersionNumber).
	Version string
	// Duration is the life of a version (leaseDuration). The lock is free for an observer that has
	// seen the same Version for that long.
	Duration time.Duration
	// Released says that the lock is free at once (isReleased).
	Released bool
}

// Migrations is the state of the two migrations of an application.
type Migrations struct {
	// ClientVersion is the move from KCL 2.x to 3.x (Migration3.0). It is nil when the table has no
	// such state.
	ClientVersion *MigrationState
	// Table is the move to a single table (TableMigration3.5). It is nil when there is no such state,
	// or no side table of the coordinator.
	Table *MigrationState
	// SideTables says that a table of KCL 3.0 to 3.4 exists, and that the application uses it.
	SideTables bool
	// TableConflict says, in words, which tables of KCL 3.5 and of KCL 3.0 to 3.4 contradict each
	// other, and what to do. It is empty when nothing is wrong.
	TableConflict string
	// BothTablesUsed says that workers use both kinds of tables, so that there may be two leaders. If
	// only TableConflict is set, no worker uses the tables of KCL 3.0 to 3.4 any more.
	BothTablesUsed bool
	// MoveRequested says that the operator has asked for the move to a single table.
	MoveRequested bool
}

// MigrationState is one state of a migration.
type MigrationState struct {
	// Status is one of the names below (cv, tm).
	Status string
	// By is the worker that wrote the state (mb).
	By string
	// At is when the state was written, by the clock of By (mts).
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
