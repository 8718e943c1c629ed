package main

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

// fleetOf is a table that workers of this library and of KCL 3.x share.
func fleetOf(t *testing.T) *rig {
	r := newRig(t, fleet()...)
	store, ctx := r.store, t.Context()
	long := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, store.Fleet().SetClientVersion(ctx, nil,
		leases.MigrationState{Status: leases.ClientVersion3x, By: "java-1", At: long}))
	require.NoError(t, store.Fleet().AcquireLeader(ctx, nil,
		leases.LeaderLock{Owner: "java-1", Version: "v", Duration: 2 * time.Minute}))
	require.NoError(t, store.Fleet().ReportWorker(ctx, leases.WorkerMetrics{
		Worker: "java-1", Updated: long,
		Stats: map[string][]float64{"C": {12, 34.4}}, Range: map[string][]float64{"C": {100}}, Support: 1,
		SupportUpdated: long,
	}))
	require.NoError(t, store.Fleet().ReportWorker(ctx,
		leases.WorkerMetrics{Worker: "worker-1", Updated: time.Now(), Native: true, Support: 1, SupportUpdated: long}))
	return r
}

// writes counts the requests that write.
func (r *rig) writes() int {
	n := 0
	for _, op := range []string{"CreateTable", "UpdateTable", "PutItem", "UpdateItem", "DeleteItem"} {
		n += r.srv.Calls(op)
	}
	return n
}

func TestFleet(t *testing.T) {
	r := fleetOf(t)
	writes := r.writes()
	got := r.leases("fleet")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "assignment: KCL 3.x\n"+
		"client version: CLIENT_VERSION_3X since 2026-01-02T03:04:05Z by java-1\n"+
		"leader: java-1, until 2m0s pass without a renewal\n")
	require.Regexp(t, `(?m)^java-1 +0 +KCL \(Java\) +2026-01-02T03:04:05Z \(silent\) +34%$`, got.out)
	require.Regexp(t, `(?m)^worker-1 +\d+ +kcl \(Go\) +20\S+Z +-$`, got.out)

	got = r.leases("fleet", "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	var report fleetReport
	require.NoError(t, json.Unmarshal([]byte(got.out), &report))
	require.Equal(t, "KCL 3.x", report.Assignment)
	require.Equal(t, "java-1", report.Leader.Owner)
	require.True(t, report.Workers[0].Silent)
	require.Equal(t, writes, r.writes(), "fleet does not write")
}

// TestFleetWithSideTables: the side tables of KCL 3.0 to 3.4 can have any name.
func TestFleetWithSideTables(t *testing.T) {
	r := newRig(t, fleet()...)
	for name, key := range map[string]string{"our-state": "key", "our-metrics": "wid"} {
		r.makeTable(name, key)
	}
	r.srv.Put("our-state", dynamotest.Item{
		"key": dynamotest.S("Leader"), "ownerName": dynamotest.S("java-9"), "leaseDuration": dynamotest.S("120000"),
		"recordVersionNumber": dynamotest.S("v"),
	})
	r.srv.Put("our-metrics", dynamotest.Item{"wid": dynamotest.S("java-9"), "lut": dynamotest.N("1767323045")})
	require.NotContains(t, r.leases("fleet").out, "java-9")
	got := r.leases("fleet", "-coordinator-table", "our-state", "-worker-metrics-table", "our-metrics")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "leader: java-9, until 2m0s pass without a renewal\n")
	require.Regexp(t, `(?m)^java-9 +0 +KCL \(Java\) `, got.out)
	require.Equal(t, statusUsage, r.leases("fleet", "-coordinator-table", "x").status)
}

// TestFleetOfNativeWorkers: a table without rows of KCL 3.x is native, and is not written.
func TestFleetOfNativeWorkers(t *testing.T) {
	r := newRig(t, fleet()...)
	writes := r.writes()
	got := r.leases("fleet")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "assignment: native\nWORKER")
	require.NotContains(t, got.out, "leader")
	require.Equal(t, writes, r.writes())
	require.Nil(t, r.srv.Items(table+"-CoordinatorState"))
}

// TestFleetShardSyncLeader: the shard sync leader is shown where workers may elect one.
func TestFleetShardSyncLeader(t *testing.T) {
	const shard = "shardId-00000000000"
	java := func(owner string) func(*leases.Lease) {
		return func(l *leases.Lease) { l.Owner = owner }
	}
	native := []leases.Lease{lease(shard+"0", heldBy("go-1:aaaa", 1)), lease(shard+"1", heldBy("go-2:bbbb", 1))}
	two := append(slices.Clone(native), lease(shard+"2", java("java-1")),
		lease(shard+"3", java("java-2"), at(kcl.SentinelShardEnd, 0)))
	taken := append(slices.Clone(native),
		lease(shard+"2", java("java-1"), func(l *leases.Lease) { l.NativeOwner = "go-1:aaaa" }))
	for _, tt := range []struct {
		name   string
		rows   []leases.Lease
		status string
		lock   bool
		want   string
	}{
		{"this library alone", native, "", false, ""},
		{"KCL 2.x", two, "", false, "java-2"}, // the last of four; with a finished lease only
		{"KCL 2.x took a lease", taken, "", false, "java-1"},
		{"KCL 3.x before the move", two, leases.ClientVersionUpgradeFrom2x, false, "java-2"},
		{"this library before the move", native, leases.ClientVersionUpgradeFrom2x, false, "go-1:aaaa"},
		{"rolled back", two, leases.ClientVersion2x, false, "java-2"},
		{"rolled back, the lock is there still", two, leases.ClientVersion2x, true, "java-2"},
		{"nobody has a lease", []leases.Lease{lease(shard + "0")}, leases.ClientVersionUpgradeFrom2x, false, ""},
		{"KCL 3.x, may be rolled back", two, leases.ClientVersion3xRollback, false, ""},
		{"KCL 3.x", two, leases.ClientVersion3x, false, ""},
		{"KCL 3.x by its lock", two, "", true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.rows...)
			if tt.status != "" {
				require.NoError(t, r.store.Fleet().SetClientVersion(t.Context(), nil,
					leases.MigrationState{Status: tt.status, By: "java-1", At: created}))
			}
			if tt.lock {
				require.NoError(t, r.store.Fleet().AcquireLeader(t.Context(), nil,
					leases.LeaderLock{Owner: "java-1", Version: "v", Duration: time.Minute}))
			}
			got := r.leases("fleet", "-json")
			require.Equal(t, statusOK, got.status, got.errors)
			var report fleetReport
			require.NoError(t, json.Unmarshal([]byte(got.out), &report))
			require.Equal(t, tt.want, report.ShardSync)
			got = r.leases("fleet")
			if tt.want == "" {
				require.NotContains(t, got.out, "shard sync leader")
				return
			}
			require.Contains(t, got.out, "shard sync leader: "+tt.want+"\n")
			require.Regexp(t, `(?m)^`+tt.want+` `, got.out, "it is among the workers")
		})
	}
}

func TestFleetOfHostileNames(t *testing.T) {
	r := newRig(t)
	evil := "w\x1b]0;owned\a\u202e\n"
	require.NoError(t, r.store.Fleet().ReportWorker(t.Context(), leases.WorkerMetrics{Worker: evil, Updated: time.Now()}))
	require.NoError(t, r.store.Fleet().SetClientVersion(t.Context(), nil,
		leases.MigrationState{Status: leases.ClientVersion2x, By: evil, At: created}))
	require.NoError(t, r.store.Create(t.Context(), lease("shardId-000000000000", heldBy(evil, 1))))
	require.NoError(t, r.store.Fleet().AcquireLeader(t.Context(), nil,
		leases.LeaderLock{Owner: evil, Version: "v", Duration: time.Minute}))
	for _, args := range [][]string{{"fleet"}, {"fleet", "-json"}} {
		got := r.leases(args...)
		require.Equal(t, statusOK, got.status, got.errors)
		requireHarmless(t, got.out+got.errors)
		require.Regexp(t, `(shard sync leader|shardSyncLeader)"?: "?w`, got.out)
	}
}
