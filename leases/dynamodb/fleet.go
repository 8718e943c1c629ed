package dynamodb

import "github.com/kinesis-go/kcl/leases"

// fleet is what the tables hold besides leases, for workers of KCL 3.x: each of its parts
// owns one kind of item, and routes tells the parts in which table it is.
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
