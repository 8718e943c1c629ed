package shardsync

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// covering returns a row for each "start-end", MAX being the last hash key and
// a hyphen in front of a range meaning that the lease is finished.
func covering(text string) []leases.Lease {
	var rows []leases.Lease
	for i, f := range strings.Fields(text) {
		f, done := strings.CutPrefix(f, "-")
		start, end, _ := strings.Cut(strings.ReplaceAll(f, "MAX", maxHashKey.String()), "-")
		id := fmt.Sprintf("shardId-%012d", i)
		l := leases.Lease{
			Key: id, ShardID: id, HashKeyRange: kcl.HashKeyRange{Start: start, End: end},
			Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
		}
		if done {
			l.Checkpoint.SequenceNumber = kcl.SentinelShardEnd
		}
		rows = append(rows, l)
	}
	return rows
}

func holesOf(c Coverage) string {
	var words []string
	for _, h := range c.Holes {
		words = append(words, strings.ReplaceAll(h.Start+"-"+h.End, maxHashKey.String(), "MAX"))
	}
	return strings.Join(words, " ")
}

// TestAuditVectors has the KCL's own examples and some more. The KCL tells only whether there is a
// hole. For the KCL "0-MAX 10-20" has one, which is wrong.
func TestAuditVectors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ rows, want string }{
		{"0-1 2-3 4-23 6-23 25-MAX", "24-24"},
		{"0-1 2-3 4-23 6-23 24-MAX", ""},
		{"0-1 2-3 4-23 6-23 24-MAX 24-45", ""},
		{"0-1 2-3 -4-23 6-23 24-MAX", "4-5"},
		{"-0-1 -2-3 -4-MAX", "0-MAX"},
		{"", "0-MAX"},
		{"0-MAX 10-20", ""},
		{"1-MAX", "0-0"},
		{"0-9", "10-MAX"},
		{"5-6", "0-4 7-MAX"},
	} {
		t.Run(tt.rows, func(t *testing.T) {
			t.Parallel()
			rows := covering(tt.rows)
			for range 5 {
				rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
				require.Equal(t, tt.want, holesOf(Audit(rows, nil)))
			}
		})
	}
}

// Rows without hash keys, as other libraries write them, are completed from the
// list of shards.
func TestAuditOfRowsWithoutHashKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		rows, want string
		unlisted   int
	}{
		{"0-1 2-3 4-20 21-23 24-MAX", "", 0},
		{"0-1 2-3 5-20 21-23 24-MAX", "4-4", 0},
		{"0-1 2-3 4-20 21-23 24-MAX", "0-1", 1},
	} {
		rows := covering(tt.rows)
		var list []kcl.Shard
		for i := range 2 {
			if i >= tt.unlisted {
				list = append(list, kcl.Shard{ID: rows[i].ShardID, HashKeyRange: rows[i].HashKeyRange})
			}
			rows[i].HashKeyRange = kcl.HashKeyRange{}
		}
		c := Audit(rows, list)
		require.Equal(t, tt.want, holesOf(c))
		require.Len(t, c.Unknown, tt.unlisted)
	}
}

func TestAuditSaysWhere(t *testing.T) {
	t.Parallel()
	rows := covering("0-9 20-29 25-MAX")
	c := Audit(rows, nil)
	require.Equal(t, []Hole{{
		HashKeyRange: kcl.HashKeyRange{Start: "10", End: "19"}, After: rows[0].Key,
		Before: rows[1].Key,
	}}, c.Holes)
	require.Equal(t, [][2]string{{rows[1].Key, rows[2].Key}}, c.Overlaps)
}

// After a merge a waiting child covers the part of its finished parent.
func TestAuditOfAMerge(t *testing.T) {
	t.Parallel()
	list := ranged("0..8:0- 8..16:1- 0..16:2(0,1)")
	for _, tt := range []struct {
		name, rows string
		trimmed    int
		want       string
		repaired   bool // by more than PlanSync
	}{
		{"both parents are read", "0=5 1=5 2=T", 0, "", false},
		{"one parent is finished", "0=5 1=E 2=T", 0, "", false},
		{"one parent was lost", "0=5 2=T", 0, part(8, 16).Start + "-MAX", true},
		{"one parent was not asked for", "0=5 2=L", 0, "", false},
		{"one parent is trimmed", "0=5 2=T", 2, "", false},
		{"both are finished", "0=E 1=E 2=T", 0, "", false},
		{"one was cleaned up", "0=E 2=5", 0, "", false},
		{"the child was lost", "0=E 1=5", 0, "0-" + part(0, 8).End, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := Audit(rowsOf(tt.rows, list), list[tt.trimmed:])
			require.Equal(t, tt.want, holesOf(c))
			require.Empty(t, c.Overlaps)

			rows := rowsOf(tt.rows, list)
			require.Empty(t, PlanRepair(nil, rows, list, Options{}))
			plan := PlanRepair(c.Holes, rows, list[tt.trimmed:], Options{})
			if tt.repaired {
				require.Len(t, plan, 1)
				require.Equal(t, "1:T", planned(plan, nil))
				require.Equal(t, part(8, 16), plan[0].HashKeyRange)
				require.Empty(t, Audit(append(rows, plan...), list).Holes)
			} else {
				require.Empty(t, plan)
			}
		})
	}
}

// TestHoleWatch: holes are written as letters, one word per audit; the audits
// come a minute apart.
func TestHoleWatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, audits, repairs string
		every                 time.Duration
	}{
		{"one hole", "A A A", "..R", time.Minute},
		{"it goes away", "A A - A A", ".....", time.Minute},
		{"another takes its place", "A A B B B", "....R", time.Minute},
		{"to and fro", "A A B B A A A", "......R", time.Minute},
		{"repair did not help", "A A A A A A A", "..R..R.", time.Minute},
		{"one joins another", "A A AB AB AB", "..R.R", time.Minute},
		{"too fast", "A A A A A A", "....R.", 30 * time.Second},
		{"slowly", "A A A", "..R", 2 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var w HoleWatch
			at := time.Unix(1000, 0)
			got := ""
			for _, word := range strings.Fields(tt.audits) {
				var c Coverage
				for _, r := range strings.Trim(word, "-") {
					c.Holes = append(c.Holes, Hole{HashKeyRange: kcl.HashKeyRange{Start: string(r)}})
				}
				confirmed, repair := w.Observe(at, c)
				if repair {
					require.NotEmpty(t, confirmed)
					got += "R"
				} else {
					got += "."
				}
				at = at.Add(tt.every)
			}
			require.Equal(t, tt.repairs, got)
		})
	}
}

// family grows a stream by splits and merges, and reads it in order. It returns
// the shards too, oldest first.
func family(t *rapid.T) ([]leases.Lease, []kcl.Shard) {
	var list []kcl.Shard
	add := func(start, end *big.Int, parents ...string) {
		s := kcl.Shard{
			ID: fmt.Sprintf("shardId-%012d", len(list)), StartingSequenceNumber: fmt.Sprint(100 + len(list)),
			HashKeyRange: kcl.HashKeyRange{Start: start.String(), End: end.String()},
		}
		if len(parents) > 0 {
			s.ParentID = parents[0]
		}
		if len(parents) > 1 {
			s.AdjacentParentID = parents[1]
		}
		list = append(list, s)
	}
	half := new(big.Int).Rsh(maxHashKey, 1)
	add(new(big.Int), half)
	add(new(big.Int).Add(half, one), maxHashKey)
	open := []int{0, 1} // in order of hash keys
	for range rapid.IntRange(0, 10).Draw(t, "reshards") {
		i := rapid.IntRange(0, len(open)-1).Draw(t, "shard")
		s, _ := newSpan("", list[open[i]].HashKeyRange)
		list[open[i]].EndingSequenceNumber = "1000"
		if i+1 < len(open) && rapid.Bool().Draw(t, "merge") {
			o, _ := newSpan("", list[open[i+1]].HashKeyRange)
			list[open[i+1]].EndingSequenceNumber = "1000"
			add(s.start, o.end, list[open[i]].ID, list[open[i+1]].ID)
			open = slices.Replace(open, i, i+2, len(list)-1)
			continue
		}
		middle := new(big.Int).Rsh(new(big.Int).Add(s.start, s.end), 1)
		parent := list[open[i]].ID
		add(s.start, middle, parent)
		add(new(big.Int).Add(middle, one), s.end, parent)
		open = slices.Replace(open, i, i+1, len(list)-2, len(list)-1)
	}
	rows := Plan(list, nil, kcl.InitialPosition{}, Options{})
	finished := map[string]bool{}
	for i, s := range list { // oldest first: what is closed may be finished when its parents are
		at := slices.IndexFunc(rows, func(l leases.Lease) bool { return l.ShardID == s.ID })
		ready := !slices.ContainsFunc(s.Parents(), func(p string) bool { return !finished[p] })
		if ready && rapid.Bool().Draw(t, "started") {
			rows[at].Checkpoint.SequenceNumber = "500"
			if s.Closed() && rapid.IntRange(0, 3).Draw(t, "finished") > 0 {
				rows[at].Checkpoint.SequenceNumber = kcl.SentinelShardEnd
				finished[s.ID] = true
				for _, c := range list[i:] {
					if slices.Contains(c.Parents(), s.ID) {
						rows[at].Children = append(rows[at].Children, c.ID)
					}
				}
			}
		}
	}
	return rows, list
}

func TestAuditOfAnyFamily(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows, list := family(t)
		c := Audit(rows, list)
		require.Empty(t, c.Holes)
		require.Empty(t, c.Overlaps)
		require.Empty(t, c.Unknown)
	})
}
