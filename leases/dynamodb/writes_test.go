package dynamodb_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

// TestL30UnknownAttributesSurvive: no write removes attributes that this version does not know.
func TestL30UnknownAttributesSurvive(t *testing.T) {
	t.Parallel()
	unknown := dynamotest.Item{
		"futureText": dynamotest.S("x"), "futureNumber": dynamotest.N("3"), "futureSet": dynamotest.SS("a", "b"),
		"futureMap": {Type: "M", Map: dynamotest.Item{"deep": {Type: "L", List: []dynamotest.Value{dynamotest.N("1")}}}},
	}
	for _, j := range javaItems(t) {
		if !j.Lease {
			continue
		}
		srv, s := serve(t, dynamotest.Config{})
		require.NoError(t, s.Init(t.Context()))
		it := maps.Clone(j.Item)
		maps.Copy(it, unknown)
		srv.Put(table, it)
		key := it["leaseKey"].Text
		for bit := leases.Attr(1); leases.AttrAll.Has(bit); bit <<= 1 {
			for _, to := range []leases.Lease{lease(key), everything(key)} {
				read, err := s.Get(t.Context(), key)
				require.NoError(t, err)
				require.NoError(t, s.Update(t.Context(), leases.Update{Read: read, Expect: leases.AttrAll, To: to, Set: bit}))
			}
		}
		got := itemOf(t, srv, key)
		for name, v := range unknown {
			require.Equal(t, v, got[name], name)
		}
		for _, name := range []string{"entityType", "streamName", "shardId"} {
			require.Equal(t, it[name], got[name], name)
		}
	}
}

// TestWritesAsJava: each operation of a coordinator leaves the same item as the operation of a Java
// worker.
func TestWritesAsJava(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	require.NoError(t, s.Init(t.Context()))
	const key = "shardId-000000000004"
	row := lease(key)
	row.Parents = []string{"shardId-000000000001"}
	row.HashKeyRange = kcl.HashKeyRange{Start: "0", End: "9"}
	require.NoError(t, s.Create(t.Context(), row))
	want := dynamotest.Item{
		"leaseKey": dynamotest.S(key), "entityType": dynamotest.S("LEASE"), "leaseCounter": dynamotest.N("0"),
		"ownerSwitchesSinceCheckpoint": dynamotest.N("0"),
		"checkpoint":                   dynamotest.S("TRIM_HORIZON"), "checkpointSubSequenceNumber": dynamotest.N("0"),
		"parentShardId": dynamotest.SS("shardId-000000000001"), "startingHashKey": dynamotest.S("0"),
		"endingHashKey": dynamotest.S("9"),
	}
	require.Equal(t, want, itemOf(t, srv, key))

	const owners = leases.AttrOwner | leases.AttrCheckpointOwner
	step := func(
		expect, set leases.Attr, change func(*leases.Lease), changed dynamotest.Item, removed ...string,
	) {
		t.Helper()
		read, err := s.Get(t.Context(), key)
		require.NoError(t, err)
		to := read
		change(&to)
		require.NoError(t, s.Update(t.Context(), leases.Update{Read: read, Expect: expect, To: to, Set: set}))
		maps.Copy(want, changed)
		for _, name := range removed {
			delete(want, name)
		}
		require.Equal(t, want, itemOf(t, srv, key))
	}
	// T: take
	step(leases.AttrCounter, leases.AttrCounter|owners|leases.AttrNativeOwner, func(l *leases.Lease) {
		l.Counter, l.Owner, l.CheckpointOwner, l.NativeOwner = l.Counter+1, "w1", "", "w1"
	}, dynamotest.Item{"leaseCounter": dynamotest.N("1"), "leaseOwner": dynamotest.S("w1"), "goOwner": dynamotest.S("w1")})
	// R: renew
	step(leases.AttrCounter|leases.AttrCheckpointOwner, leases.AttrCounter|leases.AttrThroughput, func(l *leases.Lease) {
		l.Counter, l.ThroughputKBps = l.Counter+1, 0.001267
	}, dynamotest.Item{"leaseCounter": dynamotest.N("2"), "throughputKBps": dynamotest.N("0.001267")})
	// U: prepared checkpoint, then checkpoint
	step(leases.AttrCounter, leases.AttrCounter|leases.AttrPending, func(l *leases.Lease) {
		l.Counter, l.PendingState = l.Counter+1, []byte("state")
		l.Pending = kcl.ExtendedSequenceNumber{SequenceNumber: "77", SubSequenceNumber: 1}
	}, dynamotest.Item{
		"leaseCounter": dynamotest.N("3"), "pendingCheckpoint": dynamotest.S("77"),
		"pendingCheckpointSubSequenceNumber": dynamotest.N("1"), "pendingCheckpointState": dynamotest.B([]byte("state")),
	})
	checkpoint := leases.AttrCounter | leases.AttrPending | leases.AttrCheckpoint | leases.AttrOwnerSwitches
	step(leases.AttrCounter, checkpoint, func(l *leases.Lease) {
		l.Counter, l.Checkpoint, l.OwnerSwitchesSinceCheckpoint = l.Counter+1, l.Pending, 0
		l.Pending, l.PendingState = kcl.ExtendedSequenceNumber{}, nil
	}, dynamotest.Item{
		"leaseCounter": dynamotest.N("4"), "checkpoint": dynamotest.S("77"),
		"checkpointSubSequenceNumber": dynamotest.N("1"),
	}, "pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState")
	// H: hand-over begins
	step(owners, owners, func(l *leases.Lease) { l.Owner, l.CheckpointOwner = "w2", "w1" },
		dynamotest.Item{"leaseOwner": dynamotest.S("w2"), "checkpointOwner": dynamotest.S("w1")})
	// A: hand-over is completed
	step(owners, leases.AttrCheckpointOwner|leases.AttrCounter|leases.AttrOwnerSwitches, func(l *leases.Lease) {
		l.CheckpointOwner, l.Counter, l.OwnerSwitchesSinceCheckpoint = "", l.Counter+1, 1
	}, dynamotest.Item{
		"leaseCounter": dynamotest.N("5"), "ownerSwitchesSinceCheckpoint": dynamotest.N("1"),
	}, "checkpointOwner")
	// M: children
	step(0, leases.AttrChildren, func(l *leases.Lease) {
		l.Children = []string{"shardId-000000000008", "shardId-000000000007"}
	}, dynamotest.Item{"childShardIds": dynamotest.SS("shardId-000000000007", "shardId-000000000008")})
	// E: evict
	step(owners, leases.AttrOwner|leases.AttrCounter, func(l *leases.Lease) { l.Owner, l.Counter = "", l.Counter+1 },
		dynamotest.Item{"leaseCounter": dynamotest.N("6")}, "leaseOwner")
}

// TestTolerated: a row can be written whose attributes are empty, which Java reads as absent.
func TestTolerated(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	require.NoError(t, s.Init(t.Context()))
	srv.Put(table, dynamotest.Item{
		"leaseKey": dynamotest.S("a"), "leaseCounter": dynamotest.N("1"), "ownerSwitchesSinceCheckpoint": dynamotest.N("0"),
		"checkpoint": dynamotest.S("5"),
		"leaseOwner": dynamotest.S(""), "pendingCheckpoint": dynamotest.S(""), "pendingCheckpointState": dynamotest.B(nil),
		"startingHashKey": dynamotest.S(""),
	})
	read, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	want := lease("a")
	want.Counter, want.Checkpoint.SequenceNumber = 1, "5"
	require.Equal(t, want, read)
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: read, Expect: leases.AttrAll, To: everything("a"), Set: leases.AttrAll,
	}))
	got, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	require.True(t, got.Same(leases.AttrAll, everything("a")))
}

// TestLostAnswer: a write whose answer is lost is sent once and takes effect. Its error is no
// conflict.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	for name, action := range map[string]dynamotest.Action{
		"connection broken": dynamotest.LoseAnswer(), "silence": dynamotest.SilentAnswer(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := dynamotest.Start(dynamotest.Config{})
				defer srv.Close()
				s := storeOn(t, srv)
				require.NoError(t, s.Init(t.Context()))
				for _, operation := range []string{"PutItem", "UpdateItem", "DeleteItem"} {
					srv.Inject(dynamotest.Fault{Operation: operation, Times: 1, Do: []dynamotest.Action{action}})
				}
				start := time.Now()
				err := s.Create(t.Context(), lease("a"))
				require.Error(t, err)
				requireNoConflict(t, err)
				if name == "silence" {
					require.ErrorContains(t, err, "dynamodb:PutItem table orders: no answer in time after 3s")
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.Equal(t, 3*time.Second, time.Since(start))
				}
				to := lease("a")
				to.Counter = 1
				err = s.Update(t.Context(), leases.Update{
					Read: lease("a"), Expect: leases.AttrCounter, To: to, Set: leases.AttrCounter,
				})
				require.Error(t, err)
				requireNoConflict(t, err)
				got, err := s.Get(t.Context(), "a")
				require.NoError(t, err)
				require.Equal(t, to, got)
				require.Error(t, s.Delete(t.Context(), to, leases.AttrCounter))
				_, err = s.Get(t.Context(), "a")
				require.ErrorIs(t, err, leases.ErrNotFound)
				for _, operation := range []string{"PutItem", "UpdateItem", "DeleteItem"} {
					require.Equal(t, 1, srv.Calls(operation), operation)
				}
			})
		})
	}
}

func requireNoConflict(t *testing.T, err error) {
	t.Helper()
	_, conflict := errors.AsType[*leases.ConflictError](err)
	require.False(t, conflict, "%v", err)
}

// TestOldServer: some servers do not return the old item of a failed condition. The store reads the
// item then.
func TestOldServer(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	require.NoError(t, s.Init(t.Context()))
	row := everything("a")
	require.NoError(t, s.Create(t.Context(), row))
	srv.Inject(dynamotest.Fault{
		Operation: "UpdateItem",
		Do:        []dynamotest.Action{dynamotest.Fail("ConditionalCheckFailedException", "The conditional request failed")},
	})
	err := s.Update(t.Context(), leases.Update{
		Read: lease("a"), Expect: leases.AttrCounter, To: row, Set: leases.AttrCounter,
	})
	var conflict *leases.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.NotNil(t, conflict.Current)
	require.True(t, conflict.Current.Same(leases.AttrAll, row))
	require.Equal(t, 1, srv.Calls("GetItem"))
	require.ErrorAs(t, s.Update(t.Context(), leases.Update{Read: lease("b"), To: row, Set: leases.AttrCounter}), &conflict)
	require.Nil(t, conflict.Current)
}

// TestCost: each write is one request, which is never repeated. A conflict costs no more requests.
func TestCost(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	require.NoError(t, s.Init(t.Context()))
	require.NoError(t, s.Create(t.Context(), everything("a")))
	require.Error(t, s.Create(t.Context(), everything("a")))
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: everything("a"), Expect: leases.AttrAll, To: lease("a"), Set: leases.AttrAll,
	}))
	require.Error(t, s.Update(t.Context(), leases.Update{
		Read: everything("a"), Expect: leases.AttrAll, To: lease("a"), Set: leases.AttrAll,
	}))
	require.Error(t, s.Delete(t.Context(), everything("a"), leases.AttrCounter))
	require.NoError(t, s.Delete(t.Context(), lease("a"), leases.AttrCounter))
	require.Equal(t, map[string]int{"DescribeTable": 2, "CreateTable": 1, "PutItem": 2, "UpdateItem": 2, "DeleteItem": 2},
		srv.AllCalls())
}
