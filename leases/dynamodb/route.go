package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/kinesis-go/kcl/leases"
)

// routeAge is for how long what is known about the side tables holds.
const routeAge = time.Minute

// route is what decides where the items are that are no leases: which side
// tables of KCL 3.0 to 3.4 exist, and how far the migration to a single table
// has come.
type route struct {
	coordinator bool                  // <Table>-CoordinatorState exists
	metrics     bool                  // <Table>-WorkerMetricStats exists
	migration   leases.MigrationState // as stored; zero when there is none
	layouts     layouts
	at          time.Time
}

// routes keeps the last route.
type routes struct {
	mu   sync.Mutex // guards the field below
	last route
}

// single tells whether everything is in the lease table. No coordinator table
// means a fleet that never had one, and one beside a lease table of KCL 3.5
// should not be there.
func (r route) single() bool {
	return !r.coordinator || r.migration.Status == leases.TableMigrationComplete || r.layouts.stray
}

// writesToLeaseTable tells where new items belong. Before the migration has
// come to PENDING, workers of KCL 3.0 to 3.4 may run, or be asked back, which
// cannot read a lease table that holds anything else.
func (r route) writesToLeaseTable(migrate bool) bool {
	return r.single() || r.migration.Status == leases.TableMigrationPending || migrate && r.migration.Status == leases.TableMigrationDeployed
}

// place is a table and the name of its hash key.
type place struct {
	*Store
	key string
}

func (s *Store) leaseTable() place { return place{Store: s, key: attrKey} }

func (s *Store) coordinatorTable() place {
	return place{Store: s.on(cmp.Or(s.cfg.CoordinatorTable, s.cfg.Table+"-CoordinatorState")), key: attrCoordinatorKey}
}

func (s *Store) metricsTable() place {
	return place{Store: s.on(cmp.Or(s.cfg.WorkerMetricsTable, s.cfg.Table+"-WorkerMetricStats")), key: attrWorkerID}
}

// on returns the store with another table, for its calls.
func (s *Store) on(table string) *Store {
	other := *s
	other.cfg.Table, other.side = table, true
	return &other
}

// lock is where the leader's lock is; fresh is that of route.
func (s *Store) lock(ctx context.Context, fresh bool) (place, error) {
	r, err := s.route(ctx, fresh)
	if err != nil || r.single() {
		return s.leaseTable(), err
	}
	return s.coordinatorTable(), nil
}

// route tells where items are; what is known from the last minute does, unless
// it is to be fresh.
func (s *Store) route(ctx context.Context, fresh bool) (route, error) {
	s.routes.mu.Lock()
	r := s.routes.last
	s.routes.mu.Unlock()
	if !fresh && !r.at.IsZero() && time.Since(r.at) < routeAge {
		return r, nil
	}
	_, _, r, err := s.tableMigration(ctx)
	return r, err
}

// tableMigration reads the state of the migration to a single table, and where
// it is kept, and with it the route.
func (s *Store) tableMigration(ctx context.Context) (item, place, route, error) {
	r := route{at: time.Now()}
	none := func(err error) (item, place, route, error) { return nil, place{}, route{}, err }
	for _, t := range []struct {
		place
		exists *bool
	}{{s.coordinatorTable(), &r.coordinator}, {s.metricsTable(), &r.metrics}} {
		var err error
		if *t.exists, err = t.exist(ctx); err != nil {
			return none(err)
		}
	}
	var it item
	where := s.coordinatorTable()
	if r.coordinator { // otherwise there is nothing to migrate, or not any more
		var err error
		if it, err = where.get(ctx, keyTableMigration); err != nil {
			return none(err)
		}
		if textOf(it, attrTableMigration) != leases.TableMigrationComplete {
			own, err := s.leaseTable().get(ctx, keyTableMigration)
			if err != nil {
				return none(err)
			}
			if own != nil && (it == nil || textOf(own, attrTableMigration) == leases.TableMigrationComplete) {
				it, where = own, s.leaseTable()
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
		if r.layouts, err = s.layouts(ctx, r.migration.Status); err != nil {
			return none(err)
		}
	}
	s.keepRoute(r)
	return it, where, r, nil
}

// keepRoute makes r what is known for a while; the zero one is found out anew.
func (s *Store) keepRoute(r route) {
	s.routes.mu.Lock()
	defer s.routes.mu.Unlock()
	s.routes.last = r
}

// exist tells whether a side table is there. They are never made here: that
// they exist tells the workers of KCL 3.5 where the lock is.
func (p place) exist(ctx context.Context) (bool, error) {
	t, err := p.describe(ctx)
	switch {
	case errors.Is(err, leases.ErrTableNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	if keys := t.KeySchema; len(keys) != 1 || aws.ToString(keys[0].AttributeName) != p.key {
		return false, fmt.Errorf("%w: table %s does not have the key %s of a side table of KCL 3.0 to 3.4; if it is of another application, set Config.CoordinatorTable and Config.WorkerMetricsTable to other names",
			leases.ErrForeignTable, p.cfg.Table, p.key)
	}
	return true, nil
}

// get reads an item as it is now; nil when there is none.
func (p place) get(ctx context.Context, id string) (item, error) {
	out, err := call(ctx, p.Store, "dynamodb:GetItem", p.cfg.Client.GetItem, &sdk.GetItemInput{
		TableName: &p.cfg.Table, Key: p.id(id), ConsistentRead: aws.Bool(true),
	}, p.soon)
	if err != nil || len(out.Item) == 0 {
		return nil, err
	}
	return out.Item, nil
}

func (p place) id(id string) item { return item{p.key: str(id)} }

// entity returns a new item with its key and, in the lease table, its kind.
func (p place) entity(id, kind string) item {
	it := p.id(id)
	if !p.side {
		it[attrEntityType] = str(kind)
	}
	return it
}
