package main

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

const (
	parent = "shardId-000000000000"
	left   = "shardId-000000000001"
	right  = "shardId-000000000002"
	other  = "shardId-000000000009"
)

func childOf(l *leases.Lease) { l.Parents = []string{parent} }

// TestDeleteAllHalfWay: the parent of a row that cannot be deleted stays, so that it does not look
// finished.
func TestDeleteAllHalfWay(t *testing.T) {
	r := newRig(t,
		lease(parent, at(seq1, 0), covers("0", last)), // half read, closed by a split
		lease(left, covers("0", half), childOf), lease(right, covers(next, last), childOf), lease(other))
	r.srv.Inject(dynamotest.Fault{
		Operation: "DeleteItem", Key: left, Times: 1,
		Do: []dynamotest.Action{dynamotest.Throttle()},
	})
	got := r.leases("delete", "-all", "-yes")
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, parent+": not changed, because the related row "+left+" was not changed")
	require.Contains(t, got.out, other+": deleted", "of another family")
	require.Equal(t, seq1, r.get(parent).Checkpoint.SequenceNumber)
	r.get(left)

	got = r.leases("delete", "-all", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Empty(t, r.srv.Items(table))
}

// TestDeleteOfARenewedLease fails: the worker would make the lease again.
func TestDeleteOfARenewedLease(t *testing.T) {
	r := newRig(t, lease(parent, at(seq1, 0), heldBy("worker-1", 1)))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // ends with ctx
		for ctx.Err() == nil { // no call is cut off, because it could land after the end
			row, err := r.store.Get(t.Context(), parent)
			if err != nil {
				return
			}
			to := row
			to.Counter++
			_ = r.store.Update(t.Context(),
				leases.Update{Read: row, Expect: leases.AttrCounter, To: to, Set: leases.AttrCounter})
		}
	})
	got := r.leases("delete", "-force", "-yes", parent)
	cancel()
	wg.Wait()
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "a running worker renews the lease and would make it again: stop the worker first")
	r.get(parent)
	got = r.leases("delete", "-force", "-yes", parent)
	require.Equal(t, statusOK, got.status, got.errors)
}

// TestImportHalfWay: no child gets a row before its parents.
func TestImportHalfWay(t *testing.T) {
	r := newRig(t)
	old := func(id, parent string) dynamotest.Item {
		item := dynamotest.Item{"ShardID": dynamotest.S(id), "Checkpoint": dynamotest.S(seq1)}
		if parent != "" {
			item["ParentShardId"] = dynamotest.S(parent)
		}
		return item
	}
	// The child sorts before its parent.
	r.makeOld("old", old("shardId-000000000001", "shardId-000000000005"), old("shardId-000000000005", ""), old(other, ""))
	r.srv.Inject(dynamotest.Fault{
		Operation: "PutItem", Key: "shardId-000000000005", Times: 1,
		Do: []dynamotest.Action{dynamotest.Throttle()},
	})
	got := r.leases("import", "-from", "old", "-yes")
	require.Equal(t, statusFailed, got.status, got.out)
	require.Contains(t, got.errors,
		"shardId-000000000001: not changed, because the related row shardId-000000000005 was not changed")
	require.Len(t, r.srv.Items(table), 1)
	got = r.leases("import", "-from", "old", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.Len(t, r.srv.Items(table), 3)
}

// TestReplayOfAChild makes the row of the parent too. The row was cleaned up, and no worker could
// tell that the parent was read.
func TestReplayOfAChild(t *testing.T) {
	r := newRig(t, lease(left, childOf, at(seq1, 0)))
	got := r.leases("set-checkpoint", left, "TRIM_HORIZON", "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
	require.True(t, r.get(parent).Finished())
	require.Equal(t, kcl.SentinelTrimHorizon, r.get(left).Checkpoint.SequenceNumber)
	got = r.leases("set-checkpoint", left, seq1, "-yes")
	require.Equal(t, statusOK, got.status, got.errors)
}

func TestRestore(t *testing.T) {
	mark := func(l *leases.Lease) {
		l.Application, l.StreamARN = "billing", "arn:aws:kinesis:us-east-1:123456789012:stream/orders"
		l.Origin, l.Paused = leases.Origin{Kind: kcl.SentinelLatest, At: created}, "stream token 2026-01-31T08:00:00Z me: why"
	}
	r := newRig(t, lease(left, childOf, mark), lease(right, childOf, mark))
	got := r.leases("restore", "-finished", "-yes", parent)
	require.Equal(t, statusOK, got.status, got.errors)
	row := r.get(parent)
	require.True(t, row.Finished())
	require.Equal(t, r.get(left).With(leases.AttrCheckpoint|leases.AttrParents|leases.AttrChildren, row),
		func() leases.Lease {
			row.Key, row.ShardID = left, left
			return row
		}(), "application, stream and pause are those of the other rows")
	require.ElementsMatch(t, []string{left, right}, row.Children)

	got = r.leases("restore", "-finished", "-yes", parent)
	require.Equal(t, statusFailed, got.status)
	require.Contains(t, got.errors, "set-checkpoint")

	for at, want := range map[string]leases.Lease{
		seq1 + "/3": {Checkpoint: kcl.ExtendedSequenceNumber{
			SequenceNumber:    seq1,
			SubSequenceNumber: 3,
		}},
		"TRIM_HORIZON": {Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon}},
		"LATEST@2026-01-31T08:00:00Z": {
			Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelLatest},
			Extension:  leases.Extension{PinnedAt: created},
		},
		"AT_TIMESTAMP@2026-01-31T08:00:00Z": {
			Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelAtTimestamp},
			Extension:  leases.Extension{PinnedAt: created},
		},
	} {
		require.NoError(t, r.store.Delete(t.Context(), leases.Lease{Key: parent}, 0))
		got := r.leases("restore", "-at", at, "-yes", parent)
		require.Equal(t, statusOK, got.status, got.errors)
		require.Equal(t, want.Checkpoint, r.get(parent).Checkpoint)
		require.True(t, want.PinnedAt.Equal(r.get(parent).PinnedAt))
	}
	for at, text := range map[string]string{
		"LATEST": "has no time", "AT_TIMESTAMP": "has no time",
		"SHARD_END": "give -finished", "x": "POSITION", "LATEST@now": "want a time",
	} {
		got := r.leases("restore", "-at", at, "-yes", other)
		require.Equal(t, statusUsage, got.status, at)
		require.Contains(t, got.errors, text)
	}
	require.Equal(t, statusUsage, r.leases("restore", "-yes", other).status)
	require.Equal(t, statusUsage, r.leases("restore", "-yes", "-finished", "-at", seq1, other).status)
	require.Equal(t, statusFailed, r.leases("restore", "-finished", other).status, "not confirmed")
	require.Len(t, r.srv.Items(table), 3)
}
