package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
)

// TestOwnerWithoutItsSuffix: an operator configures w1, and need not know the random suffix of the
// worker's id.
func TestOwnerWithoutItsSuffix(t *testing.T) {
	r := newRig(t,
		lease(finished, heldBy("w1:k3v7q2m9xa", 1)), lease(held, heldBy("w1:aaaaaaaaaa", 1)),
		lease(free, heldBy("w10:bbbbbbbbbb", 1)), lease(pending, heldBy("w2:cccccccccc", 1)))
	got := r.leases("list", "-owner", "w1")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.out, "2 leases: 2 held\n")
	got = r.leases("list", "-owner", "w1:aaaaaaaaaa")
	require.Contains(t, got.out, "1 lease: 1 held\n")

	got = r.leases("release", "-owner", "w1", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Contains(t, got.errors, "note: -owner w1 is more than one worker: w1:aaaaaaaaaa, w1:k3v7q2m9xa")
	require.Empty(t, r.get(finished).Owner+r.get(held).Owner)
	require.Equal(t, "w10:bbbbbbbbbb", r.get(free).Owner, "w10 is another name")

	for _, args := range [][]string{
		{"release", "-owner", "w1", "-yes"},
		{"list", "-owner", "w"},
		{"list", "-owner", "w1", "-json"},
	} {
		got = r.leases(args...)
		require.Equal(t, statusFailed, got.status, args)
		require.Contains(t, got.errors, "workers that hold leases: w10:bbbbbbbbbb, w2:cccccccccc")
	}
	for _, args := range [][]string{{"list", "-stream", "a:b:1"}, {"delete", "-all", "-stream", "a:b:1"}} {
		got = r.leases(args...)
		require.Equal(t, statusFailed, got.status, args)
		require.Contains(t, got.errors, `no lease is of -stream "a:b:1"`)
	}
}

// TestEmptyTable: "0 leases" alone would say nothing about an application.
func TestEmptyTable(t *testing.T) {
	r := newRig(t)
	for _, args := range [][]string{{"list"}, {"fleet"}} {
		got := r.leases(args...)
		require.Equal(t, statusOK, got.status)
		require.Contains(t, got.errors,
			"table orders: the table has no leases: no worker has made them yet, or they were deleted")
	}
	got := r.leases("audit")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.out, "empty: the table has no leases")
	require.Equal(t, statusFailed, r.leases("release", "-owner", "w1", "-yes").status)

	// An empty table with another key cannot become a lease table.
	r.makeTable("sessions", "sessionId")
	for _, args := range [][]string{
		{"list"},
		{"fleet"},
		{"audit"},
		{"release", "-owner", "w"},
		{"delete", "-all"},
		{"adopt", "-created", "2026-02-01T00:00:00Z"},
	} {
		got := kclctl(t, nil, append([]string{"leases", args[0], "-table", "sessions", "-endpoint", r.url}, args[1:]...)...)
		require.Equal(t, statusFailed, got.status, args)
		require.Contains(t, got.errors, "table sessions is empty, and no lease table: its key is sessionId, not leaseKey",
			args)
	}
	// Without the right to describe the table it is taken for a lease table.
	defer r.srv.Inject(dynamotest.Fault{Operation: "DescribeTable", Do: []dynamotest.Action{dynamotest.Deny()}})()
	require.Equal(t, statusOK, r.leases("list").status)
}
