package guardedstore

import (
	"context"

	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
)

// guardedSharedStore is a guardedStore with a fleet.
type guardedSharedStore struct {
	guardedStore
	shared leases.SharedStore
}

func (g guardedSharedStore) Fleet() leases.FleetStore { return guardedFleet{g.shared.Fleet()} }

// guardedFleet turns a panic of a fleet's method into an error. It adds no deadline, because the
// callers set one.
type guardedFleet struct{ fleet leases.FleetStore }

func (g guardedFleet) EnsureIndex(ctx context.Context) (bool, error) {
	return call(func() (bool, error) { return g.fleet.EnsureIndex(ctx) })
}

func (g guardedFleet) HasIndex(ctx context.Context) (bool, error) {
	return call(func() (bool, error) { return g.fleet.HasIndex(ctx) })
}

func (g guardedFleet) OwnedBy(ctx context.Context, worker string) ([]string, error) {
	return call(func() ([]string, error) { return g.fleet.OwnedBy(ctx, worker) })
}

func (g guardedFleet) Workers(ctx context.Context) (out []leases.WorkerMetrics, bad []*leases.RowError, err error) {
	err = usercode.Call(func() (err error) { out, bad, err = g.fleet.Workers(ctx); return err })
	return out, bad, err
}

func (g guardedFleet) ReportWorker(ctx context.Context, m leases.WorkerMetrics) error {
	return usercode.Call(func() error { return g.fleet.ReportWorker(ctx, m) })
}

func (g guardedFleet) ForgetWorker(ctx context.Context, read leases.WorkerMetrics) error {
	return usercode.Call(func() error { return g.fleet.ForgetWorker(ctx, read) })
}

func (g guardedFleet) Leader(ctx context.Context) (*leases.LeaderLock, error) {
	return call(func() (*leases.LeaderLock, error) { return g.fleet.Leader(ctx) })
}

func (g guardedFleet) AcquireLeader(ctx context.Context, read *leases.LeaderLock, to leases.LeaderLock) error {
	return usercode.Call(func() error { return g.fleet.AcquireLeader(ctx, read, to) })
}

func (g guardedFleet) HeartbeatLeader(ctx context.Context, mine leases.LeaderLock, version string) error {
	return usercode.Call(func() error { return g.fleet.HeartbeatLeader(ctx, mine, version) })
}

func (g guardedFleet) ReleaseLeader(ctx context.Context, mine leases.LeaderLock) error {
	return usercode.Call(func() error { return g.fleet.ReleaseLeader(ctx, mine) })
}

func (g guardedFleet) Migrations(ctx context.Context) (leases.Migrations, error) {
	return call(func() (leases.Migrations, error) { return g.fleet.Migrations(ctx) })
}

func (g guardedFleet) SetClientVersion(ctx context.Context, read *leases.MigrationState,
	to leases.MigrationState,
) error {
	return usercode.Call(func() error { return g.fleet.SetClientVersion(ctx, read, to) })
}

func (g guardedFleet) SetTableMigration(ctx context.Context, read *leases.MigrationState,
	to leases.MigrationState,
) error {
	return usercode.Call(func() error { return g.fleet.SetTableMigration(ctx, read, to) })
}

func (g guardedFleet) MoveToLeaseTable(ctx context.Context, mine leases.LeaderLock) error {
	return usercode.Call(func() error { return g.fleet.MoveToLeaseTable(ctx, mine) })
}

// call runs f, and turns a panic into an error.
func call[T any](f func() (T, error)) (out T, err error) {
	err = usercode.Call(func() (err error) { out, err = f(); return err })
	return out, err
}
