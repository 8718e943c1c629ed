package dynamodb_test

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasetest"
)

func testFleetStore(t *testing.T, cfg dynamotest.Config) {
	leasetest.TestFleetStore(t, func(t *testing.T, side bool) leases.SharedStore {
		srv, s := serve(t, cfg, func(c *dynamodb.Config) { c.MigrateToLeaseTable = true })
		if side {
			sideTables(t, srv)
		}
		return s
	})
}

func TestFleetStore(t *testing.T) {
	t.Parallel()
	testFleetStore(t, dynamotest.Config{})
}

// TestFleetStoreAtItsWorst runs the suite with small and empty pages, lagging scans, and an index
// that lags further.
func TestFleetStoreAtItsWorst(t *testing.T) {
	t.Parallel()
	testFleetStore(t, dynamotest.Config{
		PageRows: 1, EmptyPages: true, Lag: 20 * time.Millisecond, IndexLag: 40 * time.Millisecond,
	})
}

// only returns the one item of a table that has the hash key.
func only(t *testing.T, srv *dynamotest.Server, table, attribute, key string) dynamotest.Item {
	t.Helper()
	for _, it := range srv.Items(table) {
		if it[attribute].Text == key {
			return it
		}
	}
	require.Fail(t, "no item", "%s in %s", key, table)
	return nil
}

// TestFleetItems: the items are those that a Java worker writes. In one table they have their kind,
// and in three tables they do not.
func TestFleetItems(t *testing.T) {
	t.Parallel()
	for _, side := range []bool{false, true} {
		srv, s := serve(t, dynamotest.Config{})
		coordinator, key := table, "leaseKey"
		metrics, wid := table, "leaseKey"
		kind := func(it dynamotest.Item, k string) dynamotest.Item {
			if !side {
				it["entityType"] = dynamotest.S(k)
			}
			return it
		}
		require.NoError(t, s.Init(t.Context()))
		if side {
			sideTables(t, srv)
			coordinator, key, metrics, wid = table+"-CoordinatorState", "key", table+"-WorkerMetricStats", "wid"
		}
		lock := leases.LeaderLock{Owner: "w1", Version: "v1", Duration: 120 * time.Second}
		require.NoError(t, s.Fleet().AcquireLeader(t.Context(), nil, lock))
		require.NoError(t, s.Fleet().HeartbeatLeader(t.Context(), lock, "v2"))
		require.Equal(t, kind(dynamotest.Item{
			key: dynamotest.S("Leader"), "ownerName": dynamotest.S("w1"), "recordVersionNumber": dynamotest.S("v2"),
			"leaseDuration": dynamotest.S("120000"),
		}, "LEADER"), only(t, srv, coordinator, key, "Leader"))

		first := leases.MigrationState{
			Status: leases.ClientVersionUpgradeFrom2x, By: "w1", At: time.UnixMilli(1_700_000_000_001),
		}
		second := leases.MigrationState{
			Status: leases.ClientVersion3xRollback, By: "w2", At: time.UnixMilli(1_700_000_000_002),
		}
		require.NoError(t, s.Fleet().SetClientVersion(t.Context(), nil, first))
		require.NoError(t, s.Fleet().SetClientVersion(t.Context(), &first, second))
		past := func(cv, by, at string) dynamotest.Value {
			return dynamotest.Value{
				Type: "M", Map: dynamotest.Item{"cv": dynamotest.S(cv), "mb": dynamotest.S(by), "mts": dynamotest.N(at)},
			}
		}
		require.Equal(t, kind(dynamotest.Item{
			key: dynamotest.S("Migration3.0"), "cv": dynamotest.S("CLIENT_VERSION_3X_WITH_ROLLBACK"), "mb": dynamotest.S("w2"),
			"mts": dynamotest.N("1700000000002"),
			"h": {Type: "L", List: []dynamotest.Value{
				past("CLIENT_VERSION_UPGRADE_FROM_2X", "w1", "1700000000001"), past("CLIENT_VERSION_INIT", "w1", "1700000000001"),
			}},
		}, "CLIENT_VERSION_MIGRATION"), only(t, srv, coordinator, key, "Migration3.0"))
		for i := range 20 {
			first, second = second, leases.MigrationState{
				Status: leases.ClientVersion3x, By: "w2", At: time.UnixMilli(1_700_000_000_100 + int64(i)),
			}
			require.NoError(t, s.Fleet().SetClientVersion(t.Context(), &first, second))
		}
		require.Len(t, only(t, srv, coordinator, key, "Migration3.0")["h"].List, 10)

		require.NoError(t, s.Fleet().ReportWorker(t.Context(), leases.WorkerMetrics{
			Worker: "w1", Updated: time.Unix(1_700_000_000, 5), Support: 1, SupportUpdated: time.Unix(1_700_000_001, 0),
			Native: true,
		}))
		none := dynamotest.Value{Type: "M", Map: dynamotest.Item{}}
		require.Equal(t, kind(dynamotest.Item{
			wid: dynamotest.S("w1"), "lut": dynamotest.N("1700000000"), "sts": none, "opr": none, "sup": dynamotest.N("1"),
			"slu": dynamotest.N("1700000001"), "goWorker": {Type: "BOOL", Bool: true},
		}, "WORKER_METRIC_STATS"), only(t, srv, metrics, wid, "w1"))
		require.NoError(t, s.Fleet().ReportWorker(t.Context(), leases.WorkerMetrics{
			Worker: "w1", Updated: time.Unix(1_700_000_030, 0), Stats: map[string][]float64{"C": {50, -1}},
			Range: map[string][]float64{"C": {100}},
		}))
		list := func(n ...string) dynamotest.Value {
			v := dynamotest.Value{Type: "M", Map: dynamotest.Item{"C": {Type: "L"}}}
			l := v.Map["C"]
			for _, n := range n {
				l.List = append(l.List, dynamotest.N(n))
			}
			v.Map["C"] = l
			return v
		}
		require.Equal(t, kind(dynamotest.Item{
			wid: dynamotest.S("w1"), "lut": dynamotest.N("1700000030"), "sts": list("50", "-1"), "opr": list("100"),
		}, "WORKER_METRIC_STATS"), only(t, srv, metrics, wid, "w1"))
		if side {
			require.Empty(t, srv.Items(table), "workers of KCL 3.0 to 3.4 can read nothing else than leases there")
		}
	}
}

// TestWorkerNamedAsALease: the metrics of a worker do not overwrite a lease with the same key.
// Removing the metrics does not remove the lease.
func TestWorkerNamedAsALease(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	require.NoError(t, s.Init(t.Context()))
	require.NoError(t, s.Create(t.Context(), lease("a")))
	before := itemOf(t, srv, "a")
	m := leases.WorkerMetrics{Worker: "a", Updated: time.Unix(1_700_000_000, 0)}
	var conflict *leases.ConflictError
	require.ErrorAs(t, s.Fleet().ReportWorker(t.Context(), m), &conflict)
	require.ErrorAs(t, s.Fleet().ForgetWorker(t.Context(), m), &conflict)
	require.ErrorAs(t, s.Fleet().ForgetWorker(t.Context(), leases.WorkerMetrics{Worker: "a"}), &conflict)
	require.Equal(t, before, itemOf(t, srv, "a"))
}

// TestForeignAttributesOfWorkers: the attributes of another library survive, in metrics of a worker
// and in the state of a migration.
func TestForeignAttributesOfWorkers(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	require.NoError(t, s.Init(t.Context()))
	properties := dynamotest.Value{Type: "M", Map: dynamotest.Item{"a": dynamotest.S("b")}}
	srv.Put(table,
		dynamotest.Item{
			"leaseKey": dynamotest.S("w1"), "entityType": dynamotest.S("WORKER_METRIC_STATS"), "lut": dynamotest.N("1"),
			"properties": properties,
		},
		dynamotest.Item{
			"leaseKey": dynamotest.S("Migration3.0"), "entityType": dynamotest.S("CLIENT_VERSION_MIGRATION"),
			"cv": dynamotest.S("CLIENT_VERSION_2X"), "x": properties, "h": dynamotest.S("bad"),
		})
	require.NoError(t, s.Fleet().ReportWorker(t.Context(), leases.WorkerMetrics{
		Worker: "w1", Updated: time.Unix(1_700_000_000, 0),
	}))
	require.Equal(t, properties, itemOf(t, srv, "w1")["properties"])
	m, err := s.Fleet().Migrations(t.Context())
	require.NoError(t, err)
	require.Equal(t, &leases.MigrationState{Status: leases.ClientVersion2x}, m.ClientVersion,
		"written by hand, without time")
	require.NoError(t, s.Fleet().SetClientVersion(t.Context(), m.ClientVersion, leases.MigrationState{
		Status: leases.ClientVersion3x, By: "w1", At: time.UnixMilli(1),
	}))
	require.Equal(t, properties, itemOf(t, srv, "Migration3.0")["x"])
	require.Len(t, itemOf(t, srv, "Migration3.0")["h"].List, 1)
}

// TestDamagedFleetItems: an item that cannot be read is an error, and hides no other item.
func TestDamagedFleetItems(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	require.NoError(t, s.Init(t.Context()))
	worker := func(id string, change dynamotest.Item) dynamotest.Item {
		it := dynamotest.Item{
			"leaseKey": dynamotest.S(id), "entityType": dynamotest.S("WORKER_METRIC_STATS"), "lut": dynamotest.N("1700000000"),
		}
		maps.Copy(it, change)
		return it
	}
	srv.Put(table, worker("good", nil),
		worker("a", dynamotest.Item{"lut": dynamotest.S("yesterday")}),
		worker("b", dynamotest.Item{"sts": dynamotest.S("x")}),
		worker("c", dynamotest.Item{"opr": {Type: "M", Map: dynamotest.Item{"C": dynamotest.N("1")}}}),
		worker("d", dynamotest.Item{
			"sts": {Type: "M", Map: dynamotest.Item{"C": {Type: "L", List: []dynamotest.Value{dynamotest.S("1")}}}},
		}),
		worker("e", dynamotest.Item{"sup": dynamotest.N("-1")}))
	workers, bad, err := s.Fleet().Workers(t.Context())
	require.NoError(t, err)
	require.Len(t, workers, 1)
	require.Len(t, bad, 5)
	for _, b := range bad {
		require.ErrorContains(t, b, "cannot be read", b.Key)
	}

	lock := dynamotest.Item{
		"leaseKey": dynamotest.S("Leader"), "ownerName": dynamotest.S("w1"), "recordVersionNumber": dynamotest.S("v"),
		"leaseDuration": dynamotest.S("120000"),
	}
	for _, broken := range []dynamotest.Item{
		{"ownerName": dynamotest.N("1")},
		{"recordVersionNumber": dynamotest.S("")},
		{"leaseDuration": dynamotest.N("120000")},
		{"leaseDuration": dynamotest.S("-1")},
		{"leaseDuration": dynamotest.S("99999999999999999999")},
	} {
		it := maps.Clone(lock)
		maps.Copy(it, broken)
		srv.Put(table, it)
		_, err := s.Fleet().Leader(t.Context())
		var row *leases.RowError
		require.ErrorAs(t, err, &row)
		require.Equal(t, "Leader", row.Key)
		require.ErrorContains(t, err, "or delete it")
	}
	srv.Put(table, dynamotest.Item{"leaseKey": dynamotest.S("Migration3.0"), "cv": dynamotest.S("CLIENT_VERSION_4X")})
	_, err = s.Fleet().Migrations(t.Context())
	require.ErrorContains(t, err, "CLIENT_VERSION_4X")
}
