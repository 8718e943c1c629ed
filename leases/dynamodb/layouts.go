package dynamodb

import (
	"context"
	"fmt"
	"strings"

	"github.com/kinesis-go/kcl/leases"
)

// layouts tells whether a fleet has items both in a lease table of KCL 3.5 and in a side table.
//
// A worker of KCL 3.0 to 3.4 that starts on a lease table of KCL 3.5 makes
// <Table>-CoordinatorState. It fails at the first item of the lease table that is no lease, and
// ends. Workers of KCL 3.5 that start later find <Table>-CoordinatorState and look for the lock
// there. Running workers look in the lease table. So the fleet has two leaders.
type layouts struct {
	// strayCoordinator says that the table of the coordinator should not exist.
	strayCoordinator bool
	// bothUsed says that the fleet uses both tables.
	bothUsed bool
	// conflict says, in words, what is wrong and what to do. It is empty when nothing is wrong.
	conflict string
}

// layouts compares the contents of the lease table and the table of the coordinator. migration is
// the state of the migration to a single table. Until the migration is complete, the lock is not in
// the lease table. Before it begins, only leases are in the lease table.
func (rs *routes) layouts(ctx context.Context, migration string) (layouts, error) {
	if migration == leases.TableMigrationComplete {
		return layouts{}, nil
	}
	side, own := rs.coordinator, rs.leaseTable
	here, _, err := own.holds(ctx, migration == "" || migration == leases.TableMigrationInit)
	if err != nil || here == "" {
		return layouts{}, err
	}
	there, stored, err := side.holds(ctx, true)
	if err != nil {
		return layouts{}, err
	}
	if migration != "" {
		there = strings.TrimPrefix(there+", ", ", ") + keyTableMigration + " (" + migration + ")"
	}
	l := layouts{strayCoordinator: !stored, bothUsed: there != ""}
	l.conflict = fmt.Sprintf("table %s of KCL 3.5 holds %s, and there is the table %s of KCL 3.0 to 3.4 as well",
		own.name, here, side.name)
	switch {
	case !l.bothUsed:
		l.conflict += fmt.Sprintf(", which is not in use: "+
			"a worker of KCL 3.0 to 3.4 was started, and cannot work here. "+
			"Delete %s: workers of KCL 3.5 that start while it exists elect a leader of their own in it", side.name)
	case l.strayCoordinator:
		l.conflict += fmt.Sprintf(" with %s: workers look for the leader in different tables, so that there may be two. "+
			"Stop all workers, delete %s, which holds no leases, and start them again", there, side.name)
	default:
		l.conflict += fmt.Sprintf(" with %s: workers look for the leader in different tables, so that there may be two. "+
			"Stop all workers, delete the item %s of %s, and start them again", there, keyLeader, own.name)
	}
	return l, nil
}

// holds describes, in words, the lock in a table. If version is set, it also describes the state of
// the move from KCL 2.x. stored tells whether that state was found.
func (t *table) holds(ctx context.Context, version bool) (words string, stored bool, err error) {
	lock, err := t.get(ctx, keyLeader)
	if err != nil {
		return "", false, err
	}
	var found []string
	if lock != nil {
		found = append(found, fmt.Sprintf("%s (worker %s)", keyLeader, textOf(lock, attrLockOwner)))
	}
	if version {
		cv, err := t.get(ctx, keyClientVersion)
		if err != nil {
			return "", false, err
		}
		if stored = cv != nil; stored {
			found = append(found, fmt.Sprintf("%s (%s)", keyClientVersion, textOf(cv, attrClientVersion)))
		}
	}
	return strings.Join(found, ", "), stored, nil
}
