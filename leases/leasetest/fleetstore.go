package leasetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// TestFleetStore runs the suite of a [leases.SharedStore]: the data of KCL 3.x besides leases. It
// calls newStore once for every test. newStore returns a store on an empty table of its own. If
// sideTables is true, the two side tables of KCL 3.0 to 3.4 exist too, and are empty. The store
// must be one that moves to a single table as soon as the migration allows it. The suite
// calls Init.
func TestFleetStore(t *testing.T, newStore func(t *testing.T, sideTables bool) leases.SharedStore) {
	for _, tt := range fleetTests {
		for _, side := range []bool{false, true} {
			if side && tt.layout == oneTable || !side && tt.layout == threeTables {
				continue
			}
			t.Run(fmt.Sprintf("%s, side tables %v", tt.name, side), func(t *testing.T) {
				s := newStore(t, side)
				require.NoError(t, s.Init(t.Context()))
				m, err := s.Fleet().Migrations(t.Context())
				require.NoError(t, err)
				require.Equal(t, leases.Migrations{SideTables: side, MoveRequested: m.MoveRequested}, m)
				tt.run(t, s)
			})
		}
	}
}

// The table layouts with which a test runs.
const (
	bothLayouts = iota
	oneTable
	threeTables
)

var fleetTests = []struct {
	name   string
	layout int
	run    func(t *testing.T, s leases.SharedStore)
}{
	{"index", bothLayouts, testIndex},
	{"metrics of workers", bothLayouts, testWorkers},
	{"leader lock", bothLayouts, testLeader},
	{"one leader at a time", bothLayouts, testLeaderRace},
	{"client version", bothLayouts, testClientVersion},
	{"other items are no leases", bothLayouts, testOtherItems},
	{"cancelled context", bothLayouts, testFleetCancelled},
	{"migration to a single table", threeTables, testTableMigration},
	{"nothing to migrate", oneTable, testNothingToMigrate},
}

func testNothingToMigrate(t *testing.T, s leases.SharedStore) {
	require.Error(t, s.Fleet().SetTableMigration(t.Context(), nil, migrated(leases.TableMigrationInit, 1)))
	require.NoError(t, s.Fleet().MoveToLeaseTable(t.Context(), lock("worker-a", "v1")))
}

func testIndex(t *testing.T, s leases.SharedStore) {
	for i := range 5 {
		row := minimal(fmt.Sprintf("shardId-%012d", i))
		if row.Owner = "worker-a"; i == 4 {
			row.Owner = ""
		}
		require.NoError(t, s.Create(t.Context(), row))
	}
	_, err := s.Fleet().OwnedBy(t.Context(), "worker-a")
	require.ErrorIs(t, err, leases.ErrNoIndex)
	has, err := s.Fleet().HasIndex(t.Context())
	require.NoError(t, err)
	require.False(t, has)
	require.Eventually(t, func() bool {
		ready, err := s.Fleet().EnsureIndex(t.Context())
		return err == nil && ready
	}, time.Minute, 50*time.Millisecond)
	has, err = s.Fleet().HasIndex(t.Context())
	require.NoError(t, err)
	require.True(t, has)
	owned := func(worker string, want ...string) {
		t.Helper()
		var got []string
		require.Eventually(t, func() bool {
			got, err = s.Fleet().OwnedBy(t.Context(), worker)
			slices.Sort(got)
			return err == nil && slices.Equal(want, got)
		}, 10*time.Second, 20*time.Millisecond, "want %v", want)
	}
	owned("worker-a", "shardId-000000000000", "shardId-000000000001", "shardId-000000000002", "shardId-000000000003")
	owned("worker-b")
	row := minimal("shardId-000000000002")
	row.Owner = "worker-a"
	to := row
	to.Owner = "worker-b"
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: row, Expect: leases.AttrOwner, To: to, Set: leases.AttrOwner,
	}))
	owned("worker-a", "shardId-000000000000", "shardId-000000000001", "shardId-000000000003")
	owned("worker-b", "shardId-000000000002")
	_, err = s.Fleet().OwnedBy(t.Context(), "")
	require.Error(t, err)
}

// reported is the report of a worker at a time.
func reported(worker string, second int64) leases.WorkerMetrics {
	at := time.Unix(1_700_000_000+second, 0).UTC()
	return leases.WorkerMetrics{
		Worker: worker, Updated: at, Native: true, Support: 1, SupportUpdated: at,
		MaxLeases: max(-1, int(second)-1), Handover: time.Duration(max(0, second)) * time.Minute,
		Stats: map[string][]float64{"C": {50, 12.5, -1}, "NI": {0}},
		Range: map[string][]float64{"C": {80, 100}, "NI": {0}},
	}
}

// workers waits until the table has the metrics want and no others, ordered by time. A listing may
// lag behind.
func workers(t *testing.T, s leases.SharedStore, want ...leases.WorkerMetrics) {
	t.Helper()
	var got []leases.WorkerMetrics
	require.Eventually(t, func() bool {
		found, bad, err := s.Fleet().Workers(t.Context())
		require.NoError(t, err)
		require.Empty(t, bad)
		slices.SortFunc(found, func(a, b leases.WorkerMetrics) int { return a.Updated.Compare(b.Updated) })
		for i := range found {
			found[i].InSideTable = false
		}
		got = found
		return fmt.Sprint(want) == fmt.Sprint(got)
	}, 10*time.Second, 20*time.Millisecond)
	if len(want) > 0 {
		require.Equal(t, want, got)
	}
}

func testWorkers(t *testing.T, s leases.SharedStore) {
	workers(t, s)
	plain := leases.WorkerMetrics{
		Worker: "worker-b", Updated: time.Unix(1_700_000_001, 0).UTC(),
		Stats: map[string][]float64{}, Range: map[string][]float64{},
	}
	a := reported("worker-a", 0)
	require.NoError(t, s.Fleet().ReportWorker(t.Context(), a))
	require.NoError(t, s.Fleet().ReportWorker(t.Context(), plain))
	workers(t, s, a, plain)

	later := reported("worker-a", 30)
	later.Stats, later.Support, later.SupportUpdated, later.Native = map[string][]float64{}, 0, time.Time{}, false
	require.NoError(t, s.Fleet().ReportWorker(t.Context(), later), "the earlier report does not matter")
	workers(t, s, plain, later)

	requireConflict(t, s.Fleet().ForgetWorker(t.Context(), a))
	require.NoError(t, s.Fleet().ForgetWorker(t.Context(), later))
	requireConflict(t, s.Fleet().ForgetWorker(t.Context(), later))
	workers(t, s, plain)

	for name, m := range map[string]leases.WorkerMetrics{
		"no id":             {Updated: a.Updated},
		"no time":           {Worker: "w"},
		"an empty list":     {Worker: "w", Updated: a.Updated, Stats: map[string][]float64{"C": {}}},
		"too many samples":  {Worker: "w", Updated: a.Updated, Stats: map[string][]float64{"C": make([]float64, 11)}},
		"a sample below -1": {Worker: "w", Updated: a.Updated, Stats: map[string][]float64{"C": {-2}}},
	} {
		require.Error(t, s.Fleet().ReportWorker(t.Context(), m), name)
	}
	workers(t, s, plain)
}

func lock(owner, version string) leases.LeaderLock {
	return leases.LeaderLock{Owner: owner, Version: version, Duration: 20 * time.Second}
}

func requireLeader(t *testing.T, s leases.SharedStore, want leases.LeaderLock) {
	t.Helper()
	got, err := s.Fleet().Leader(t.Context())
	require.NoError(t, err)
	require.Equal(t, &want, got)
}

func testLeader(t *testing.T, s leases.SharedStore) {
	none, err := s.Fleet().Leader(t.Context())
	require.NoError(t, err)
	require.Nil(t, none)
	first := lock("worker-a", "v1")
	requireConflict(t, s.Fleet().AcquireLeader(t.Context(), &first, lock("worker-b", "v2")))
	requireConflict(t, s.Fleet().HeartbeatLeader(t.Context(), first, "v2"))
	requireConflict(t, s.Fleet().ReleaseLeader(t.Context(), first))

	require.NoError(t, s.Fleet().AcquireLeader(t.Context(), nil, first))
	requireLeader(t, s, first)
	requireConflict(t, s.Fleet().AcquireLeader(t.Context(), nil, lock("worker-b", "v2")))
	require.NoError(t, s.Fleet().HeartbeatLeader(t.Context(), first, "v2"))
	second := lock("worker-a", "v2")
	requireLeader(t, s, second)
	requireConflict(t, s.Fleet().HeartbeatLeader(t.Context(), first, "v3"))
	requireConflict(t, s.Fleet().HeartbeatLeader(t.Context(), lock("worker-b", "v2"), "v3"))
	requireConflict(t, s.Fleet().AcquireLeader(t.Context(), &first, lock("worker-b", "v3")))

	third := lock("worker-b", "v3")
	third.Duration = 120 * time.Second
	require.NoError(t, s.Fleet().AcquireLeader(t.Context(), &second, third))
	requireLeader(t, s, third)
	requireConflict(t, s.Fleet().ReleaseLeader(t.Context(), second))
	requireConflict(t, s.Fleet().HeartbeatLeader(t.Context(), second, "v4"))
	require.NoError(t, s.Fleet().ReleaseLeader(t.Context(), third))
	none, err = s.Fleet().Leader(t.Context())
	require.NoError(t, err)
	require.Nil(t, none)

	free := lock("worker-a", "v5")
	free.Released = true
	require.NoError(t, s.Fleet().AcquireLeader(t.Context(), nil, free))
	requireLeader(t, s, free)
	require.NoError(t, s.Fleet().AcquireLeader(t.Context(), &free, lock("worker-b", "v6")))
	requireLeader(t, s, lock("worker-b", "v6"))
	requireConflict(t, s.Fleet().AcquireLeader(t.Context(), &free, lock("worker-a", "v7")))

	noDuration := leases.LeaderLock{Owner: "worker-a", Version: "v8"}
	require.Error(t, s.Fleet().AcquireLeader(t.Context(), nil, noDuration), "no duration")
}

// testLeaderRace: of many workers that see the same lock, one gets it.
func testLeaderRace(t *testing.T, s leases.SharedStore) {
	var read *leases.LeaderLock
	for round := range 5 {
		const n = 8
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				to := lock(fmt.Sprintf("worker-%d", i), fmt.Sprintf("%d-%d", round, i))
				errs[i] = s.Fleet().AcquireLeader(t.Context(), read, to)
			})
		}
		wg.Wait()
		won := -1
		for i, err := range errs {
			if err == nil {
				require.Equal(t, -1, won, "two leaders")
				won = i
			} else {
				requireConflict(t, err)
			}
		}
		require.GreaterOrEqual(t, won, 0)
		l := lock(fmt.Sprintf("worker-%d", won), fmt.Sprintf("%d-%d", round, won))
		requireLeader(t, s, l)
		read = &l
	}
}

func migrated(status string, n int) leases.MigrationState {
	at := time.UnixMilli(1_700_000_000_000 + int64(n)).UTC()
	return leases.MigrationState{Status: status, By: "worker-a", At: at}
}

func testClientVersion(t *testing.T, s leases.SharedStore) {
	var read *leases.MigrationState
	for i := range 14 { // longer than the history is kept
		status := []string{leases.ClientVersionUpgradeFrom2x, leases.ClientVersion3xRollback}[i%2]
		to := migrated(status, i)
		old := migrated(leases.ClientVersion2x, i)
		requireConflict(t, s.Fleet().SetClientVersion(t.Context(), &old, to))
		require.NoError(t, s.Fleet().SetClientVersion(t.Context(), read, to))
		requireConflict(t, s.Fleet().SetClientVersion(t.Context(), nil, to))
		m, err := s.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, &to, m.ClientVersion)
		require.Nil(t, m.Table)
		read = &to
	}
	same := *read
	same.At = same.At.Add(time.Millisecond) // the same status, but written at another time
	requireConflict(t, s.Fleet().SetClientVersion(t.Context(), &same, migrated(leases.ClientVersion3x, 20)))
	require.Error(t, s.Fleet().SetClientVersion(t.Context(), read, migrated("CLIENT_VERSION_4X", 20)))
}

func testOtherItems(t *testing.T, s leases.SharedStore) {
	m, err := s.Fleet().Migrations(t.Context())
	require.NoError(t, err)
	side := m.SideTables
	require.NoError(t, s.Create(t.Context(), minimal("shardId-000000000000")))
	require.NoError(t, s.Fleet().ReportWorker(t.Context(), reported("worker-a", 0)))
	require.NoError(t, s.Fleet().AcquireLeader(t.Context(), nil, lock("worker-a", "v1")))
	require.NoError(t, s.Fleet().SetClientVersion(t.Context(), nil, migrated(leases.ClientVersion3x, 0)))
	require.Eventually(t, func() bool {
		l, err := s.List(t.Context())
		return err == nil && len(l.Leases) == 1 && len(l.Bad) == 0 && (len(l.Workers) == 1 || side)
	}, 10*time.Second, 20*time.Millisecond)
	for _, key := range []string{"worker-a", "Leader", "Migration3.0"} {
		_, err := s.Get(t.Context(), key)
		require.ErrorIs(t, err, leases.ErrNotFound, key)
	}
}

func testFleetCancelled(t *testing.T, s leases.SharedStore) {
	require.NoError(t, s.Fleet().AcquireLeader(t.Context(), nil, lock("worker-a", "v1")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	_, err := s.Fleet().EnsureIndex(ctx)
	add(err)
	_, err = s.Fleet().HasIndex(ctx)
	add(err)
	_, err = s.Fleet().OwnedBy(ctx, "worker-a")
	add(err)
	_, _, err = s.Fleet().Workers(ctx)
	add(err)
	_, err = s.Fleet().Leader(ctx)
	add(err)
	_, err = s.Fleet().Migrations(ctx)
	add(err)
	add(s.Fleet().ReportWorker(ctx, reported("worker-a", 0)))
	add(s.Fleet().ForgetWorker(ctx, reported("worker-a", 0)))
	add(s.Fleet().HeartbeatLeader(ctx, lock("worker-a", "v1"), "v2"))
	add(s.Fleet().ReleaseLeader(ctx, lock("worker-a", "v1")))
	add(s.Fleet().SetClientVersion(ctx, nil, migrated(leases.ClientVersion3x, 0)))
	for i, err := range errs {
		require.ErrorIs(t, err, context.Canceled, i)
	}
	requireLeader(t, s, lock("worker-a", "v1"))
}

// testTableMigration makes each step of the migration from the side tables to a single table.
func testTableMigration(t *testing.T, s leases.SharedStore) {
	set := func(read *leases.MigrationState, to leases.MigrationState) *leases.MigrationState {
		t.Helper()
		require.NoError(t, s.Fleet().SetTableMigration(t.Context(), read, to))
		m, err := s.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, &to, m.Table)
		require.True(t, m.SideTables)
		return &to
	}
	mine := lock("worker-a", "v1")
	require.NoError(t, s.Fleet().AcquireLeader(t.Context(), nil, mine))
	require.NoError(t, s.Fleet().SetClientVersion(t.Context(), nil, migrated(leases.ClientVersion3x, 0)))
	require.NoError(t, s.Fleet().ReportWorker(t.Context(), reported("worker-a", 0)))
	require.Error(t, s.Fleet().MoveToLeaseTable(t.Context(), mine), "workers of KCL 3.0 to 3.4 may be running")

	state := set(nil, migrated(leases.TableMigrationInit, 1))
	requireConflict(t, s.Fleet().SetTableMigration(t.Context(), nil, migrated(leases.TableMigrationInit, 2)))
	require.NoError(t, s.Fleet().SetTableMigration(t.Context(), state, leases.MigrationState{}),
		"a worker without support came back")
	m, err := s.Fleet().Migrations(t.Context())
	require.NoError(t, err)
	require.Nil(t, m.Table)
	state = set(nil, migrated(leases.TableMigrationInit, 3))
	require.Error(t, s.Fleet().MoveToLeaseTable(t.Context(), mine))
	state = set(state, migrated(leases.TableMigrationDeployed, 4))

	// From now on metrics go to the lease table. The metrics in the side table stay.
	require.NoError(t, s.Fleet().ReportWorker(t.Context(), reported("worker-a", 30)))
	require.Eventually(t, func() bool {
		found, _, err := s.Fleet().Workers(t.Context())
		return err == nil && len(found) == 2 && found[0].InSideTable != found[1].InSideTable
	}, 10*time.Second, 20*time.Millisecond)

	requireConflict(t, s.Fleet().MoveToLeaseTable(t.Context(), lock("worker-b", "v1")))
	require.NoError(t, s.Fleet().MoveToLeaseTable(t.Context(), mine))
	require.NoError(t, s.Fleet().MoveToLeaseTable(t.Context(), mine), "the move can be repeated")
	cv := migrated(leases.ClientVersion3x, 0)
	m, err = s.Fleet().Migrations(t.Context())
	require.NoError(t, err)
	require.Equal(t, &cv, m.ClientVersion)
	state = set(state, migrated(leases.TableMigrationPending, 5))
	requireLeader(t, s, mine)
	rollback := migrated(leases.ClientVersion3xRollback, 6)
	require.NoError(t, s.Fleet().SetClientVersion(t.Context(), &cv, rollback),
		"the state of the client version is in the lease table now")

	foreign := migrated(leases.TableMigrationComplete, 7)
	foreign.By = "worker-b"
	requireConflict(t, s.Fleet().SetTableMigration(t.Context(), state, foreign))
	set(state, migrated(leases.TableMigrationComplete, 8))
	none, err := s.Fleet().Leader(t.Context())
	require.NoError(t, err)
	require.Nil(t, none, "the lock of the side table does not count any more")
	require.NoError(t, s.Fleet().AcquireLeader(t.Context(), nil, lock("worker-b", "v9")))
	requireLeader(t, s, lock("worker-b", "v9"))
	m, err = s.Fleet().Migrations(t.Context())
	require.NoError(t, err)
	require.Equal(t, &rollback, m.ClientVersion)
	workers(t, s, reported("worker-a", 30)) // only those in the lease table
}
