package shardsync

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// The streams of the KCL's HierarchicalShardSyncerTest: id, sequence numbers
// (open when there is no second one), hash keys (MAX to the end), parents.
const (
	graphA = `0 11-102 0-99; 1 11-102 100-199; 2 11-102 200-299; 3 11-102 300-399; 4 11- 400-499; 5 11-205 500-MAX;
		6 103-205 0-199 0,1; 7 103-205 200-399 2,3; 8 206- 0-399 6,7; 9 206- 500-799 5; 10 206- 800-MAX 5`
	graphB = `0 1000-1049 0-49; 1 1000-1049 50-MAX; 2 1050-1099 0-MAX 0,1; 3 1100-1149 0-49 2; 4 1100-1149 50-MAX 2;
		5 1150-1199 0-MAX 3,4; 6 1200-1249 0-49 5; 7 1200-1249 50-MAX 5; 8 1250-1299 0-MAX 6,7; 9 1300- 0-49 8;
		10 1300- 50-MAX 8`
	graphC = `0 11-102 0-399; 1 11- 400-499; 2 11-102 500-599; 3 11-102 600-MAX; 4 103-205 0-199 0; 5 103-205 200-399 0;
		6 103- 500-MAX 2,3; 7 206- 0-99 4; 8 206- 100-199 4; 9 206- 200-299 5; 10 206- 300-399 5`
)

func parseGraph(text string) []kcl.Shard {
	var list []kcl.Shard
	for line := range strings.SplitSeq(text, ";") {
		w := strings.Fields(line)
		s := kcl.Shard{ID: "shardId-" + w[0]}
		s.StartingSequenceNumber, s.EndingSequenceNumber, _ = strings.Cut(w[1], "-")
		s.HashKeyRange.Start, s.HashKeyRange.End, _ = strings.Cut(w[2], "-")
		if s.HashKeyRange.End == "MAX" {
			s.HashKeyRange.End = maxHashKey.String()
		}
		if len(w) > 3 {
			first, second, two := strings.Cut(w[3], ",")
			s.ParentID = "shardId-" + first
			if two {
				s.AdjacentParentID = "shardId-" + second
			}
		}
		list = append(list, s)
	}
	return list
}

// synced writes a plan as "0:T 1:L".
func synced(plan []leases.Lease) string {
	var words []string
	for _, l := range plan {
		words = append(words, strings.TrimPrefix(l.ShardID, "shardId-")+":"+l.Checkpoint.SequenceNumber[:1])
	}
	return strings.Join(words, " ")
}

// TestSyncVectors are those of the KCL's HierarchicalShardSyncerTest for a table
// that is not empty. Plan departs from it in that
//
//   - it makes the rows of all generations at once, each of which waits for its
//     parents; the KCL makes the oldest one, and the next at its end;
//   - it takes an ancestor of a shard that has a row for finished, or never
//     asked for (B 6, C 9,10);
//   - a closed shard whose children are not listed gets no row before they are:
//     they may have rows (a parent has no row);
//   - after the first sync no shard starts at the LATEST of that later time: it
//     is pinned to the time of the first sync (pinned), or it is read from its
//     beginning, as with TRIM_HORIZON, in rows that another library made.
//
// So whatever the KCL reads is read, and there is never a hole.
func TestSyncVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, graph, have   string
		javaLatest, javaAll string // shards to make at LATEST; at TRIM_HORIZON and AT_TIMESTAMP
		all                 string // ours at TRIM_HORIZON, and at LATEST in rows of another library
		pinned              string // ours at LATEST
		not                 string // of javaAll: shards that we do not read
	}{
		{
			"A 3,4,5", graphA, "3 4 5", "2 6", "0 1 2", "0:T 1:T 2:T 6:T 7:T 10:T 8:T 9:T",
			"0:L 1:L 2:L 6:L 7:T 10:T 8:T 9:T", "",
		},
		{"A 4,5,7", graphA, "4 5 7", "6", "0 1", "0:T 1:T 6:T 10:T 8:T 9:T", "0:L 1:L 6:L 10:T 8:T 9:T", ""},
		{"A 2,6", graphA, "2 6", "3 4 9 10", "3 4 5", "3:T 4:T 5:T 7:T 10:T 8:T 9:T", "3:L 4:L 5:L 7:T 10:L 8:T 9:L", ""},
		{"A 4,9,10", graphA, "4 9 10", "8", "0 1 2 3", "0:T 1:T 2:T 3:T 6:T 7:T 8:T", "0:L 1:L 2:L 3:L 6:L 7:L 8:L", ""},
		{"A 4,5,6,7", graphA, "4 5 6 7", "", "", "10:T 8:T 9:T", "10:T 8:T 9:T", ""},
		{"A 0-7", graphA, "0 1 2 3 4 5 6 7", "", "", "10:T 8:T 9:T", "10:T 8:T 9:T", ""},
		{"A 0,1,4,7,9,10", graphA, "0 1 4 7 9 10", "", "", "6:T 8:T", "6:T 8:T", ""},
		{"A all but 0,6,8", graphA, "1 2 3 4 5 7 9 10", "0", "0", "0:T 6:T 8:T", "0:L 6:T 8:T", ""},
		{"B 6", graphB, "6", "7", "0 1", "7:T 8:T 10:T 9:T", "7:L 8:T 10:T 9:T", "0 1"}, // the KCL's authors want 7 too
		{"B 5", graphB, "5", "", "", "6:T 7:T 8:T 10:T 9:T", "6:T 7:T 8:T 10:T 9:T", ""},
		{"B 0-5", graphB, "0 1 2 3 4 5", "", "", "6:T 7:T 8:T 10:T 9:T", "6:T 7:T 8:T 10:T 9:T", ""},
		{"C 9,10", graphC, "9 10", "1 6 7 8", "0 1 2 3", "1:T 2:T 3:T 4:T 6:T 7:T 8:T", "1:L 2:L 3:L 4:L 6:L 7:L 8:L", "0"},
		{"C 0,1,2,3", graphC, "0 1 2 3", "", "", "4:T 5:T 6:T 10:T 7:T 8:T 9:T", "4:T 5:T 6:T 10:T 7:T 8:T 9:T", ""},
		{"C 1,6-10", graphC, "1 6 7 8 9 10", "", "", "", "", ""},
		{"a parent has no row", "0 303-404 0-9; 1 405- 10-MAX; 2 202-302 0-MAX", "2", "1", "0 1", "1:T", "1:L", "0"},
		// The KCL fails, or leaves out 2, whose parent should have been closed.
		{
			"a child of an open shard", "0 1- 0-9; 1 1- 10-MAX; 2 2- 10-MAX 1; 3 1- 0-9", "3", "0 1", "0 1", "0:T 1:T 2:T",
			"0:L 1:L 2:L", "",
		},
	}
	pin := time.Unix(1000, 0)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			list := parseGraph(tt.graph)
			rows := func(at time.Time) []leases.Lease {
				var have []leases.Lease
				for _, s := range list {
					if slices.Contains(strings.Fields(tt.have), strings.TrimPrefix(s.ID, "shardId-")) {
						l := newLease(s, Options{})
						l.PinnedAt = at
						have = append(have, l)
					}
				}
				return have
			}
			check := func(kind kcl.PositionKind, at time.Time, want, java string) {
				have, opt := rows(at), Options{PinnedAt: pin.Add(time.Hour)}
				slices.Reverse(have)
				plan := Plan(list, have, kcl.InitialPosition{Kind: kind}, opt)
				require.Equal(t, want, synced(plan), "%v, pinned %v", kind, at)
				for _, l := range plan {
					if kind == kcl.Latest && l.Checkpoint.SequenceNumber == kcl.SentinelLatest {
						require.Equal(t, pin, l.PinnedAt)
					}
				}
				for _, id := range strings.Fields(java) {
					made := slices.ContainsFunc(plan, func(l leases.Lease) bool { return l.ShardID == "shardId-"+id })
					require.Equal(t, !slices.Contains(strings.Fields(tt.not), id), made, "the KCL makes %s", id)
				}
				require.Empty(t, Plan(list, append(have, plan...), kcl.InitialPosition{Kind: kind}, opt), "again")
				if tt.graph == graphA || tt.graph == graphB || tt.graph == graphC {
					require.Empty(t, Audit(append(have, plan...), list).Holes)
				}
			}
			check(kcl.TrimHorizon, time.Time{}, tt.all, tt.javaAll)
			check(kcl.Latest, time.Time{}, tt.all, tt.javaLatest)
			check(kcl.Latest, pin, tt.pinned, tt.javaLatest)
			// The oldest of what is missing starts at the time, what descends from
			// it at its beginning.
			rowsThen := append(strings.Fields(strings.ReplaceAll(tt.all, ":T", "")), strings.Fields(tt.have)...)
			var atTime []string
			for _, word := range strings.Fields(tt.all) {
				id := strings.TrimSuffix(word, ":T")
				i := slices.IndexFunc(list, func(s kcl.Shard) bool { return s.ID == "shardId-"+id })
				if !descends(list, list[i], rowsThen) {
					word = id + ":A"
				}
				atTime = append(atTime, word)
			}
			check(kcl.AtTimestamp, time.Time{}, strings.Join(atTime, " "), tt.javaAll)
		})
	}
}

// descends tells whether an ancestor of s is in ids.
func descends(list []kcl.Shard, s kcl.Shard, ids []string) bool {
	for _, p := range s.Parents() {
		i := slices.IndexFunc(list, func(o kcl.Shard) bool { return o.ID == p })
		if slices.Contains(ids, strings.TrimPrefix(p, "shardId-")) || (i >= 0 && descends(list, list[i], ids)) {
			return true
		}
	}
	return false
}

// TestSyncOfEmptyTableVectors are those for a table that is empty. What the
// service lists for a position is given.
func TestSyncOfEmptyTableVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		graph  string
		listed string // empty: all
		kind   kcl.PositionKind
		java   string // shards
		want   string
	}{
		{"A at TRIM_HORIZON", graphA, "0 1 2 3 4 5", kcl.TrimHorizon, "0 1 2 3 4 5", "0:T 1:T 2:T 3:T 4:T 5:T"},
		{"A at 1000", graphA, "4 8 9 10", kcl.AtTimestamp, "4 8 9 10", "4:A 10:A 8:A 9:A"},
		{"A at 200", graphA, "6 7 4 5", kcl.AtTimestamp, "6 7 4 5", "4:A 5:A 6:A 7:A"},
		// We list all shards from that time on.
		{"A from 200 on", graphA, "6 7 4 5 8 9 10", kcl.AtTimestamp, "6 7 4 5", "4:A 5:A 6:A 7:A 10:T 8:T 9:T"},
		{"A at LATEST", graphA, "4 8 9 10", kcl.Latest, "4 8 9 10", "4:L 10:L 8:L 9:L"},
		// The algorithm for tables that are not empty, for a table that is.
		{"A, all listed, at LATEST", graphA, "", kcl.Latest, "4 8 9 10", "4:L 10:L 8:L 9:L"},
		{"A, all listed", graphA, "", kcl.TrimHorizon, "0 1 2 3 4 5", "0:T 1:T 2:T 3:T 4:T 5:T 6:T 7:T 10:T 8:T 9:T"},
		{"B, all listed, at LATEST", graphB, "", kcl.Latest, "9 10", "10:L 9:L"},
		{"B, all listed", graphB, "", kcl.TrimHorizon, "0 1", "0:T 1:T 2:T 3:T 4:T 5:T 6:T 7:T 8:T 10:T 9:T"},
		{"C, all listed, at LATEST", graphC, "", kcl.Latest, "1 6 7 8 9 10", "1:L 6:L 10:L 7:L 8:L 9:L"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			list := parseGraph(tt.graph)
			if tt.listed != "" {
				list = slices.DeleteFunc(list, func(s kcl.Shard) bool {
					return !slices.Contains(strings.Fields(tt.listed), strings.TrimPrefix(s.ID, "shardId-"))
				})
			}
			slices.Reverse(list)
			plan := Plan(list, nil, kcl.InitialPosition{Kind: tt.kind}, Options{PinnedAt: time.Unix(1000, 0)})
			require.Equal(t, tt.want, synced(plan))
			for _, id := range strings.Fields(tt.java) {
				require.True(t, slices.ContainsFunc(plan, func(l leases.Lease) bool { return l.ShardID == "shardId-"+id }),
					"the KCL makes %s", id)
			}
			for _, l := range plan {
				require.Zero(t, l.Counter)
				require.Zero(t, l.OwnerSwitchesSinceCheckpoint)
				require.Empty(t, l.Owner)
				require.NoError(t, l.HashKeyRange.Validate())
				i := slices.IndexFunc(list, func(s kcl.Shard) bool { return s.ID == l.ShardID })
				require.Equal(t, list[i].Parents(), l.Parents, "as listed, even if unknown")
			}
			require.Empty(t, Audit(plan, list).Holes)
		})
	}
}

// TestSyncOrderVectors: the order of the KCL is by starting sequence number as a
// number, then by the id as a string; parents come before their children.
func TestSyncOrderVectors(t *testing.T) {
	t.Parallel()
	list := parseGraph("8 99- 0-9; 10 99- 10-19; 1 100- 20-29; 2 9-10 30-MAX; 3 5- 30-MAX 2")
	require.Equal(t, "2:T 3:T 10:T 8:T 1:T", synced(Plan(list, nil, kcl.InitialPosition{}, Options{})))
}
