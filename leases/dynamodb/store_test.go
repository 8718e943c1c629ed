package dynamodb_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasetest"
)

func TestLeaseStore(t *testing.T) {
	t.Parallel()
	leasetest.TestStore(t, func(t *testing.T) leases.Store {
		_, s := serve(t, dynamotest.Config{})
		return s
	})
}

// TestLeaseStoreAtItsWorst runs the suite over lagging scans of small and empty pages.
func TestLeaseStoreAtItsWorst(t *testing.T) {
	t.Parallel()
	leasetest.TestStore(t, func(t *testing.T) leases.Store {
		_, s := serve(t, dynamotest.Config{PageRows: 7, EmptyPages: true, Lag: 20 * time.Millisecond})
		return s
	})
}

// TestL21PagedScan: List finds all rows although pages are small and some are empty.
func TestL21PagedScan(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{PageRows: 10, EmptyPages: true})
	require.NoError(t, s.Init(t.Context()))
	const n = 5000
	want := map[string]bool{}
	for i := range n {
		key := fmt.Sprintf("shardId-%012d", i)
		want[key] = true
		srv.Put(table, dynamotest.Item{
			"leaseKey": dynamotest.S(key), "leaseCounter": dynamotest.N("1"), "ownerSwitchesSinceCheckpoint": dynamotest.N("0"),
			"checkpoint": dynamotest.S("LATEST"), "checkpointSubSequenceNumber": dynamotest.N("0"),
		})
	}
	l, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Leases, n)
	for _, row := range l.Leases {
		delete(want, row.Key)
	}
	require.Empty(t, want)
	require.Greater(t, srv.Calls("Scan"), n/10)

	// A page that fails makes the listing fail: a listing must not lack rows without an error.
	srv.Inject(dynamotest.Fault{
		Operation: "Scan", Skip: 100, Do: []dynamotest.Action{dynamotest.Fail("InternalServerError", "boom")},
	})
	l, err = s.List(t.Context())
	require.Error(t, err)
	require.Empty(t, l.Leases)
}

func TestConsistentList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{Lag: time.Second})
		defer srv.Close()
		s := storeOn(t, srv)
		strict := storeOn(t, srv, func(c *dynamodb.Config) { c.ConsistentList = true })
		require.NoError(t, s.Init(t.Context()))
		require.NoError(t, s.Create(t.Context(), lease("a")))
		count := func(s *dynamodb.Store) int {
			l, err := s.List(t.Context())
			require.NoError(t, err)
			return len(l.Leases)
		}
		require.Equal(t, 0, count(s))
		require.Equal(t, 1, count(strict))
		_, err := s.Get(t.Context(), "a")
		require.NoError(t, err, "Get is always consistent")
		time.Sleep(time.Second)
		require.Equal(t, 1, count(s))
	})
}

// TestL18PoisonedRows: two hundred damaged rows, and rows of other kinds, do not hide a good row.
func TestL18PoisonedRows(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{PageRows: 9})
	require.NoError(t, s.Init(t.Context()))
	javaLeases := map[string]bool{} // items of one key overwrite each other
	for _, j := range javaItems(t) {
		if j.Lease {
			javaLeases[j.Item["leaseKey"].Text] = true
		}
		srv.Put(table, j.Item)
	}
	for i := range 200 {
		it := dynamotest.Item{
			"leaseKey": dynamotest.S(fmt.Sprintf("bad-%03d", i)), "leaseCounter": dynamotest.N("1"),
			"ownerSwitchesSinceCheckpoint": dynamotest.N("0"),
			"checkpoint":                   dynamotest.S("LATEST"), "checkpointSubSequenceNumber": dynamotest.N("0"),
		}
		switch i % 5 {
		case 0:
			delete(it, "leaseCounter")
		case 1:
			it["checkpoint"] = dynamotest.S("SHARD_ENDS")
		case 2:
			it["leaseOwner"] = dynamotest.N("7")
		case 3:
			it["leaseCounter"] = dynamotest.N("99999999999999999999")
		case 4:
			it["pendingCheckpoint"] = dynamotest.S(strings.Repeat("x", 300<<10))
		}
		srv.Put(table, it)
	}
	l, err := s.List(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Bad, 200)
	require.Len(t, l.Leases, len(javaLeases))
	for _, bad := range l.Bad {
		require.Contains(t, bad.Key, "bad-")
		require.ErrorContains(t, bad, "attribute ")
	}
	_, err = s.Get(t.Context(), "bad-001")
	require.ErrorContains(t, err, `row "bad-001": attribute checkpoint is S "SHARD_ENDS"`)
	var row *leases.RowError
	require.ErrorAs(t, err, &row)
	require.ErrorAs(t, s.Create(t.Context(), lease("bad-001")), &row)
	require.ErrorAs(t,
		s.Update(t.Context(), leases.Update{
			Read: lease("bad-001"), Expect: leases.AttrCheckpoint, To: lease("bad-001"), Set: leases.AttrCheckpoint,
		}),
		&row)
	_, err = s.Get(t.Context(), "Leader")
	require.ErrorIs(t, err, leases.ErrNotFound, "the leader lock is no lease")
}

// TestReadsAreRepeated: the SDK repeats reads that were throttled or lost. It never repeats writes.
func TestReadsAreRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{})
		defer srv.Close()
		s := storeOn(t, srv)
		require.NoError(t, s.Init(t.Context()))
		srv.Inject(dynamotest.Fault{Operation: "GetItem", Times: 1, Do: []dynamotest.Action{dynamotest.LoseRequest()}})
		srv.Inject(dynamotest.Fault{Operation: "Scan", Times: 1, Do: []dynamotest.Action{dynamotest.Throttle()}})
		srv.Inject(dynamotest.Fault{Operation: "PutItem", Do: []dynamotest.Action{dynamotest.Throttle()}})
		_, err := s.Get(t.Context(), "a")
		require.ErrorIs(t, err, leases.ErrNotFound)
		start := time.Now()
		_, err = s.List(t.Context())
		require.NoError(t, err)
		require.Less(t, time.Since(start), time.Second)
		require.ErrorContains(t, s.Create(t.Context(), lease("a")), "ProvisionedThroughputExceededException")
		require.Equal(t, map[string]int{"DescribeTable": 2, "CreateTable": 1, "GetItem": 2, "Scan": 2, "PutItem": 1},
			srv.AllCalls())
	})
}
