package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// fleetOf is a table that workers of two libraries share.
func fleetOf(t *testing.T) *rig {
	r := newRig(t, fleet()...)
	store, ctx := r.store, t.Context()
	long := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	require.NoError(t, store.SetClientVersion(ctx, nil, leases.MigrationState{Status: leases.ClientVersion3x, By: "java-1", At: long}))
	require.NoError(t, store.AcquireLeader(ctx, nil, leases.LeaderLock{Owner: "java-1", Version: "v", Duration: 2 * time.Minute}))
	require.NoError(t, store.ReportWorker(ctx, leases.WorkerMetrics{
		Worker: "java-1", Updated: long,
		Stats: map[string][]float64{"C": {12, 34.4}}, Range: map[string][]float64{"C": {100}}, Support: 1, SupportUpdated: long,
	}))
	require.NoError(t, store.ReportWorker(ctx, leases.WorkerMetrics{Worker: "worker-1", Updated: time.Now(), Native: true, Support: 1, SupportUpdated: long}))
	return r
}

// writes counts what has changed the account.
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
		"leader: java-1, for 2m0s without a sign of life\n")
	require.Regexp(t, `(?m)^java-1 +0 +KCL \(Java\) +2026-01-02T03:04:05Z \(silent\) +34%$`, got.out)
	require.Regexp(t, `(?m)^worker-1 +\d+ +kcl \(Go\) +20\S+Z +-$`, got.out)

	got = r.leases("fleet", "-json")
	require.Equal(t, statusOK, got.status, got.errors)
	var report fleetReport
	require.NoError(t, json.Unmarshal([]byte(got.out), &report))
	require.Equal(t, "KCL 3.x", report.Assignment)
	require.Equal(t, "java-1", report.Leader.Owner)
	require.True(t, report.Workers[0].Silent)
	require.Equal(t, writes, r.writes(), "reading does not write")
}

// A table without anything of KCL 3.x is native, and stays as it is.
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

func TestFleetOfHostileNames(t *testing.T) {
	r := newRig(t)
	evil := "w\x1b]0;owned\a\u202e\n"
	require.NoError(t, r.store.ReportWorker(t.Context(), leases.WorkerMetrics{Worker: evil, Updated: time.Now()}))
	require.NoError(t, r.store.AcquireLeader(t.Context(), nil, leases.LeaderLock{Owner: evil, Version: "v", Duration: time.Minute}))
	for _, args := range [][]string{{"fleet"}, {"fleet", "-json"}} {
		got := r.leases(args...)
		require.Equal(t, statusOK, got.status, got.errors)
		requireHarmless(t, got.out+got.errors)
	}
}
