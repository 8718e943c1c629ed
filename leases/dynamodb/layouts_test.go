package dynamodb_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

// A worker of KCL 3.4.2 that starts on a lease table of KCL 3.5.1 makes the table of the
// coordinator. It fails at the first item that is no lease, and ends after 20 attempts. A worker of
// KCL 3.5.1 that starts later takes the lock in that table. Another worker holds the lock in the
// lease table.
func TestLayoutsApart(t *testing.T) {
	t.Parallel()
	leader := func(key, worker string) dynamotest.Item {
		return dynamotest.Item{
			key: dynamotest.S("Leader"), "entityType": dynamotest.S("LEADER"), "ownerName": dynamotest.S(worker),
			"recordVersionNumber": dynamotest.S("version of " + worker), "leaseDuration": dynamotest.S("120000"),
		}
	}
	version := func(key string) dynamotest.Item {
		return dynamotest.Item{
			key: dynamotest.S("Migration3.0"), "cv": dynamotest.S(leases.ClientVersion3x), "mb": dynamotest.S("a"),
			"mts": dynamotest.N("1"),
		}
	}
	migration := func(status string) dynamotest.Item {
		return dynamotest.Item{
			"key": dynamotest.S("TableMigration3.5"), "tm": dynamotest.S(status), "mb": dynamotest.S("a"),
			"mts": dynamotest.N("1"),
		}
	}
	const here, there = "leaseKey", "key"
	for _, tt := range []struct {
		name      string
		own, side []dynamotest.Item
		leader    string // whose lock the fleet obeys
		sideTable bool   // the application uses the side table
		split     bool
		says      []string // parts of TableConflict; none: nothing is wrong
	}{
		{
			name: "left behind", own: []dynamotest.Item{leader(here, "a"), version(here)}, leader: "a",
			says: []string{
				"orders of KCL 3.5 holds Leader (worker a), Migration3.0 (CLIENT_VERSION_3X)",
				"orders-CoordinatorState of KCL 3.0 to 3.4", "Delete orders-CoordinatorState",
			},
		},
		{
			name: "left behind, no leader", own: []dynamotest.Item{version(here)},
			says: []string{"holds Migration3.0", "Delete orders-CoordinatorState"},
		},
		{
			name: "two leaders", own: []dynamotest.Item{leader(here, "a"), version(here)},
			side: []dynamotest.Item{leader(there, "b"), migration(leases.TableMigrationInit)}, leader: "a", split: true,
			says: []string{
				"Leader (worker a)",
				"orders-CoordinatorState of KCL 3.0 to 3.4 as well with Leader (worker b), TableMigration3.5 " +
					"(TABLE_MIGRATION_STATUS_INIT)",
				"there may be two", "delete orders-CoordinatorState",
			},
		},
		{
			name: "two leaders an hour later", own: []dynamotest.Item{leader(here, "a"), version(here)},
			side: []dynamotest.Item{leader(there, "b"), migration(leases.TableMigrationDeployed)}, leader: "a", split: true,
			says: []string{"Leader (worker a)", "Leader (worker b)", "delete orders-CoordinatorState"},
		},
		{
			name: "lock where it does not belong", own: []dynamotest.Item{leader(here, "a")},
			side: []dynamotest.Item{leader(there, "b"), version(there)}, leader: "b", sideTable: true, split: true,
			says: []string{
				"Leader (worker a)", "Leader (worker b), Migration3.0 (CLIENT_VERSION_3X)", "delete the item Leader of orders,",
			},
		},
		{name: "KCL 3.4 has just begun", leader: "", sideTable: true},
		{name: "KCL 3.4", side: []dynamotest.Item{leader(there, "b"), version(there)}, leader: "b", sideTable: true},
		{
			name: "moving", own: []dynamotest.Item{version(here)},
			side: []dynamotest.Item{leader(there, "b"), migration(leases.TableMigrationPending)}, leader: "b", sideTable: true,
		},
		{
			name: "moved", own: []dynamotest.Item{version(here), leader(here, "a")},
			side: []dynamotest.Item{migration(leases.TableMigrationComplete)}, leader: "a", sideTable: true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv, s := serve(t, dynamotest.Config{})
			require.NoError(t, s.Init(t.Context()))
			sideTables(t, srv)
			srv.Put(table, tt.own...)
			srv.Put(table+"-CoordinatorState", tt.side...)
			m, err := s.Fleet().Migrations(t.Context())
			require.NoError(t, err)
			require.Equal(t, tt.split, m.BothTablesUsed)
			require.Equal(t, len(tt.says) > 0, m.TableConflict != "", m.TableConflict)
			for _, words := range tt.says {
				require.Contains(t, m.TableConflict, words)
			}
			require.Equal(t, tt.sideTable, m.SideTables)
			lock, err := s.Fleet().Leader(t.Context())
			require.NoError(t, err)
			if tt.leader == "" {
				require.Nil(t, lock)
				return
			}
			require.Equal(t, tt.leader, lock.Owner)
			require.NoError(t, s.Fleet().HeartbeatLeader(t.Context(), *lock, "next"))
			worker := leases.WorkerMetrics{Worker: "w", Updated: time.Unix(1, 0)}
			require.NoError(t, s.Fleet().ReportWorker(t.Context(), worker))
			workers, _, err := s.Fleet().Workers(t.Context())
			require.NoError(t, err)
			require.Len(t, workers, 1, "reports are read where they are written")
		})
	}
}
