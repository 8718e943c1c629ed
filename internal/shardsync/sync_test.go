package shardsync

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// shards parses "0- 1- 2-(0) 3(2,1)": a hyphen closes a shard, parents stand in
// parentheses.
func shards(text string) []kcl.Shard {
	var list []kcl.Shard
	for i, f := range strings.Fields(text) {
		f, parents, _ := strings.Cut(strings.TrimSuffix(f, ")"), "(")
		id, closed := strings.CutSuffix(f, "-")
		s := kcl.Shard{ID: id, StartingSequenceNumber: fmt.Sprint(100 + i)}
		if closed {
			s.EndingSequenceNumber = fmt.Sprint(200 + i)
		}
		if parents != "" {
			p := strings.Split(parents, ",")
			s.ParentID = p[0]
			if len(p) == 2 {
				s.AdjacentParentID = p[1]
			}
		}
		list = append(list, s)
	}
	return list
}

// planned writes a plan as "0:T 1:L@pin".
func planned(plan []leases.Lease, pins map[time.Time]string) string {
	var words []string
	for _, l := range plan {
		w := l.ShardID + ":" + l.Checkpoint.SequenceNumber[:1]
		if !l.PinnedAt.IsZero() {
			w += "@" + pins[l.PinnedAt]
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func TestPlanSync(t *testing.T) {
	t.Parallel()
	old, now := time.Unix(1000, 0), time.Unix(2000, 0)
	moment := now.Add(-10 * time.Second)
	pins := map[time.Time]string{old: "old", moment: "moment", now: "now"}
	// The graph of the KCL's own tests: four merges and a split.
	const graphA = "0- 1- 2- 3- 4 5- 6-(0,1) 7-(2,3) 8(6,7) 9(5) 10(5)"
	tests := []struct {
		name    string
		shards  string
		have    string // shard ids; with * pinned to old, with ! to a moment ago
		initial kcl.PositionKind
		want    string
	}{
		{"first sync at TRIM_HORIZON", graphA, "", kcl.TrimHorizon, "0:T 1:T 2:T 3:T 4:T 5:T 6:T 7:T 8:T 9:T 10:T"},
		{"first sync at LATEST", graphA, "", kcl.Latest, "4:L@now 8:L@now 9:L@now 10:L@now"},
		{
			"first sync at a time", "6-(0,1) 7-(2,3) 4 5- 8(6,7) 9(5) 10(5)", "", kcl.AtTimestamp,
			"6:A 7:A 4:A 5:A 8:T 9:T 10:T",
		},
		{"nothing new", graphA, "0 1 2 3 4 5 6 7 8 9 10", kcl.TrimHorizon, ""},
		{"nothing new at LATEST", graphA, "4* 8* 9* 10*", kcl.Latest, ""},
		{"split after LATEST", "0- 1 2(0) 3(0)", "0* 1*", kcl.Latest, "2:T 3:T"},
		{"two splits after LATEST", "0- 1-(0) 2(0) 3(1) 4(1)", "0*", kcl.Latest, "1:T 2:T 3:T 4:T"},
		{"merge of a known and an unknown shard", "0- 1- 2(0,1)", "0", kcl.TrimHorizon, "1:T 2:T"},
		{"finished parents are not made again", "0- 1(0) 2(0)", "1 2", kcl.TrimHorizon, ""},
		{"one child is missing", "0- 1(0) 2(0)", "0 1", kcl.TrimHorizon, "2:T"},
		{"parents are trimmed", "3(1) 4(1)", "1*", kcl.Latest, "3:T 4:T"},
		{"LATEST was interrupted", "0 1 2", "0*", kcl.Latest, "1:L@old 2:L@old"},
		{"LATEST was interrupted, then a split", "0 1- 2(1) 3(1)", "0*", kcl.Latest, "1:L@old 2:L@old 3:L@old"},
		{
			"LATEST was interrupted on an old stream", "0- 1-(0) 2(1) 3(1) 4", "4!", kcl.Latest,
			"1:L@moment 2:L@moment 3:L@moment",
		},
		{"LATEST was interrupted long ago", "0- 1-(0) 2(1) 3(1) 4", "4*", kcl.Latest, "0:L@old 1:L@old 2:L@old 3:L@old"},
		{"TRIM_HORIZON was interrupted", graphA, "0 1 2", kcl.TrimHorizon, "3:T 4:T 5:T 6:T 7:T 8:T 9:T 10:T"},
		{"a time was interrupted", "0 1 2", "0", kcl.AtTimestamp, "1:A 2:A"},
		{"rows of another library at LATEST", "0 1 2", "0", kcl.Latest, "1:T 2:T"},
		{"no shards", "", "", kcl.TrimHorizon, ""},
		{"children are listed before their parents", "2(0,1) 0- 1-", "", kcl.TrimHorizon, "0:T 1:T 2:T"},
		{"a circle in the listing", "0(1) 1(0)", "", kcl.TrimHorizon, "1:T 0:T"},
		{"the row of a child cannot be read", "0- 1- 2(0,1) 3", "2? 3", kcl.TrimHorizon, ""},
		{"the row of a parent cannot be read", "0- 1(0) 2(0) 3", "0? 3*", kcl.Latest, "1:T 2:T"},
		{"the child of a merge is not listed", "0- 1- 3(2) 4(2)", "3 4", kcl.TrimHorizon, ""},
		{"a child is not listed, LATEST", "0- 1- 3(2) 4(2)", "3* 4*", kcl.Latest, ""},
		{"grandchildren are not listed", "0- 1-(0) 2-(0) 5(3) 6(4)", "5 6", kcl.TrimHorizon, ""},
		{"a child is not listed, the parent has a row", "0- 1-(0) 2(0)", "0", kcl.TrimHorizon, "1:T 2:T"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var have []leases.Lease
			var unreadable []*leases.RowError
			for _, id := range strings.Fields(tt.have) {
				l := leases.Lease{Key: strings.TrimRight(id, "*!")}
				l.ShardID = l.Key
				switch {
				case strings.HasSuffix(id, "?"):
					unreadable = append(unreadable, &leases.RowError{Key: strings.TrimSuffix(id, "?")})
					continue
				case strings.HasSuffix(id, "*"):
					l.PinnedAt = old
				case strings.HasSuffix(id, "!"):
					l.PinnedAt = moment
				}
				have = append(have, l)
			}
			initial := kcl.InitialPosition{Kind: tt.initial}
			opt := Options{PinnedAt: now, StreamCreated: old, Unreadable: unreadable}
			plan := Plan(shards(tt.shards), have, initial, opt)
			require.Equal(t, tt.want, planned(plan, pins))
			for _, l := range plan {
				require.Equal(t, old, l.StreamCreated)
			}
			require.Empty(t, Plan(shards(tt.shards), append(have, plan...), initial, opt), "again")

			// The same beside another stream with shards of the same names.
			opt.Multi, opt.Stream = true,
				kcl.StreamIdentifier{AccountID: "123456789012", Name: "orders", CreationEpoch: 1700000000}
			opt.Unreadable = nil
			for _, row := range unreadable {
				opt.Unreadable = append(opt.Unreadable, &leases.RowError{Key: opt.Stream.String() + ":" + row.Key})
			}
			var rows []leases.Lease
			for _, l := range have {
				l.Stream = opt.Stream.String()
				l.Key = l.Stream + ":" + l.ShardID
				rows = append(rows, l)
			}
			for _, s := range shards(tt.shards) {
				rows = append(rows, leases.Lease{
					Key: "123456789012:orders:1600000000:" + s.ID, Stream: "123456789012:orders:1600000000", ShardID: s.ID,
					Extension: leases.Extension{PinnedAt: old.Add(-time.Hour)},
				})
			}
			twin := Plan(shards(tt.shards), rows, initial, opt)
			require.Equal(t, tt.want, planned(twin, pins), "of several streams")
			for _, l := range twin {
				require.Equal(t, "123456789012:orders:1700000000:"+l.ShardID, l.Key)
			}
		})
	}
}

func TestPlanSyncOfSeveralStreams(t *testing.T) {
	t.Parallel()
	orders := kcl.StreamIdentifier{AccountID: "123456789012", Name: "orders", CreationEpoch: 1700000000}
	other := leases.Lease{Key: "123456789012:other:1700000000:0", Stream: "123456789012:other:1700000000", ShardID: "0"}
	plan := Plan(shards("0 1"), []leases.Lease{other}, kcl.InitialPosition{}, Options{Stream: orders, Multi: true})
	require.Len(t, plan, 2)
	require.Equal(t, "123456789012:orders:1700000000:0", plan[0].Key)
	require.Equal(t, "123456789012:orders:1700000000", plan[0].Stream)
	require.Equal(t, "0", plan[0].ShardID)
	child := ChildLease(plan[0], kcl.ChildShard{ID: "7", HashKeyRange: kcl.HashKeyRange{Start: "0", End: "9"}})
	require.Equal(t, "123456789012:orders:1700000000:7", child.Key)
	require.Equal(t, plan[0].Stream, child.Stream)
	require.Equal(t, []string{"0"}, child.Parents)
	require.Equal(t, "TRIM_HORIZON", child.Checkpoint.SequenceNumber)
	require.Equal(t, LeaseKey(orders, "7", true), child.Key)
	require.Equal(t, "7", LeaseKey(orders, "7", false))
}

// drawStream makes a stream that was split and merged at random.
func drawStream(t *rapid.T) []kcl.Shard {
	var list []kcl.Shard
	add := func(parents ...string) {
		s := kcl.Shard{ID: fmt.Sprintf("shard-%03d", len(list)), StartingSequenceNumber: fmt.Sprint(1000 + len(list))}
		if len(parents) > 0 {
			s.ParentID = parents[0]
		}
		if len(parents) > 1 {
			s.AdjacentParentID = parents[1]
		}
		list = append(list, s)
	}
	for range rapid.IntRange(1, 4).Draw(t, "shards") {
		add()
	}
	for range rapid.IntRange(0, 10).Draw(t, "reshards") {
		var open []int
		for i, s := range list {
			if !s.Closed() {
				open = append(open, i)
			}
		}
		i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
		list[open[i]].EndingSequenceNumber = "9999"
		if i+1 < len(open) && rapid.Bool().Draw(t, "merge") {
			list[open[i+1]].EndingSequenceNumber = "9999"
			add(list[open[i]].ID, list[open[i+1]].ID)
			continue
		}
		add(list[open[i]].ID)
		add(list[open[i]].ID)
	}
	return list
}

// TestPlanSyncInterrupted lets a first sync stop after some rows, and checks
// that the next one completes it: each shard has a row, or lies behind the
// frontier.
func TestPlanSyncInterrupted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := drawStream(t)
		kinds := rapid.SampledFrom([]kcl.PositionKind{kcl.TrimHorizon, kcl.Latest, kcl.AtTimestamp})
		initial := kcl.InitialPosition{Kind: kinds.Draw(t, "initial")}
		opt := Options{PinnedAt: time.Unix(5, 0)}
		plan := Plan(list, nil, initial, opt)
		done := rapid.IntRange(0, len(plan)).Draw(t, "created")
		rest := Plan(rapid.Permutation(list).Draw(t, "order"), plan[:done], initial, Options{PinnedAt: time.Unix(9, 0)})
		rows := append(slices.Clone(plan[:done]), rest...)
		require.Empty(t, Plan(list, rows, initial, opt))

		place := map[string]int{}
		for i, l := range rows {
			_, twice := place[l.ShardID]
			require.False(t, twice)
			place[l.ShardID] = i
			if done > 0 && initial.Kind == kcl.Latest && !l.PinnedAt.IsZero() {
				require.Equal(t, opt.PinnedAt, l.PinnedAt, "the pin does not move")
			}
		}
		for i, l := range rest {
			for _, p := range l.Parents {
				if at, ok := place[p]; ok {
					require.Less(t, at, done+i, "parents first")
				}
			}
		}
		for _, s := range list {
			_, has := place[s.ID]
			require.True(t, has || (initial.Kind == kcl.Latest && s.Closed()), s.ID)
		}
	})
}
