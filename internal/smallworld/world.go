package smallworld

import (
	"math/big"

	"github.com/kinesis-go/kcl"
)

// newFamily returns a family from the parents of each shard.
func newFamily(name string, parents [shards][]int, ranges [shards]kcl.HashKeyRange, swaps ...[shards]int) *family {
	f := &family{name: name, parents: parents, swaps: append([][shards]int{{0, 1, 2}}, swaps...)}
	for i := range shards {
		shard := kcl.Shard{ID: shardNames[i : i+1], HashKeyRange: ranges[i], StartingSequenceNumber: "1"}
		for j, p := range parents[i] {
			f.children[p] = append(f.children[p], i)
			if j == 0 {
				shard.ParentID = shardNames[p : p+1]
			} else {
				shard.AdjacentParentID = shardNames[p : p+1]
			}
		}
		f.list = append(f.list, shard)
	}
	for i := range f.list {
		if len(f.children[i]) > 0 {
			f.list[i].EndingSequenceNumber = "1"
		}
	}
	return f
}

// half returns the hash keys before the middle, or those from there on.
func half(upper bool) kcl.HashKeyRange {
	end := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))
	middle := new(big.Int).Lsh(big.NewInt(1), 127)
	if upper {
		return kcl.HashKeyRange{Start: middle.String(), End: end.String()}
	}
	return kcl.HashKeyRange{Start: "0", End: new(big.Int).Sub(middle, big.NewInt(1)).String()}
}

var whole = kcl.HashKeyRange{Start: half(false).Start, End: half(true).End}

// families are the ways in which three shards can be related.
func families() map[string]*family {
	lower, upper := half(false), half(true)
	return map[string]*family{
		"merge": newFamily("x and y, merged to z", [shards][]int{2: {0, 1}},
			[shards]kcl.HashKeyRange{lower, upper, whole}, [shards]int{1, 0, 2}),
		"split": newFamily("x, split into y and z", [shards][]int{1: {0}, 2: {0}},
			[shards]kcl.HashKeyRange{whole, lower, upper}, [shards]int{0, 2, 1}),
		"chain": newFamily("x with child y, which has child z", [shards][]int{1: {0}, 2: {1}},
			[shards]kcl.HashKeyRange{whole, whole, whole}),
	}
}

// begin returns the state of a fleet that has just started. The first shards have rows.
func (f *family) begin(listed bool) state {
	var s state
	for i := range s.rows {
		if listed || len(f.parents[i]) == 0 {
			s.rows[i] = row{there: true}
			s.facts[i].made = true
		}
	}
	return s
}

// hold lets a worker hold a lease of the state, at a checkpoint.
func (s *state) hold(worker uint8, shard int, at uint8) {
	r := row{there: true, owner: worker, native: worker, counter: 1, checkpoint: at}
	s.rows[shard], s.facts[shard] = r, facts{made: true, done: at > atTrimHorizon, top: at}
	*s.of(worker, uint8(shard)) = held{on: true, row: r}
}

// end lets a shard be finished.
func (f *family) end(s *state, shard int) {
	s.rows[shard] = row{there: true, owner: 1, native: 1, counter: 2, checkpoint: atEnd, children: true}
	s.facts[shard] = facts{made: true, done: true, top: atEnd}
	for _, c := range f.children[shard] {
		if !s.facts[c].made {
			s.rows[c], s.facts[c].made = f.childRow(shard, c), true
		}
	}
}

// starts returns the states in which the histories begin: a fleet that starts, a worker that holds
// all leases, and a stream whose first shards are finished.
func (f *family) starts() []state {
	running := f.begin(false)
	for i := range running.rows {
		if running.rows[i].there {
			running.hold(1, i, atTrimHorizon)
		}
	}
	ending, over := f.begin(false), f.begin(false)
	for i := range ending.rows {
		if len(f.parents[i]) == 0 {
			f.end(&over, i)
		}
	}
	f.end(&ending, 0)
	ending.hold(2, 1, atTrimHorizon)
	if len(f.parents[1]) == 0 {
		ending.hold(2, 1, atRecord)
	}
	over.hold(2, 2, atTrimHorizon)
	if len(f.parents[2]) == 1 && f.parents[2][0] == 1 {
		f.end(&over, 1)
		over.hold(2, 2, atTrimHorizon)
	}
	return []state{f.begin(false), f.begin(true), running, ending, over}
}
