package dynamodb

import "github.com/kinesis-go/kcl/leases"

// fleet is the contents of the tables besides leases, for workers of KCL 3.x. Each part owns one
// kind of item. Its routes tell in which table an item is.
type fleet struct {
	ownerIndex
	workerReports
	leaderLocks
	migrationStates
}

var _ leases.FleetStore = (*fleet)(nil)

// newFleet returns the fleet beside a lease table.
func newFleet(cfg Config, leaseTable *table) *fleet {
	r := newRoutes(cfg, leaseTable)
	return &fleet{
		ownerIndex:      ownerIndex{table: leaseTable},
		workerReports:   workerReports{routes: r, consistent: cfg.ConsistentList},
		leaderLocks:     leaderLocks{routes: r},
		migrationStates: migrationStates{routes: r},
	}
}
