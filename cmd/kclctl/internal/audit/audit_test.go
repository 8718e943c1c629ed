package audit

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

const (
	seq1 = "49590338271490256608559692538361571095921575989136588801"
	seq2 = "49590338271490256608559692538361571095921575989136588802"
	half = "170141183460469231731687303715884105727"
	next = "170141183460469231731687303715884105728"
	last = "340282366920938463463374607431768211455"
)

var created = time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)

func lease(key string, change ...func(*leases.Lease)) leases.Lease {
	l := leases.Lease{
		Key: key, ShardID: key, ThroughputKBps: -1, Extension: leases.Extension{StreamCreated: created},
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}
	for _, c := range change {
		c(&l)
	}
	return l
}

func at(seq string) func(*leases.Lease) {
	return func(l *leases.Lease) { l.Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: seq} }
}

func covers(start, end string) func(*leases.Lease) {
	return func(l *leases.Lease) { l.HashKeyRange = kcl.HashKeyRange{Start: start, End: end} }
}

// TestAuditHoles has the KCL's own examples of hash ranges with and without a hole. Ranges without
// a hole may overlap.
func TestAuditHoles(t *testing.T) {
	t.Parallel()
	type r struct {
		start, end string
		done       bool
	}
	cases := map[string]struct {
		ranges []r
		want   []string
	}{
		"hole": {[]r{
			{"0", "1", false},
			{"2", "3", false},
			{"4", "23", false},
			{"6", "23", false},
			{"25", last, false},
		}, []string{"hole", "overlap"}},
		"none": {[]r{
			{"24", last, false},
			{"6", "23", false},
			{"0", "1", false},
			{"4", "23", false},
			{"2", "3", false},
		}, []string{"overlap"}},
		"none within": {[]r{
			{"0", "1", false},
			{"2", "3", false},
			{"4", "23", false},
			{"24", last, false},
			{"24", "45", false},
		}, []string{"overlap"}},
		"finished": {[]r{
			{"0", "1", false},
			{"2", "3", false},
			{"4", "23", true},
			{"6", "23", false},
			{"24", last, false},
		}, []string{"hole"}},
		"all finished":   {[]r{{"0", half, true}, {next, last, true}}, []string{"hole"}},
		"exact":          {[]r{{"0", half, false}, {next, last, false}}, nil},
		"inner overlap":  {[]r{{"0", last, false}, {"10", "20", false}}, []string{"overlap"}},
		"end is missing": {[]r{{"0", half, false}}, []string{"hole"}},
		"two holes":      {[]r{{"5", "6", false}}, []string{"hole", "hole"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var rows []leases.Lease
			for i, r := range c.ranges {
				l := lease(fmt.Sprintf("shardId-%012d", i), covers(r.start, r.end))
				if r.done {
					l.Checkpoint.SequenceNumber = kcl.SentinelShardEnd
				}
				rows = append(rows, l)
			}
			for range 3 {
				rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
				findings, _ := Judge(leases.Listing{Leases: rows}, nil)
				require.Equal(t, c.want, kinds(findings))
			}
		})
	}
}

func kinds(found []Finding) []string {
	var out []string
	for _, f := range found {
		out = append(out, f.Kind)
	}
	return out
}

func TestAuditFindings(t *testing.T) {
	t.Parallel()
	parents := func(ids ...string) func(*leases.Lease) { return func(l *leases.Lease) { l.Parents = ids } }
	whole := covers("0", last)
	cases := map[string]struct {
		rows            []leases.Lease
		bad             []*leases.RowError
		findings, notes []string
	}{
		"empty":   {},
		"healthy": {rows: []leases.Lease{lease("a", whole)}},
		"bad row": {
			rows: []leases.Lease{lease("a", whole)}, bad: []*leases.RowError{{Key: "b", Err: errors.New("damaged")}},
			findings: []string{"bad-row"},
		},
		"children wait for their parent": {
			rows: []leases.Lease{
				lease("a", whole, at(seq1)), lease("b", covers("0", half), parents("a")),
				lease("c", covers(next, last), parents("a")),
			},
		},
		"grandchild waits": {
			rows: []leases.Lease{lease("a", whole), lease("b", whole, parents("a")), lease("c", whole, parents("b"))},
		},
		"child read too early": {
			rows:     []leases.Lease{lease("a", whole, at(seq1)), lease("b", whole, at(seq2), parents("a"))},
			findings: []string{"order"},
		},
		"child is missing": {
			rows: []leases.Lease{lease("a", whole, at(kcl.SentinelShardEnd),
				func(l *leases.Lease) { l.Children = []string{"b", "c"} }), lease("b", whole, parents("a"))},

			findings: []string{"missing-child"},
		},
		"parent is missing, child read": {rows: []leases.Lease{lease("b", whole, at(seq1), parents("a"))}},
		"parent is missing, child not": {
			rows:  []leases.Lease{lease("b", whole, parents("a"))},
			notes: []string{"missing-parent"},
		},
		"hash keys not known": {
			rows:  []leases.Lease{lease("a", covers("0", "5")), lease("b")},
			notes: []string{"no-hash-keys"},
		},
		"creation not known": {rows: []leases.Lease{lease("a", whole,
			func(l *leases.Lease) { l.StreamCreated = time.Time{} })}, notes: []string{"no-stream"}},
		"two creations": {
			rows: []leases.Lease{
				lease("a", covers("0", half)),
				lease("b", covers(next, last), func(l *leases.Lease) { l.StreamCreated = created.Add(time.Hour) }),
			},
			findings: []string{"stream-mix"},
		},
		"forms of key": {
			rows: []leases.Lease{lease("a", whole), lease("123456789012:orders:1:a", whole, func(l *leases.Lease) {
				l.Stream, l.ShardID = "123456789012:orders:1", "a"
			})},
			findings: []string{"stream-mix"},
		},
		"hand-over to itself": {
			rows:     []leases.Lease{lease("a", whole, func(l *leases.Lease) { l.Owner, l.CheckpointOwner = "w", "w" })},
			findings: []string{"hand-over"},
		},
		"a circle of parents": {
			rows:     []leases.Lease{lease("a", whole, parents("b")), lease("b", whole, parents("a"))},
			findings: []string{"hole"}, // each waits for the other
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findings, notes := Judge(leases.Listing{Leases: c.rows, Bad: c.bad}, nil)
			require.Equal(t, c.findings, kinds(findings))
			require.Equal(t, c.notes, kinds(notes))
		})
	}
}

// TestAuditOfAnyFamily: the audit finds nothing in shards that were split, merged and finished in
// order. It notices the loss of a lease that could be read now.
func TestAuditOfAnyFamily(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := family(t)
		findings, notes := Judge(leases.Listing{Leases: rows}, nil)
		require.Empty(t, findings)
		require.Empty(t, notes)

		var frontier []int // leases that could be read now; workers make other lost leases when their parents end
		for i, l := range rows {
			if !l.Finished() && !slices.ContainsFunc(l.Parents, func(p string) bool { return !finishedIn(rows, p) }) {
				frontier = append(frontier, i)
			}
		}
		i := rapid.SampledFrom(frontier).Draw(t, "lost")
		findings, notes = Judge(leases.Listing{Leases: slices.Delete(slices.Clone(rows), i, i+1)}, nil)
		if slices.ContainsFunc(rows, func(l leases.Lease) bool { return slices.Contains(l.Parents, rows[i].ShardID) }) {
			// The children cover the same hash keys, and the shard may have been trimmed.
			require.Contains(t, kinds(notes), "missing-parent")
		} else {
			require.Contains(t, kinds(findings), "hole")
		}
	})
}

func finishedIn(rows []leases.Lease, id string) bool {
	for _, l := range rows {
		if l.ShardID == id {
			return l.Finished()
		}
	}
	return true
}

// family grows a stream by splits and merges, and reads it in order.
func family(t *rapid.T) []leases.Lease {
	var rows []leases.Lease
	add := func(start, end *big.Int, parents ...string) {
		rows = append(rows, lease(fmt.Sprintf("shardId-%012d", len(rows)), covers(start.String(), end.String()),
			func(l *leases.Lease) { l.Parents = parents }))
	}
	number := func(s string) *big.Int { n, _ := new(big.Int).SetString(s, 10); return n }
	add(new(big.Int), number(half))
	add(number(next), number(last))
	open := []int{0, 1} // in order of hash keys
	for range rapid.IntRange(0, 12).Draw(t, "reshards") {
		i := rapid.IntRange(0, len(open)-1).Draw(t, "shard")
		l := rows[open[i]]
		start, end := number(l.HashKeyRange.Start), number(l.HashKeyRange.End)
		if i+1 < len(open) && rapid.Bool().Draw(t, "merge") {
			other := rows[open[i+1]]
			add(start, number(other.HashKeyRange.End), l.ShardID, other.ShardID)
			open = slices.Replace(open, i, i+2, len(rows)-1)
			continue
		}
		middle := new(big.Int).Rsh(new(big.Int).Add(start, end), 1)
		if middle.Cmp(end) >= 0 {
			continue
		}
		add(start, middle, l.ShardID)
		add(new(big.Int).Add(middle, big.NewInt(1)), end, l.ShardID)
		open = slices.Replace(open, i, i+1, len(rows)-2, len(rows)-1)
	}
	// Rows are in order of age. A closed shard may be finished when its parents are.
	for i := range rows {
		closed := !slices.Contains(open, i)
		ready := !slices.ContainsFunc(rows[i].Parents, func(p string) bool { return !finishedIn(rows, p) })
		if closed && ready && rapid.Bool().Draw(t, "finished") {
			rows[i].Checkpoint.SequenceNumber = kcl.SentinelShardEnd
			for _, child := range rows {
				if slices.Contains(child.Parents, rows[i].ShardID) {
					rows[i].Children = append(rows[i].Children, child.ShardID)
				}
			}
		}
	}
	return rows
}
