package shardsync

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

func formerRow(stream, shard string, counter int64, parents ...string) leases.Lease {
	return leases.Lease{Key: stream + ":" + shard, Stream: stream, ShardID: shard, Counter: counter, Parents: parents}
}

// keysOf returns the keys of rows, for comparisons.
func keysOf(groups [][]leases.Lease) [][]string {
	var out [][]string
	for _, rows := range groups {
		var keys []string
		for _, l := range rows {
			keys = append(keys, l.Key)
		}
		out = append(out, keys)
	}
	return out
}

func TestFormerWatch(t *testing.T) {
	t.Parallel()
	var w FormerWatch
	at := func(minute int) time.Time { return time.Unix(0, 0).Add(time.Duration(minute) * time.Minute) }
	const wait = 10 * time.Minute
	a1, a2, b := formerRow("a", "1", 5), formerRow("a", "2", 5), formerRow("b", "1", 5)

	require.Empty(t, w.Observe(at(0), []leases.Lease{a1, b}, wait))
	require.Equal(t, 2, w.Streams())
	require.Empty(t, w.Observe(at(9), []leases.Lease{a1, b}, wait))
	require.Equal(t, [][]string{{"a:1"}, {"b:1"}}, keysOf(w.Observe(at(10), []leases.Lease{b, a1}, wait)),
		"nobody has written for all of the wait")
	require.Equal(t, [][]string{{"a:1"}}, keysOf(w.Observe(at(11), []leases.Lease{a1}, wait)),
		"what another worker has deleted is no sign of life")

	require.Equal(t, [][]string{{"a:1"}}, keysOf(w.Observe(at(12), []leases.Lease{a1, b}, wait)), "b has come back")
	require.Empty(t, w.Observe(at(13), []leases.Lease{a1, a2, b}, wait), "a row was added to a")
	a2.Counter++
	require.Empty(t, w.Observe(at(20), []leases.Lease{a1, a2, b}, wait), "one row is renewed")
	require.Equal(t, [][]string{{"b:1"}}, keysOf(w.Observe(at(29), []leases.Lease{a1, a2, b}, wait)))
	a1.Owner = "somebody"
	require.Equal(t, [][]string{{"b:1"}}, keysOf(w.Observe(at(29), []leases.Lease{a1, a2, b}, wait)))
	w.Forget("b")
	require.Empty(t, w.Observe(at(38), []leases.Lease{a1, a2, b}, wait))
	require.Equal(t, [][]string{{"a:2", "a:1"}}, keysOf(w.Observe(at(39), []leases.Lease{a1, a2, b}, wait)))
	require.Empty(t, w.Observe(at(40), nil, wait))
	require.Zero(t, w.Streams())
}

// After any part of the deletions a synchronisation finds every deleted shard that was not
// finished. None looks finished.
func TestFormerRowsGoChildrenFirst(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := drawStream(t)
		opt := Options{
			Stream: kcl.StreamIdentifier{AccountID: "123456789012", Name: "orders", CreationEpoch: 1700000000},
			Multi:  true,
		}
		rows := Plan(list, nil, kcl.InitialPosition{}, opt)
		finished := map[string]bool{}
		for i, l := range rows { // parents before children
			if rapid.Bool().Draw(t, "finished") && !slices.ContainsFunc(l.Parents, func(p string) bool { return !finished[p] }) {
				finished[l.ShardID] = true
				rows[i].Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}
			}
		}
		var w FormerWatch
		require.Empty(t, w.Observe(time.Unix(0, 0), rows, time.Minute))
		due := w.Observe(time.Unix(60, 0), rows, time.Minute)
		require.Len(t, due, 1)
		require.ElementsMatch(t, rows, due[0])
		gone := rapid.IntRange(0, len(rows)).Draw(t, "gone")
		planned := map[string]bool{}
		for _, l := range Plan(list, due[0][gone:], kcl.InitialPosition{}, opt) {
			planned[l.ShardID] = true
		}
		for _, l := range due[0][:gone] {
			require.True(t, planned[l.ShardID] || finished[l.ShardID], "%s would not be read again", l.ShardID)
		}
	})
}

func TestFormerRowsInACircle(t *testing.T) {
	t.Parallel()
	var w FormerWatch
	rows := []leases.Lease{formerRow("a", "0", 1, "1"), formerRow("a", "1", 1, "0")}
	w.Observe(time.Unix(0, 0), rows, time.Minute)
	require.Len(t, w.Observe(time.Unix(60, 0), rows, time.Minute)[0], 2)
}

// No row of a generation descends from another, and none is before an ancestor.
func TestGenerationsOfRandomStreams(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := drawStream(t)
		plan := Plan(list, nil, kcl.InitialPosition{}, Options{})
		made := map[string]bool{}
		count := 0
		for _, generation := range Generations(plan, list) {
			for _, l := range generation {
				for _, p := range l.Parents {
					require.True(t, made[p])
				}
			}
			for _, l := range generation {
				made[l.ShardID] = true
				count++
			}
		}
		require.Equal(t, len(plan), count)
	})
}

func TestGenerations(t *testing.T) {
	t.Parallel()
	shards := []kcl.Shard{
		{ID: "0"},
		{ID: "1"},
		{ID: "2", ParentID: "0", AdjacentParentID: "1"},
		{ID: "3", ParentID: "2"},
		{ID: "4"},
		{ID: "5", ParentID: "4"},
		{ID: "6", ParentID: "trimmed"},
		{ID: "7", ParentID: "8"},
		{ID: "8", ParentID: "7"},
	}
	plan := func(ids ...string) []leases.Lease {
		var rows []leases.Lease
		for _, id := range ids {
			rows = append(rows, leases.Lease{Key: id, ShardID: id})
		}
		return rows
	}
	require.Empty(t, Generations(nil, shards))
	require.Equal(t, [][]string{{"0", "1", "4"}, {"2", "5"}, {"3"}},
		keysOf(Generations(plan("0", "1", "4", "2", "5", "3"), shards)))
	require.Equal(t, [][]string{{"0"}, {"3"}}, keysOf(Generations(plan("0", "3"), shards)),
		"a generation between them is there already")
	require.Equal(t, [][]string{{"0"}, {"6"}}, keysOf(Generations(plan("6", "0"), shards)))
	var circle int
	for _, g := range Generations(plan("7", "8"), shards) {
		circle += len(g)
	}
	require.Equal(t, 2, circle)
}
