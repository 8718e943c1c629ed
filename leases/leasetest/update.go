package leasetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

func testUpdateEach(t *testing.T, s leases.Store) {
	for _, a := range attributes {
		for name, before := range map[string]leases.Lease{
			"minimal": minimal(a.name + " minimal"), "full": full(a.name + " full"),
		} {
			require.NoError(t, s.Create(t.Context(), before))
			to := other(before.Key)
			require.NoError(t, s.Update(t.Context(), leases.Update{
				Read: before, Expect: leases.AttrCounter, To: to, Set: a.attr,
			}), "%s, %s", a.name, name)
			requireRow(t, s, before.With(a.attr, to))
		}
	}
}

func testUpdateAll(t *testing.T, s leases.Store) {
	require.NoError(t, s.Create(t.Context(), full("a")))
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: full("a"), Expect: leases.AttrAll, To: other("a"), Set: leases.AttrAll,
	}))
	requireRow(t, s, other("a"))
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: other("a"), To: full("a"), Set: leases.AttrAll,
	}), "the row exists, nothing else is expected")
	requireRow(t, s, full("a"))
}

func testUpdateRemoves(t *testing.T, s leases.Store) {
	removable := leases.AttrAll &^ (leases.AttrCounter | leases.AttrOwnerSwitches | leases.AttrCheckpoint)
	for _, a := range attributes {
		if !removable.Has(a.attr) {
			continue
		}
		row := full(a.name)
		require.NoError(t, s.Create(t.Context(), row))
		require.NoError(t, s.Update(t.Context(), leases.Update{
			Read: row, Expect: a.attr, To: minimal(a.name), Set: a.attr,
		}), a.name)
		requireRow(t, s, row.With(a.attr, minimal(a.name)))
	}
	require.NoError(t, s.Create(t.Context(), full("all")))
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: full("all"), Expect: leases.AttrAll, To: minimal("all"), Set: leases.AttrAll,
	}))
	requireRow(t, s, minimal("all"))
	// An absent attribute can be removed.
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: minimal("all"), Expect: leases.AttrAll, To: minimal("all"), Set: removable,
	}))
	requireRow(t, s, minimal("all"))
}

func testExpectEach(t *testing.T, s leases.Store) {
	require.NoError(t, s.Create(t.Context(), full("a")))
	for _, a := range attributes {
		wrong := full("a").With(a.attr, other("a"))
		for _, expect := range []leases.Attr{a.attr, leases.AttrAll} {
			c := requireConflict(t, s.Update(t.Context(), leases.Update{
				Read: wrong, Expect: expect, To: other("a"), Set: leases.AttrAll,
			}))
			require.NotNil(t, c.Current, a.name)
			requireSame(t, full("a"), *c.Current)
		}
		requireRow(t, s, full("a"))
		// A wrong value does no harm in an attribute that is not expected.
		require.NoError(t, s.Update(t.Context(), leases.Update{
			Read: wrong, Expect: leases.AttrAll &^ a.attr, To: full("a"), Set: leases.AttrCounter,
		}), a.name)
		// The right value of one attribute is enough.
		require.NoError(t, s.Update(t.Context(), leases.Update{
			Read: full("a"), Expect: a.attr, To: full("a"), Set: leases.AttrCounter,
		}), a.name)
	}
	// A difference in one part of a pair is a conflict.
	for name, change := range map[string]func(*leases.Lease){
		"sub-sequence number":         func(l *leases.Lease) { l.Checkpoint.SubSequenceNumber++ },
		"pending sub-sequence number": func(l *leases.Lease) { l.Pending.SubSequenceNumber++ },
		"pending state":               func(l *leases.Lease) { l.PendingState = []byte("State") },
		"no pending state":            func(l *leases.Lease) { l.PendingState = nil },
		"start of the hash key range": func(l *leases.Lease) { l.HashKeyRange.Start = "9" },
		"one parent less":             func(l *leases.Lease) { l.Parents = l.Parents[:1] },
	} {
		wrong := full("a")
		change(&wrong)
		err := s.Update(t.Context(), leases.Update{
			Read: wrong, Expect: leases.AttrAll, To: other("a"), Set: leases.AttrAll,
		})
		require.Error(t, err, name)
		requireConflict(t, err)
	}
	requireRow(t, s, full("a"))
	// The order of a set does not matter.
	read := full("a")
	slices.Reverse(read.Parents)
	slices.Reverse(read.Children)
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: read, Expect: leases.AttrAll, To: other("a"), Set: leases.AttrAll,
	}))
	requireRow(t, s, other("a"))
}

func testExpectAbsent(t *testing.T, s leases.Store) {
	require.NoError(t, s.Create(t.Context(), full("full")))
	require.NoError(t, s.Create(t.Context(), minimal("minimal")))
	for _, a := range attributes {
		// The update expects no value, and the row has one.
		read := minimal("full")
		if !full("full").Same(a.attr, read) {
			requireConflict(t, s.Update(t.Context(), leases.Update{
				Read: read, Expect: a.attr, To: other("full"), Set: leases.AttrAll,
			}))
		}
		// The update expects a value, and the row has none.
		read = full("minimal")
		requireConflict(t, s.Update(t.Context(), leases.Update{
			Read: read, Expect: a.attr, To: other("minimal"), Set: leases.AttrAll,
		}))
		// The update expects no value, and the row has none.
		require.NoError(t, s.Update(t.Context(), leases.Update{
			Read: minimal("minimal"), Expect: a.attr, To: minimal("minimal"), Set: leases.AttrCounter,
		}), a.name)
	}
	requireRow(t, s, full("full"))
	requireRow(t, s, minimal("minimal"))
	// A removed attribute is absent.
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: full("full"), To: minimal("full"), Set: leases.AttrCheckpointOwner,
	}))
	require.NoError(t, s.Update(t.Context(), leases.Update{
		Read: minimal("full"), Expect: leases.AttrCheckpointOwner, To: full("full"), Set: leases.AttrCheckpointOwner,
	}))
	requireRow(t, s, full("full"))
}

func testConflictCurrent(t *testing.T, s leases.Store) {
	require.NoError(t, s.Create(t.Context(), full("a")))
	c := requireConflict(t, s.Update(t.Context(), leases.Update{
		Read: other("a"), Expect: leases.AttrCounter, To: other("a"), Set: leases.AttrOwner,
	}))
	require.Equal(t, "a", c.Key)
	require.NotNil(t, c.Current)
	requireSame(t, full("a"), *c.Current)

	c = requireConflict(t, s.Update(t.Context(), leases.Update{
		Read: full("b"), Expect: leases.AttrCounter, To: other("b"), Set: leases.AttrOwner,
	}))
	require.Equal(t, "b", c.Key)
	require.Nil(t, c.Current)
}

func testNoResurrection(t *testing.T, s leases.Store) {
	for _, expect := range []leases.Attr{0, leases.AttrCheckpointOwner, leases.AttrAll} {
		c := requireConflict(t, s.Update(t.Context(), leases.Update{
			Read: minimal("a"), Expect: expect, To: other("a"), Set: leases.AttrAll,
		}))
		require.Nil(t, c.Current)
	}
	require.NoError(t, s.Create(t.Context(), full("a")))
	require.NoError(t, s.Delete(t.Context(), full("a"), leases.AttrAll))
	requireConflict(t, s.Update(t.Context(), leases.Update{
		Read: full("a"), Expect: leases.AttrCounter, To: other("a"), Set: leases.AttrCheckpoint,
	}))
	_, err := s.Get(t.Context(), "a")
	require.ErrorIs(t, err, leases.ErrNotFound)
}

// testConcurrentUpdates lets several writers raise the counter of one row. For each value exactly
// one writer succeeds.
func testConcurrentUpdates(t *testing.T, s leases.Store) {
	row := minimal("a")
	require.NoError(t, s.Create(t.Context(), row))
	const rounds, writers = 10, 8
	for round := range rounds {
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for i := range errs {
			to := row
			to.Counter, to.Owner = row.Counter+1, fmt.Sprintf("worker-%d", i)
			wg.Go(func() {
				errs[i] = s.Update(t.Context(), leases.Update{
					Read: row, Expect: leases.AttrCounter | leases.AttrOwner,
					To: to, Set: leases.AttrCounter | leases.AttrOwner,
				})
			})
		}
		wg.Wait()
		winner := -1
		for i, err := range errs {
			if err == nil {
				require.Equal(t, -1, winner, "two writers won")
				winner = i
				continue
			}
			requireConflict(t, err)
		}
		require.NotEqual(t, -1, winner, "nobody won round %d", round)
		row.Counter, row.Owner = row.Counter+1, fmt.Sprintf("worker-%d", winner)
		requireRow(t, s, row)
	}
}

func testConcurrentCreates(t *testing.T, s leases.Store) {
	const writers = 8
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range errs {
		row := minimal("a")
		row.Owner = fmt.Sprintf("worker-%d", i)
		wg.Go(func() { errs[i] = s.Create(t.Context(), row) })
	}
	wg.Wait()
	want := minimal("a")
	for i, err := range errs {
		if err == nil {
			require.Empty(t, want.Owner, "two writers won")
			want.Owner = fmt.Sprintf("worker-%d", i)
			continue
		}
		requireConflict(t, err)
	}
	requireRow(t, s, want)
}

// testDisjointUpdates lets each of several writers set another attribute at the same time. At the
// end the row has all of them. Writes of whole rows would lose some.
func testDisjointUpdates(t *testing.T, s leases.Store) {
	require.NoError(t, s.Create(t.Context(), full("a")))
	errs := make([]error, len(attributes))
	var wg sync.WaitGroup
	for i, a := range attributes {
		wg.Go(func() {
			for range 5 { // a store may report contention
				errs[i] = s.Update(t.Context(), leases.Update{
					Read: full("a"), Expect: a.attr, To: other("a"), Set: a.attr,
				})
				var c *leases.ConflictError
				if errs[i] == nil || errors.As(errs[i], &c) {
					return
				}
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		require.NoError(t, err, attributes[i].name)
	}
	requireRow(t, s, other("a"))
}

func testExtremes(t *testing.T, s leases.Store) {
	const maxHash = "340282366920938463463374607431768211455"
	state := make([]byte, 1024)
	for i := range state {
		state[i] = byte(i)
	}
	largest := full("123456789012:" + strings.Repeat("n", 128) + ":9999999999:shardId-999999999999")
	largest.Stream, largest.ShardID = "123456789012:"+strings.Repeat("n", 128)+":9999999999", "shardId-999999999999"
	largest.Owner = strings.Repeat("w", 200) + "/ö世界 \"'\\:#"
	largest.Counter, largest.OwnerSwitchesSinceCheckpoint = 1<<62, 1<<40
	largest.Checkpoint.SequenceNumber = strings.Repeat("9", 129)
	largest.Checkpoint.SubSequenceNumber = 1<<63 - 1
	largest.Pending, largest.PendingState = largest.Checkpoint, state
	largest.HashKeyRange = kcl.HashKeyRange{Start: "0", End: maxHash}
	largest.ThroughputKBps = 1.0e7
	largest.PinnedAt, largest.StreamCreated = time.UnixMilli(253402300799999).UTC(), time.UnixMilli(1).UTC()
	largest.Application = strings.Repeat("a", 200) + "/ö世界 \"'\\:#"
	largest.StreamARN = "arn:aws-us-gov:kinesis:us-gov-west-1"
	largest.Origin = leases.Origin{Kind: kcl.SentinelTrimHorizon}
	largest.Paused = strings.Repeat("p", 300) + " ö\n"
	largest.Reached, largest.Abilities = time.UnixMilli(0).UTC(), 1<<62

	smallest := minimal("s")
	smallest.HashKeyRange = kcl.HashKeyRange{Start: maxHash, End: maxHash}
	smallest.ThroughputKBps = 0
	smallest.Pending = kcl.ExtendedSequenceNumber{SequenceNumber: "0"}

	tiny := minimal("t")
	tiny.ThroughputKBps = 0.00001
	tiny.Pending, tiny.PendingState = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon}, []byte{0}

	for _, row := range []leases.Lease{largest, smallest, tiny} {
		require.NoError(t, s.Create(t.Context(), row))
		requireRow(t, s, row)
		require.NoError(t, s.Update(t.Context(), leases.Update{
			Read: row, Expect: leases.AttrAll, To: row, Set: leases.AttrAll,
		}))
		requireRow(t, s, row)
		require.NoError(t, s.Update(t.Context(), leases.Update{Read: row, To: other(row.Key), Set: leases.AttrAll}))
		require.NoError(t, s.Update(t.Context(), leases.Update{Read: row, To: row, Set: leases.AttrAll}))
		requireRow(t, s, row)
	}
}
