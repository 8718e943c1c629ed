package shardsync

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// part returns a range of sixteenths of the hash keys, from a up to but without b.
func part(a, b int64) kcl.HashKeyRange {
	at := func(n int64) *big.Int { return new(big.Int).Lsh(big.NewInt(n), 124) }
	return kcl.HashKeyRange{Start: at(a).String(), End: new(big.Int).Sub(at(b), one).String()}
}

// ranged parses shards as shards does, each with a range of sixteenths of the
// hash keys in front: "0..8:1-(0)".
func ranged(text string) []kcl.Shard {
	var words []string
	var ranges []kcl.HashKeyRange
	for _, f := range strings.Fields(text) {
		r, word, _ := strings.Cut(f, ":")
		var a, b int64
		if _, err := fmt.Sscanf(r, "%d..%d", &a, &b); err != nil {
			panic(f)
		}
		words, ranges = append(words, word), append(ranges, part(a, b))
	}
	list := shards(strings.Join(words, " "))
	for i := range list {
		list[i].HashKeyRange = ranges[i]
	}
	return list
}

// rowsOf parses "0=E>1,2 1=5 2=T@w": checkpoints by their first letter or a
// number, children of the row after >, owner after @. Parents and ranges come
// from shards.
func rowsOf(text string, list []kcl.Shard) []leases.Lease {
	var rows []leases.Lease
	for _, f := range strings.Fields(text) {
		f, owner, _ := strings.Cut(f, "@")
		f, children, _ := strings.Cut(f, ">")
		id, at, _ := strings.Cut(f, "=")
		at = strings.NewReplacer("E", kcl.SentinelShardEnd, "T", kcl.SentinelTrimHorizon,
			"L", kcl.SentinelLatest, "A", kcl.SentinelAtTimestamp).Replace(at)
		l := leases.Lease{Key: id, ShardID: id, Owner: owner, Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: at}}
		if children != "" {
			l.Children = strings.Split(children, ",")
		}
		if i := slices.IndexFunc(list, func(s kcl.Shard) bool { return s.ID == id }); i >= 0 {
			l.Parents, l.HashKeyRange = list[i].Parents(), list[i].HashKeyRange
		}
		rows = append(rows, l)
	}
	return rows
}

// cleanup surveys the same picture every minute for as long as it takes, and
// returns what may be deleted at the end; a ! marks a shard that is gone.
func cleanup(t require.TestingT, list []kcl.Shard, rows []leases.Lease, initial kcl.PositionKind,
	d time.Duration,
) string {
	var past CleanupHistory
	var plan []Removal
	at := time.Unix(10000, 0)
	for end := at.Add(d); !at.After(end); at = at.Add(time.Minute) {
		s := Survey{
			At: at, ListedAt: at.Add(-time.Second), Shards: list, Rows: rows,
			Initial: kcl.InitialPosition{Kind: initial}, Options: Options{PinnedAt: at},
		}
		plan, past = PlanCleanup(s, past)
	}
	return removed(plan)
}

func removed(plan []Removal) string {
	var words []string
	for _, r := range plan {
		w := r.Lease.Key
		if r.Gone {
			w += "!"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// TestPlanCleanup: with the KCL's matrix of child checkpoint, missing child
// row and parents that have a row.
func TestPlanCleanup(t *testing.T) {
	t.Parallel()
	const split = "0..16:0- 0..8:1(0) 8..16:2(0)"
	const merge = "0..8:0- 8..16:1- 0..16:2(0,1)"
	const chain = "0..16:0- 0..8:1-(0) 8..16:2(0) 0..4:3(1) 4..8:4(1)"
	for _, tt := range []struct {
		name, shards, rows string
		initial            kcl.PositionKind
		want               string
	}{
		{"both children are read", split, "0=E>1,2 1=5 2=5", kcl.TrimHorizon, "0"},
		{"one child waits", split, "0=E>1,2 1=5 2=T", kcl.TrimHorizon, ""},
		{"one child waits at a time", split, "0=E>1,2 1=5 2=A", kcl.TrimHorizon, ""},
		{"one child waits at LATEST", split, "0=E>1,2 1=5 2=L", kcl.Latest, ""},
		{"not finished", split, "0=7 1=5 2=5", kcl.TrimHorizon, ""},
		{"one child has no row", split, "0=E>1,2 1=5", kcl.TrimHorizon, ""},
		{"children of the row are not known", split, "0=E 1=5 2=5", kcl.TrimHorizon, "0"},
		{"children are known to neither", "0..8:1 8..16:2", "0=E 1=5 2=5", kcl.TrimHorizon, "0!"},
		{"children of the row are not all", split, "0=E>1 1=5 2=T", kcl.TrimHorizon, ""},
		{"merge", merge, "0=E>2 1=E>2 2=5", kcl.TrimHorizon, "0 1"},
		{"merge, one parent is read", merge, "0=E>2 1=5 2=T", kcl.TrimHorizon, ""},
		{"merge, one parent was cleaned up", merge, "1=E>2 2=5", kcl.TrimHorizon, "1"},
		{"two generations", chain, "0=E>1,2 1=E>3,4 2=5 3=5 4=5", kcl.TrimHorizon, "0 1"},
		{"two generations, the last one waits", chain, "0=E>1,2 1=E>3,4 2=5 3=5 4=T", kcl.TrimHorizon, "0"},
		{"the first parent must stay", chain, "0=E>1,2 1=E>3,4 2=T 3=5 4=5", kcl.TrimHorizon, ""},
		{"at LATEST", split, "0=E>1,2 1=5 2=5", kcl.Latest, "0"},
		{"at a time", split, "0=E>1,2 1=5 2=5", kcl.AtTimestamp, "0"},
		{"the list is from before the split", "0..16:0", "0=E>1,2 1=5 2=5", kcl.TrimHorizon, ""},
		{"the list lacks a child", "0..16:0- 0..8:1(0)", "0=E>1,2 1=5 2=5", kcl.TrimHorizon, ""},
		{"the list is empty", "", "0=E>1,2 1=5 2=5", kcl.TrimHorizon, ""},
		{"the parent is not listed any more", "0..8:1(0) 8..16:2(0)", "0=E>1,2 1=5 2=5", kcl.TrimHorizon, "0"},
		{"a row is missing elsewhere", split + " 3..4:9", "0=E>1,2 1=5 2=5", kcl.TrimHorizon, ""},
		{"gone, nobody holds it", "0..16:1", "0=7 1=5", kcl.TrimHorizon, "0!"},
		{"gone, somebody holds it", "0..16:1", "0=7@w 1=5", kcl.TrimHorizon, ""},
		{"gone and finished, the child waits", "0..16:1(0)", "0=E>1@w 1=T", kcl.TrimHorizon, "0!"},
		{"every row is gone", "0..16:1(9)", "0=7", kcl.TrimHorizon, ""},
		{"parents in a circle", "0..8:0-(1) 8..16:1-(0) 0..16:2", "0=E>2 1=E>2 2=5", kcl.TrimHorizon, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			list := ranged(tt.shards)
			rows := rowsOf(tt.rows, slices.Concat(list, ranged(split)))
			require.Equal(t, tt.want, cleanup(t, list, rows, tt.initial, 15*time.Minute))
		})
	}
}

// five minutes untouched for a finished shard, three lists over ten
// minutes for one that is not listed.
func TestR17CleanupIsPatient(t *testing.T) {
	t.Parallel()
	split := ranged("0..16:0- 0..8:1(0) 8..16:2(0)")
	rows := rowsOf("0=E>1,2 1=5 2=5", split)
	require.Empty(t, cleanup(t, split, rows, kcl.TrimHorizon, 4*time.Minute))
	require.Equal(t, "0", cleanup(t, split, rows, kcl.TrimHorizon, 5*time.Minute))

	now := ranged("0..16:1(0)")
	rows = rowsOf("0=E 1=T", now)
	require.Empty(t, cleanup(t, now, rows, kcl.TrimHorizon, 9*time.Minute))
	require.Equal(t, "0!", cleanup(t, now, rows, kcl.TrimHorizon, 10*time.Minute))
}

// A finished row that is written to is kept: the KCL renews such leases until it deletes them.
func TestCleanupLeavesRowsThatAreWrittenTo(t *testing.T) {
	t.Parallel()
	list := ranged("0..16:0- 0..8:1(0) 8..16:2(0)")
	rows := rowsOf("0=E>1,2@java 1=5 2=5", list)
	var past CleanupHistory
	var plan []Removal
	at := time.Unix(10000, 0)
	survey := func() string {
		at = at.Add(time.Minute)
		plan, past = PlanCleanup(Survey{At: at, ListedAt: at, Shards: list, Rows: rows}, past)
		return removed(plan)
	}
	for range 30 {
		rows[0].Counter++
		require.Empty(t, survey())
	}
	for range 4 {
		require.Empty(t, survey())
	}
	require.Equal(t, "0", survey())
}

// one list that shows the shard restarts the count. A list that was seen before does
// not count, nor does one with a hole.
func TestR17OnlyCompleteListsInARowCount(t *testing.T) {
	t.Parallel()
	with, without := ranged("0..16:0- 0..16:1(0)"), ranged("0..16:1(0)")
	partial := ranged("0..15:1(0)")
	rows := rowsOf("0=E 1=T", with)
	begin := time.Unix(10000, 0)
	for _, tt := range []struct {
		name  string
		lists [][]kcl.Shard
		every time.Duration
		again bool // the same list every time
		want  string
	}{
		{"three lists", [][]kcl.Shard{without, without, without}, 6 * time.Minute, false, "0!"},
		{"two lists", [][]kcl.Shard{without, without}, 20 * time.Minute, false, ""},
		{"three lists at once", [][]kcl.Shard{without, without, without}, 4 * time.Minute, false, ""},
		{"listed in between", [][]kcl.Shard{without, without, with, without, without}, 6 * time.Minute, false, ""},
		{"partial lists", [][]kcl.Shard{partial, partial, partial, partial}, 6 * time.Minute, false, ""},
		{"the last one is partial", [][]kcl.Shard{without, without, without, partial}, 6 * time.Minute, false, ""},
		{
			"two partial ones between",
			[][]kcl.Shard{without, partial, without, partial, without},
			6 * time.Minute, false, "0!",
		},
		{"empty lists", [][]kcl.Shard{nil, nil, nil, nil}, 6 * time.Minute, false, ""},
		{"the same list", [][]kcl.Shard{without, without, without, without}, 6 * time.Minute, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var past CleanupHistory
			var plan []Removal
			for i, list := range tt.lists {
				at := begin.Add(time.Duration(i) * tt.every)
				listed := at
				if tt.again {
					listed = begin
				}
				plan, past = PlanCleanup(Survey{At: at, ListedAt: listed, Shards: list, Rows: rows}, past)
			}
			require.Equal(t, tt.want, removed(plan))
		})
	}
}

// S15, S9: after any part of the removals Plan makes none of the rows again, now or after the
// oldest shards have left the list. No hash key is left uncovered, and no waiting shard loses a
// parent.
func TestS15CleanupIsFinal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows, list := family(t)
		kind := rapid.SampledFrom([]kcl.PositionKind{kcl.TrimHorizon, kcl.Latest, kcl.AtTimestamp}).Draw(t, "initial")
		trimmed := 0
		for trimmed < len(list) && list[trimmed].Closed() {
			trimmed++
		}
		trimmed = rapid.IntRange(0, trimmed).Draw(t, "trimmed")
		var past CleanupHistory
		var plan []Removal
		at := time.Unix(10000, 0)
		opt := Options{PinnedAt: at}
		initial := kcl.InitialPosition{Kind: kind}
		for range 15 {
			plan, past = PlanCleanup(Survey{
				At: at, ListedAt: at, Shards: list[trimmed:], Rows: rows, Initial: initial,
				Options: opt,
			}, past)
			at = at.Add(time.Minute)
		}
		left := slices.Clone(rows)
		for _, r := range plan {
			if r.Gone && r.Lease.Started() && !r.Lease.Finished() {
				require.Empty(t, r.Lease.ActualOwner())
			}
			if !r.Gone {
				require.True(t, r.Lease.Finished())
			}
			if rapid.IntRange(0, 9).Draw(t, "deleted") == 0 {
				continue // the worker stopped, or somebody wrote to it
			}
			left = slices.DeleteFunc(left, func(l leases.Lease) bool { return l.Key == r.Lease.Key })
		}
		for _, l := range left {
			if l.Started() {
				continue
			}
			for _, p := range l.Parents {
				listed := slices.ContainsFunc(list[trimmed:], func(s kcl.Shard) bool { return s.ID == p })
				kept := slices.ContainsFunc(left, func(o leases.Lease) bool { return o.ShardID == p })
				require.True(t, kept || !listed, "%s waits for %s, whose row was deleted", l.Key, p)
			}
		}
		require.Empty(t, Audit(left, list[trimmed:]).Holes)
		closed := trimmed
		for closed < len(list) && list[closed].Closed() {
			closed++
		}
		for n := trimmed; n <= closed; n++ {
			for _, k := range []kcl.PositionKind{kcl.TrimHorizon, kcl.Latest, kcl.AtTimestamp} {
				again := Plan(list[n:], left, kcl.InitialPosition{Kind: k}, opt)
				require.Empty(t, again, "with the oldest %d not listed", n)
			}
		}
	})
}

// In an application with several streams the keys contain the stream.
func TestCleanupOfOneOfSeveralStreams(t *testing.T) {
	t.Parallel()
	list := ranged("0..16:0- 0..8:1(0) 8..16:2(0)")
	opt := Options{
		Stream: kcl.StreamIdentifier{AccountID: "123456789012", Name: "orders", CreationEpoch: 1700000000},
		Multi:  true,
	}
	rows := rowsOf("0=E>1,2 1=5 2=5", list)
	for i := range rows {
		rows[i].Stream = opt.Stream.String()
		rows[i].Key = LeaseKey(opt.Stream, rows[i].ShardID, true)
	}
	var past CleanupHistory
	var plan []Removal
	at := time.Unix(10000, 0)
	for range 6 {
		plan, past = PlanCleanup(Survey{At: at, ListedAt: at, Shards: list, Rows: rows, Options: opt}, past)
		at = at.Add(time.Minute)
	}
	require.Equal(t, []Removal{{Lease: rows[0], Children: []string{rows[1].Key, rows[2].Key}}}, plan)
}
