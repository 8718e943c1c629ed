// Package leasetest is the suite that every [leases.Store] passes. It has one test for each rule of
// the contract. The tests of a store call [TestStore]. Those of a [leases.SharedStore] also call
// [TestFleetStore]. The KCL has integration tests of its lease refresher in this place.
package leasetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// TestStore runs the suite of a [leases.Store]. It calls newStore once for every test. newStore
// returns a store on an empty table of its own, and cleans up with t.Cleanup. The suite calls Init.
func TestStore(t *testing.T, newStore func(t *testing.T) leases.Store) {
	for _, tt := range storeTests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			require.NoError(t, s.Init(t.Context()))
			tt.run(t, s)
		})
	}
}

var storeTests = []struct {
	name string
	run  func(t *testing.T, s leases.Store)
}{
	{"init is repeatable", testInit},
	{"create and get", testCreateAndGet},
	{"create never overwrites", testCreateConflict},
	{"get of no row", testGetUnknown},
	{"update of one attribute", testUpdateEach},
	{"update of all attributes", testUpdateAll},
	{"update removes attributes", testUpdateRemoves},
	{"expectation of each attribute", testExpectEach},
	{"expectation of absence", testExpectAbsent},
	{"conflict carries the row", testConflictCurrent},
	{"update never creates a row", testNoResurrection},
	{"delete", testDelete},
	{"list", testList},
	{"list of what was just written", testListNow},
	{"concurrent writers", testConcurrentUpdates},
	{"concurrent creators", testConcurrentCreates},
	{"different attributes at once", testDisjointUpdates},
	{"cancelled context", testCancelled},
	{"extreme values", testExtremes},
}

// minimal is a row with those attributes only that every row has.
func minimal(key string) leases.Lease {
	return leases.Lease{
		Key: key, ShardID: key, ThroughputKBps: -1,
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}
}

// full is a row in which every attribute has a value.
func full(key string) leases.Lease {
	return leases.Lease{
		Key: key, ShardID: key,
		Owner: "worker-b", CheckpointOwner: "worker-a", Counter: 7, OwnerSwitchesSinceCheckpoint: 2,
		Checkpoint: kcl.ExtendedSequenceNumber{
			SequenceNumber: "49590338271490256608559692538361571095921575989136588898", SubSequenceNumber: 3,
		},
		Pending: kcl.ExtendedSequenceNumber{
			SequenceNumber: "49590338271490256608559692540925702759324208523137515618", SubSequenceNumber: 4,
		},
		PendingState: []byte("state"),
		Parents:      []string{"shardId-000000000001", "shardId-000000000002"},
		Children:     []string{"shardId-000000000008", "shardId-000000000009"},
		HashKeyRange: kcl.HashKeyRange{Start: "10", End: "20"}, ThroughputKBps: 12.5,
		Extension: leases.Extension{
			NativeOwner: "worker-a", HandoverTo: "worker-b", Abilities: 1, Reset: "r1",
			PinnedAt:      time.UnixMilli(1_700_000_000_123).UTC(),
			StreamCreated: time.UnixMilli(1_600_000_000_456).UTC(), Reached: time.UnixMilli(1_700_000_000_789).UTC(),
			Application: "orders", StreamARN: "arn:aws:kinesis:us-east-1:123456789012:stream/orders",
			Origin: leases.Origin{Kind: kcl.SentinelLatest, At: time.UnixMilli(1_700_000_000_120).UTC()},
			Paused: "shard p1 2026-01-31T08:00:00Z ann: a reason",
		},
	}
}

// other differs from full in every attribute.
func other(key string) leases.Lease {
	return leases.Lease{
		Key: key, ShardID: key,
		Owner: "worker-d", CheckpointOwner: "worker-c", Counter: 8, OwnerSwitchesSinceCheckpoint: 0,
		Checkpoint:   kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd},
		Pending:      kcl.ExtendedSequenceNumber{SequenceNumber: "1"},
		PendingState: []byte{0, 255, 1},
		Parents:      []string{"shardId-000000000003"},
		Children:     []string{"shardId-000000000010"},
		HashKeyRange: kcl.HashKeyRange{Start: "30", End: "40"}, ThroughputKBps: 0.25,
		Extension: leases.Extension{
			NativeOwner: "worker-c", HandoverTo: "worker-d", Abilities: 3, Reset: "r2",
			PinnedAt:      time.UnixMilli(1_700_000_000_124).UTC(),
			StreamCreated: time.UnixMilli(1_600_000_000_457).UTC(), Reached: time.UnixMilli(1_700_000_000_788).UTC(),
			Application: "Orders", StreamARN: "arn:aws:kinesis:us-east-2:123456789012:stream/orders",
			Origin: leases.Origin{Kind: kcl.SentinelAtTimestamp, At: time.UnixMilli(1_700_000_000_120).UTC()},
			Paused: "shard p2 2026-01-31T08:00:00Z ann: a reason",
		},
	}
}

// attribute is an [leases.Attr] of one bit with its name.
type attribute struct {
	name string
	attr leases.Attr
}

// attributes lists every attribute.
var attributes = func() (list []attribute) {
	for set := leases.AttrAll; set != 0; set &^= set.First() {
		field, _, _ := set.First().Field(&leases.Lease{})
		list = append(list, attribute{field.Name, set.First()})
	}
	return list
}()

func requireRow(t *testing.T, s leases.Store, want leases.Lease) {
	t.Helper()
	got, err := s.Get(t.Context(), want.Key)
	require.NoError(t, err)
	requireSame(t, want, got)
}

// requireSame demands that two rows are equal. The order of shard ids in a set does not matter.
func requireSame(t *testing.T, want, got leases.Lease) {
	t.Helper()
	require.Equal(t, want.Key, got.Key)
	require.Equal(t, want.Stream, got.Stream)
	require.Equal(t, want.ShardID, got.ShardID)
	require.ElementsMatch(t, want.Parents, got.Parents)
	require.ElementsMatch(t, want.Children, got.Children)
	require.Equal(t, string(want.PendingState), string(got.PendingState))
	require.WithinDuration(t, want.PinnedAt, got.PinnedAt, 0)
	require.WithinDuration(t, want.StreamCreated, got.StreamCreated, 0)
	require.WithinDuration(t, want.Reached, got.Reached, 0)
	require.Equal(t, want.Origin.String(), got.Origin.String())
	got = got.With(leases.AttrOrigin|leases.AttrReached|leases.AttrPinnedAt|leases.AttrStreamCreated, want)
	got.Parents, got.Children, got.PendingState = want.Parents, want.Children, want.PendingState
	require.Equal(t, want, got)
}

func requireConflict(t *testing.T, err error) *leases.ConflictError {
	t.Helper()
	var c *leases.ConflictError
	require.ErrorAs(t, err, &c)
	return c
}

func testInit(t *testing.T, s leases.Store) {
	require.NoError(t, s.Create(t.Context(), minimal("a")))
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = s.Init(t.Context()) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	requireRow(t, s, minimal("a")) // Init keeps the rows
}

func testCreateAndGet(t *testing.T, s leases.Store) {
	multi := full("123456789012:orders:1700000000:shardId-000000000001")
	multi.Stream, multi.ShardID = "123456789012:orders:1700000000", "shardId-000000000001"
	for _, row := range []leases.Lease{minimal("a"), full("b"), multi} {
		require.NoError(t, s.Create(t.Context(), row))
		requireRow(t, s, row)
	}
}

func testCreateConflict(t *testing.T, s leases.Store) {
	require.NoError(t, s.Create(t.Context(), full("a")))
	c := requireConflict(t, s.Create(t.Context(), other("a")))
	require.Equal(t, "a", c.Key)
	if c.Current != nil { // here a store may leave out the row
		requireSame(t, full("a"), *c.Current)
	}
	requireRow(t, s, full("a"))
}

func testGetUnknown(t *testing.T, s leases.Store) {
	_, err := s.Get(t.Context(), "nowhere")
	require.ErrorIs(t, err, leases.ErrNotFound)
}

func testDelete(t *testing.T, s leases.Store) {
	require.NoError(t, s.Create(t.Context(), full("a")))
	require.NoError(t, s.Create(t.Context(), full("b")))

	c := requireConflict(t, s.Delete(t.Context(), other("a"), leases.AttrOwner|leases.AttrCounter))
	require.NotNil(t, c.Current)
	requireSame(t, full("a"), *c.Current)
	requireRow(t, s, full("a"))

	require.NoError(t, s.Delete(t.Context(), full("a"), leases.AttrOwner|leases.AttrCounter|leases.AttrCheckpoint))
	_, err := s.Get(t.Context(), "a")
	require.ErrorIs(t, err, leases.ErrNotFound)
	require.NoError(t, s.Delete(t.Context(), full("a"), leases.AttrOwner), "a row that is gone is no error")
	require.NoError(t, s.Delete(t.Context(), leases.Lease{Key: "b"}, 0), "no expectation")
	require.Eventually(t, func() bool { // a listing may lag behind
		l, err := s.List(t.Context())
		return err == nil && len(l.Leases) == 0
	}, 10*time.Second, 10*time.Millisecond)
}

func testList(t *testing.T, s leases.Store) {
	l, err := s.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, l.Leases)
	require.Empty(t, l.Bad)

	const n = 150
	want := map[string]leases.Lease{}
	for i := range n {
		row := full(fmt.Sprintf("shardId-%012d", i))
		row.PendingState = []byte(strings.Repeat("x", 1024))
		want[row.Key] = row
	}
	var wg sync.WaitGroup
	errs := make(chan error, n)
	slots := make(chan struct{}, 16)
	for _, row := range want {
		slots <- struct{}{}
		wg.Go(func() { errs <- s.Create(t.Context(), row); <-slots })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { // a listing may lag behind
		l, err = s.List(t.Context())
		return err == nil && len(l.Leases) == n
	}, 10*time.Second, 10*time.Millisecond)
	require.Empty(t, l.Bad)
	for _, got := range l.Leases {
		requireSame(t, want[got.Key], got)
		delete(want, got.Key)
	}
	require.Empty(t, want)
}

func testListNow(t *testing.T, s leases.Store) {
	l, err := s.ListNow(t.Context())
	require.NoError(t, err)
	require.Empty(t, l.Leases)
	for i := range 20 {
		row := full(fmt.Sprintf("shardId-%012d", i))
		require.NoError(t, s.Create(t.Context(), row))
		require.NoError(t, s.Update(t.Context(), leases.Update{Read: row, To: other(row.Key), Set: leases.AttrOwner}))
		l, err = s.ListNow(t.Context())
		require.NoError(t, err)
		require.Empty(t, l.Bad)
		require.Len(t, l.Leases, i+1)
		for _, got := range l.Leases {
			requireSame(t, full(got.Key).With(leases.AttrOwner, other("")), got)
		}
	}
	require.NoError(t, s.Delete(t.Context(), leases.Lease{Key: "shardId-000000000003"}, 0))
	l, err = s.ListNow(t.Context())
	require.NoError(t, err)
	require.Len(t, l.Leases, 19)
}

func testCancelled(t *testing.T, s leases.Store) {
	require.NoError(t, s.Create(t.Context(), full("a")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.List(ctx)
	require.Error(t, err)
	_, err = s.ListNow(ctx)
	require.Error(t, err)
	_, err = s.Get(ctx, "a")
	require.Error(t, err)
	require.NotErrorIs(t, err, leases.ErrNotFound)
	require.Error(t, s.Create(ctx, minimal("b")))
	require.Error(t, s.Update(ctx, leases.Update{Read: full("a"), To: other("a"), Set: leases.AttrAll}))
	require.Error(t, s.Delete(ctx, full("a"), 0))
	requireRow(t, s, full("a"))
	_, err = s.Get(t.Context(), "b")
	require.ErrorIs(t, err, leases.ErrNotFound)
}
