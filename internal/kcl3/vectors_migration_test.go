package kcl3

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

var wall = time.Unix(1_700_000_000, 0)

func stateOf(status string, age time.Duration) *leases.MigrationState {
	if status == "" {
		return nil
	}
	return &leases.MigrationState{Status: status, By: "java", At: wall.Add(-age)}
}

// TestReadyVectors replays the KCL's MigrationReadyMonitorTest: when a fleet may move to KCL 3.x.
func TestReadyVectors(t *testing.T) {
	t.Parallel()
	owned := func(owners ...string) []leases.Lease {
		var list []leases.Lease
		for _, o := range owners {
			list = append(list, leases.Lease{Key: o, Owner: o})
		}
		return list
	}
	alive := func(workers ...string) map[string]bool {
		m := map[string]bool{}
		for _, w := range workers {
			m[w] = true
		}
		return m
	}
	finished := leases.Lease{Key: "end"}
	finished.Checkpoint.SequenceNumber = "SHARD_END"
	type look struct {
		at    time.Duration
		index bool
		rows  []leases.Lease
		alive map[string]bool
		ready bool
	}
	ab := owned("a", "b")
	tests := map[string][]look{
		"ready for ten minutes": {
			{60 * sec, true, ab, alive("a", "b"), false},
			{600 * sec, true, ab, alive("a", "b"), false},
			{659 * sec, true, ab, alive("a", "b"), false},
			{660 * sec, true, ab, alive("a", "b"), true},
		},
		"no index": {
			{0, false, ab, alive("a", "b"), false},
			{600 * sec, false, ab, alive("a", "b"), false},
			{660 * sec, true, ab, alive("a", "b"), false},
			{1260 * sec, true, ab, alive("a", "b"), true},
		},
		"the index goes away": {
			{0, true, ab, alive("a", "b"), false},
			{300 * sec, false, ab, alive("a", "b"), false},
			{600 * sec, true, ab, alive("a", "b"), false},
		},
		"a worker does not report": {{0, true, ab, alive("a"), false}, {600 * sec, true, ab, alive("a"), false}},
		"a worker is silent once": {
			{0, true, ab, alive("a", "b"), false},
			{540 * sec, true, ab, alive("a"), false},
			{600 * sec, true, ab, alive("a", "b"), false},
			{1200 * sec, true, ab, alive("a", "b"), true},
		},
		"a worker comes along that is ready": {
			{0, true, ab, alive("a", "b"), false},
			{600 * sec, true, owned("a", "b", "c"), alive("a", "b", "c"), true},
		},
		"a worker has no lease": {
			{0, true, owned("a"), alive("a", "b"), false},
			{600 * sec, true, owned("a"), alive("a", "b"), true},
		},
		"a lease has no owner": {
			{0, true, owned("a", ""), alive("a"), false},
			{600 * sec, true, owned("a", ""), alive("a"), false},
		},
		"a finished lease has no owner": {
			{0, true, append(owned("a"), finished), alive("a"), false},
			{600 * sec, true, append(owned("a"), finished), alive("a"), true},
		},
	}
	for name, looks := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w ReadyWatch
			for _, l := range looks {
				require.Equal(t, l.ready, w.Observe(l.at, l.index, l.rows, l.alive), "at %v", l.at)
			}
		})
	}
}

func TestClientVersionVectors(t *testing.T) {
	t.Parallel()
	for _, status := range []string{
		"", leases.ClientVersionInit, leases.ClientVersionUpgradeFrom2x,
		leases.ClientVersion2x, leases.ClientVersion3xRollback, leases.ClientVersion3x,
	} {
		_, ok := NextClientVersion(stateOf(status, time.Hour), false, "me", wall)
		require.False(t, ok)
		to, ok := NextClientVersion(stateOf(status, time.Hour), true, "me", wall)
		require.Equal(t, status == leases.ClientVersionUpgradeFrom2x, ok, status)
		if ok {
			require.Equal(t, leases.MigrationState{Status: leases.ClientVersion3xRollback, By: "me", At: wall}, to)
		}
	}
}

// TestTableStatusVectors is determineStatusForInitialization.
func TestTableStatusVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		stored        string
		side, migrate bool
		want          string // empty: an error
	}{
		{"", false, false, leases.TableMigrationComplete},
		{"", false, true, leases.TableMigrationComplete},
		{"", true, false, leases.TableMigrationInit},
		{"", true, true, ""},
		{leases.TableMigrationInit, true, false, leases.TableMigrationInit},
		{leases.TableMigrationInit, true, true, ""},
		{leases.TableMigrationDeployed, true, false, leases.TableMigrationDeployed},
		{leases.TableMigrationDeployed, true, true, leases.TableMigrationPending},
		{leases.TableMigrationPending, true, false, leases.TableMigrationDeployed},
		{leases.TableMigrationPending, true, true, leases.TableMigrationPending},
		{leases.TableMigrationComplete, true, false, leases.TableMigrationComplete},
		{leases.TableMigrationComplete, true, true, leases.TableMigrationComplete},
		{"TABLE_MIGRATION_STATUS_NEW", true, false, ""},
	}
	for _, tt := range tests {
		got, err := TableStatus(stateOf(tt.stored, 0), tt.side, tt.migrate)
		require.Equal(t, tt.want, got, "%+v", tt)
		require.Equal(t, tt.want == "", err != nil, "%+v", tt)
	}
}

// TestTableVectors is the KCL's TableMigrationStateMachineImplTest.
func TestTableVectors(t *testing.T) {
	t.Parallel()
	const here, aside, old, dead = "here", "aside", "old", "dead"
	// here: metrics in the lease table; aside: in the side table; old: a worker of
	// 3.4; dead: in the side table, long ago.
	workers := func(kinds ...string) (all []leases.WorkerMetrics, alive map[string]bool) {
		alive = map[string]bool{}
		for _, k := range kinds {
			m := leases.WorkerMetrics{
				Worker: k, Updated: wall, Support: 1, SupportUpdated: wall.Add(-80 * sec),
				InSideTable: k != here,
			}
			if k == old {
				m.Support, m.SupportUpdated = 0, time.Time{}
			}
			if k == dead {
				m.Updated, m.SupportUpdated = wall.Add(-3600*sec), wall.Add(-3600*sec)
			}
			alive[k] = k != dead
			all = append(all, m)
		}
		return all, alive
	}
	const bake = 24 * time.Hour
	tests := []struct {
		name    string
		stored  string
		age     time.Duration
		migrate bool
		workers []string
		owners  []string
		want    string // "-" nothing, "" remove
		move    bool
	}{
		{"all support it", "", 0, false, []string{aside}, []string{aside}, leases.TableMigrationInit, false},
		{"one of 3.4", "", 0, false, []string{aside, old}, []string{aside, old}, "-", false},
		{"one of 3.4 without a lease", "", 0, false, []string{aside, old}, []string{aside}, leases.TableMigrationInit, false},
		{"an owner that does not report", "", 0, false, []string{aside}, []string{aside, "gone"}, "-", false},
		{"an owner that is dead", "", 0, false, []string{aside, dead}, []string{aside, dead}, "-", false},
		{"no owners", "", 0, false, []string{aside}, nil, "-", false},
		{"a lease without an owner", "", 0, false, []string{aside}, []string{aside, ""}, leases.TableMigrationInit, false},
		{"asked for too early", "", 0, true, []string{here}, []string{here}, "-", false},
		{"bakes", leases.TableMigrationInit, time.Hour - sec, false, []string{aside}, []string{aside}, "-", false},
		{
			"has baked", leases.TableMigrationInit, time.Hour, false,
			[]string{aside},
			[]string{aside},
			leases.TableMigrationDeployed, false,
		},
		{
			"one of 3.4 is back", leases.TableMigrationInit, time.Hour, false,
			[]string{aside, old},
			[]string{aside, old},
			"", false,
		},
		{"waits for the operator", leases.TableMigrationDeployed, bake, false, []string{aside}, []string{aside}, "-", false},
		{
			"asked for, one reports aside", leases.TableMigrationDeployed, bake, true,
			[]string{here, aside},
			[]string{here},
			"-", false,
		},
		{
			"asked for, a dead one did", leases.TableMigrationDeployed, bake, true,
			[]string{here, dead},
			[]string{here},
			leases.TableMigrationPending, true,
		},
		{
			"asked for, all report here", leases.TableMigrationDeployed, 0, true,
			[]string{here},
			[]string{here},
			leases.TableMigrationPending, true,
		},
		{"asked for, nobody reports", leases.TableMigrationDeployed, 0, true, nil, []string{here}, "-", false},
		{"pending, bakes", leases.TableMigrationPending, bake - sec, true, []string{here}, []string{here}, "-", false},
		{
			"pending, has baked", leases.TableMigrationPending, bake, true,
			[]string{here},
			[]string{here},
			leases.TableMigrationComplete, true,
		},
		{
			"pending, one reports aside", leases.TableMigrationPending, bake, true,
			[]string{here, aside},
			[]string{here},
			leases.TableMigrationDeployed, false,
		},
		// The KCL takes a leader that was not asked for a roll-back: DEPLOYED.
		{
			"pending, but this worker was not asked", leases.TableMigrationPending, bake, false,
			[]string{here},
			[]string{here},
			"-", false,
		},
		{"complete", leases.TableMigrationComplete, bake, true, []string{here, aside}, []string{here}, "-", false},
		{"unknown", "TABLE_MIGRATION_STATUS_NEW", bake, true, []string{here}, []string{here}, "-", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := TableView{Stored: stateOf(tt.stored, tt.age), SideTables: true, Migrate: tt.migrate, Me: "me", Now: wall}
			v.Workers, v.Alive = workers(tt.workers...)
			for _, o := range tt.owners {
				v.Leases = append(v.Leases, leases.Lease{Key: o, Owner: o})
			}
			step, ok := NextTable(v)
			require.Equal(t, tt.want != "-", ok, "%+v", step)
			if ok {
				require.Equal(t, TableStep{Move: tt.move, To: leases.MigrationState{Status: tt.want, By: "me", At: wall}}, step)
			}
			v.SideTables, v.Stored = false, nil
			_, ok = NextTable(v)
			require.False(t, ok, "a fresh application has nothing to migrate")
		})
	}
}

// TestTableMigrationOfAWorkerInBothTables: its old metrics do not count.
func TestTableMigrationOfAWorkerInBothTables(t *testing.T) {
	t.Parallel()
	aside := leases.WorkerMetrics{Worker: "w", Updated: wall.Add(-30 * sec), InSideTable: true}
	here := leases.WorkerMetrics{Worker: "w", Updated: wall, Support: 1, SupportUpdated: wall}
	v := TableView{
		Stored: stateOf(leases.TableMigrationDeployed, 0), SideTables: true, Migrate: true, Now: wall,
		Workers: []leases.WorkerMetrics{here, aside}, Alive: map[string]bool{"w": true},
		Leases: []leases.Lease{{Key: "0", Owner: "w"}},
	}
	step, ok := NextTable(v)
	require.True(t, ok)
	require.Equal(t, leases.TableMigrationPending, step.To.Status)
	aside.Updated = wall.Add(sec)
	v.Workers = []leases.WorkerMetrics{here, aside}
	_, ok = NextTable(v)
	require.False(t, ok, "it was rolled back")
}
