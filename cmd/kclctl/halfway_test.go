package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

// TestHalfWay stops every command that deletes or makes rows at each of its writes: the table
// refuses a write, or the operator presses Ctrl-C. No child may be left without the row of its
// parent. A second run completes the first.
func TestHalfWay(t *testing.T) {
	const grandchild = "shardId-000000000005"
	tree := func() []leases.Lease {
		return []leases.Lease{
			lease(parent, at(seq1, 0)), lease(left, childOf), lease(right, childOf), lease(other),
			lease(grandchild, func(l *leases.Lease) { l.Parents = []string{left, right} }),
		}
	}
	rows := []dynamotest.Item{
		oldRow(grandchild, "Checkpoint", seq1, "ParentShardId", left),
		oldRow(left, "Checkpoint", seq1, "ParentShardId", parent),
		oldRow(right, "Checkpoint", seq1, "ParentShardId", parent), oldRow(parent, "Checkpoint", seq1),
		oldRow(other, "Checkpoint", seq1),
	}
	for name, c := range map[string]struct {
		rows   []leases.Lease
		args   []string
		op     string
		writes int
		left   int // rows after all
	}{
		"delete -all": {tree(), []string{"delete", "-all"}, "DeleteItem", 5, 0},
		"delete KEYs": {tree(), []string{"delete", parent, left, right, grandchild}, "DeleteItem", 4, 1},
		"import":      {nil, []string{"import", "-from", old}, "PutItem", 5, 5},
		"export":      {tree(), []string{"export", "-to", "back", "-lossy"}, "PutItem", 5, 5},
		// The rows of the parents were cleaned up. They are made again before their child moves back.
		"set-checkpoint": {
			[]leases.Lease{lease(grandchild, at(seq1, 0), func(l *leases.Lease) { l.Parents = []string{left, right} })},
			[]string{"set-checkpoint", grandchild, "TRIM_HORIZON"},
			"PutItem", 2, 3,
		},
		"restore": {[]leases.Lease{lease(left, childOf)}, []string{"restore", "-finished", parent}, "PutItem", 1, 2},
	} {
		for n := 1; n <= c.writes; n++ {
			for _, how := range []string{"throttled", "Ctrl-C before", "Ctrl-C after"} {
				t.Run(fmt.Sprintf("%s/%d %s", name, n, how), func(t *testing.T) {
					r := newRig(t, c.rows...)
					r.makeOld(old, rows...)
					if c.args[0] == "export" {
						r.makeOld("back")
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					calls := 0
					f := dynamotest.Fault{
						Operation: c.op,
						When:      func(dynamotest.Call) bool { calls++; return calls == n },
						Do:        []dynamotest.Action{dynamotest.Throttle()},
					}
					if how != "throttled" {
						f.Do = nil
						f.When = func(dynamotest.Call) bool {
							if calls++; calls == n {
								cancel()
							}
							return calls == n && how == "Ctrl-C before"
						}
						if how == "Ctrl-C before" {
							f.Do = []dynamotest.Action{dynamotest.Throttle()}
						}
					}
					remove := r.srv.Inject(f)
					var out, errors bytes.Buffer
					args := append([]string{"leases", c.args[0], "-table", table, "-endpoint", r.url, "-yes"}, c.args[1:]...)
					status := run(ctx, args, strings.NewReader(""), &out, &errors)
					if how != "Ctrl-C after" { // the last answer can come before the Ctrl-C
						require.Equal(t, statusFailed, status, out.String())
					}
					remove()
					requireParents(t, r, c.args[0])
					got := r.leases(append(c.args, "-yes")...)
					if c.args[0] == "restore" || c.args[0] == "delete" && c.args[1] != "-all" {
						requireParents(t, r, c.args[0])
						return // the second run refuses: the row exists, or does not exist any more
					}
					require.Equal(t, statusOK, got.status, got.errors)
					into := table
					if c.args[0] == "export" {
						into = "back"
					}
					require.Len(t, r.srv.Items(into), c.left)
				})
			}
		}
	}
}

// requireParents fails if a row that waits for its parents, or starts again, lacks a parent.
func requireParents(t *testing.T, r *rig, command string) {
	t.Helper()
	if command == "export" {
		there := map[string]bool{}
		for _, it := range r.srv.Items("back") {
			there[it["ShardID"].Text] = true
		}
		for _, it := range r.srv.Items("back") {
			if p := it["ParentShardId"].Text; p != "" {
				require.True(t, there[p], "%s without its parent", it["ShardID"].Text)
			}
		}
		return
	}
	listing, err := r.store.ListNow(t.Context())
	require.NoError(t, err)
	there := map[string]bool{}
	for _, l := range listing.Leases {
		there[l.Key] = true
	}
	for _, l := range listing.Leases {
		for _, p := range l.Parents {
			waits := l.Checkpoint.SequenceNumber == kcl.SentinelTrimHorizon && command != "restore"
			require.True(t, there[p] || !waits && command != "import", "%s without its parent %s", l.Key, p)
		}
	}
}

// TestDeleteOfAParentAlone warns: the children would wait for ever.
func TestDeleteOfAParentAlone(t *testing.T) {
	r := newRig(t, lease(parent, at(kcl.SentinelShardEnd, 0)), lease(left, childOf), lease(right, childOf, at(seq2, 0)))
	got := r.leases("delete", "-dry-run", parent)
	require.Equal(t, statusOK, got.status)
	require.Contains(t, got.errors, parent+": "+left+" has not been started, "+
		"and waits for this lease until `kclctl leases restore` makes it again")
	got = r.leases("delete", "-dry-run", parent, left)
	require.NotContains(t, got.errors, "waits for it")
}
