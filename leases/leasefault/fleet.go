package leasefault

import (
	"context"

	"github.com/kinesis-go/kcl/leases"
)

// faultyFleet makes the calls of a fleet under the fault of an Injector.
type faultyFleet struct {
	i     *Injector
	fleet leases.FleetStore
}

func (f faultyFleet) EnsureIndex(ctx context.Context) (ready bool, err error) {
	return read(ctx, f.i, Call{Op: "ensureindex"}, f.fleet.EnsureIndex)
}

func (f faultyFleet) HasIndex(ctx context.Context) (bool, error) {
	return read(ctx, f.i, Call{Op: "hasindex"}, f.fleet.HasIndex)
}

func (f faultyFleet) OwnedBy(ctx context.Context, worker string) ([]string, error) {
	return read(ctx, f.i, Call{Op: "ownedby"}, func(ctx context.Context) ([]string, error) {
		return f.fleet.OwnedBy(ctx, worker)
	})
}

func (f faultyFleet) Workers(ctx context.Context) ([]leases.WorkerMetrics, []*leases.RowError, error) {
	type answer struct {
		workers []leases.WorkerMetrics
		bad     []*leases.RowError
	}
	a, err := read(ctx, f.i, Call{Op: "workers"}, func(ctx context.Context) (a answer, err error) {
		a.workers, a.bad, err = f.fleet.Workers(ctx)
		return a, err
	})
	return a.workers, a.bad, err
}

func (f faultyFleet) ReportWorker(ctx context.Context, m leases.WorkerMetrics) error {
	return f.i.do(ctx, Call{Op: "reportworker"}, func(ctx context.Context) error {
		return f.fleet.ReportWorker(ctx, m)
	})
}

func (f faultyFleet) ForgetWorker(ctx context.Context, read leases.WorkerMetrics) error {
	return f.i.do(ctx, Call{Op: "forgetworker"}, func(ctx context.Context) error {
		return f.fleet.ForgetWorker(ctx, read)
	})
}

func (f faultyFleet) Leader(ctx context.Context) (*leases.LeaderLock, error) {
	return read(ctx, f.i, Call{Op: "leader"}, f.fleet.Leader)
}

func (f faultyFleet) AcquireLeader(ctx context.Context, read *leases.LeaderLock, to leases.LeaderLock) error {
	return f.i.do(ctx, Call{Op: "acquireleader"}, func(ctx context.Context) error {
		return f.fleet.AcquireLeader(ctx, read, to)
	})
}

func (f faultyFleet) HeartbeatLeader(ctx context.Context, mine leases.LeaderLock, version string) error {
	return f.i.do(ctx, Call{Op: "heartbeatleader"}, func(ctx context.Context) error {
		return f.fleet.HeartbeatLeader(ctx, mine, version)
	})
}

func (f faultyFleet) ReleaseLeader(ctx context.Context, mine leases.LeaderLock) error {
	return f.i.do(ctx, Call{Op: "releaseleader"}, func(ctx context.Context) error {
		return f.fleet.ReleaseLeader(ctx, mine)
	})
}

func (f faultyFleet) Migrations(ctx context.Context) (leases.Migrations, error) {
	return read(ctx, f.i, Call{Op: "migrations"}, f.fleet.Migrations)
}

func (f faultyFleet) SetClientVersion(
	ctx context.Context, read *leases.MigrationState, to leases.MigrationState,
) error {
	return f.i.do(ctx, Call{Op: "setclientversion"}, func(ctx context.Context) error {
		return f.fleet.SetClientVersion(ctx, read, to)
	})
}

func (f faultyFleet) SetTableMigration(
	ctx context.Context, read *leases.MigrationState, to leases.MigrationState,
) error {
	return f.i.do(ctx, Call{Op: "settablemigration"}, func(ctx context.Context) error {
		return f.fleet.SetTableMigration(ctx, read, to)
	})
}

func (f faultyFleet) MoveToLeaseTable(ctx context.Context, mine leases.LeaderLock) error {
	return f.i.do(ctx, Call{Op: "movetoleasetable"}, func(ctx context.Context) error {
		return f.fleet.MoveToLeaseTable(ctx, mine)
	})
}
