package dynamodb

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// routeAge is how long a route is used before the tables are looked at again.
const routeAge = time.Minute

// route decides in which table an item is that is no lease. It knows which side tables of KCL 3.0
// to 3.4 exist, and the state of the migration to a single table.
type route struct {
	coordinator bool                  // <Table>-CoordinatorState exists
	metrics     bool                  // <Table>-WorkerMetricStats exists
	migration   leases.MigrationState // as stored; zero when there is none
	layouts     layouts
	at          time.Time // when the tables were looked at
}

// routes are the tables of a fleet. They tell in which table an item is, or has to be made. They
// remember the last route.
type routes struct {
	leaseTable  *table
	coordinator *table // <Table>-CoordinatorState, whether it exists or not
	metrics     *table // <Table>-WorkerMetricStats, whether it exists or not
	migrate     bool   // Config.MigrateToLeaseTable

	mu   sync.Mutex // guards the field below
	last route
}

// newRoutes returns the tables of the fleet beside a lease table.
func newRoutes(cfg Config, leaseTable *table) *routes {
	return &routes{
		leaseTable:  leaseTable,
		coordinator: leaseTable.sideTable(cmp.Or(cfg.CoordinatorTable, cfg.Table+"-CoordinatorState"), attrCoordinatorKey),
		metrics:     leaseTable.sideTable(cmp.Or(cfg.WorkerMetricsTable, cfg.Table+"-WorkerMetricStats"), attrWorkerID),
		migrate:     cfg.MigrateToLeaseTable,
	}
}

// single tells whether everything is in the lease table. That is true of a fleet without a
// coordinator table. It is also true if a stray coordinator table exists beside a lease table of
// KCL 3.5.
func (r route) single() bool {
	return !r.coordinator || r.migration.Status == leases.TableMigrationComplete || r.layouts.strayCoordinator
}

// writesToLeaseTable tells whether new items have to be made in the lease table. Before the
// migration is PENDING, workers of KCL 3.0 to 3.4 may run, or be started again. They cannot read a
// lease table that holds anything but leases. migrate is Config.MigrateToLeaseTable.
func (r route) writesToLeaseTable(migrate bool) bool {
	status := r.migration.Status
	return r.single() || status == leases.TableMigrationPending || migrate && status == leases.TableMigrationDeployed
}

// lock returns the table that holds the leader's lock. fresh is as for route.
func (rs *routes) lock(ctx context.Context, fresh bool) (*table, error) {
	r, err := rs.route(ctx, fresh)
	if err != nil || r.single() {
		return rs.leaseTable, err
	}
	return rs.coordinator, nil
}

// route tells in which tables items are. Unless fresh is set, it may return a route that is up to a
// minute old.
func (rs *routes) route(ctx context.Context, fresh bool) (route, error) {
	rs.mu.Lock()
	r := rs.last
	rs.mu.Unlock()
	if !fresh && !r.at.IsZero() && time.Since(r.at) < routeAge {
		return r, nil
	}
	_, _, r, err := rs.tableMigration(ctx)
	return r, err
}

// tableMigration reads the state of the migration to a single table. It returns the item, the table
// that holds it, and the route that follows from it. Without a coordinator table there is nothing
// to migrate, or not any more.
func (rs *routes) tableMigration(ctx context.Context) (item, *table, route, error) {
	r := route{at: time.Now()}
	none := func(err error) (item, *table, route, error) { return nil, nil, route{}, err }
	for _, t := range []struct {
		*table
		exists *bool
	}{{rs.coordinator, &r.coordinator}, {rs.metrics, &r.metrics}} {
		var err error
		if *t.exists, err = t.present(ctx); err != nil {
			return none(err)
		}
	}
	var it item
	where := rs.coordinator
	if r.coordinator {
		var err error
		if it, err = where.get(ctx, keyTableMigration); err != nil {
			return none(err)
		}
		if textOf(it, attrTableMigration) != leases.TableMigrationComplete {
			own, err := rs.leaseTable.get(ctx, keyTableMigration)
			if err != nil {
				return none(err)
			}
			if own != nil && (it == nil || textOf(own, attrTableMigration) == leases.TableMigrationComplete) {
				it, where = own, rs.leaseTable
			}
		}
	}
	if it != nil {
		var bad *leases.RowError
		if r.migration, bad = decodeMigration(it, where.key, attrTableMigration); bad != nil {
			return none(bad)
		}
	}
	if r.coordinator {
		var err error
		if r.layouts, err = rs.layouts(ctx, r.migration.Status); err != nil {
			return none(err)
		}
	}
	rs.remember(r)
	return it, where, r, nil
}

// remember keeps r for routeAge. After the zero route, the next call looks at the tables.
func (rs *routes) remember(r route) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.last = r
}
