package smallworld

import (
	"bytes"
	"slices"
)

// permutations are all ways to name the workers. The number 0 is no worker.
var permutations = [][workers + 1]uint8{
	{0, 1, 2, 3}, {0, 1, 3, 2}, {0, 2, 1, 3}, {0, 2, 3, 1}, {0, 3, 1, 2}, {0, 3, 2, 1},
}

// naming gives workers and shards other numbers.
type naming struct {
	workers [workers + 1]uint8 // the new number of each worker
	shards  [shards]int        // the old number of each shard
}

// renamed returns the state with other numbers of workers and shards.
func (s *state) renamed(n naming) (out state) {
	out.lost = s.lost
	for i, from := range n.shards {
		counter := s.rows[from].counter
		move := func(r row) row {
			if r.there {
				r = r.renamed(n.workers)
				r.counter = relative(r.counter, counter)
			}
			return r
		}
		out.rows[i], out.ages[i], out.facts[i] = move(s.rows[from]), s.ages[from], s.facts[from]
		for w := range s.held {
			h := s.held[w][from]
			h.row = move(h.row)
			for j := range h.attempts {
				h.attempts[j].to = move(h.attempts[j].to)
			}
			out.held[n.workers[w+1]-1][i] = h
		}
		for j, f := range s.flights {
			if f.kind != nothing && int(f.shard) == from {
				f.worker, f.shard = n.workers[f.worker], uint8(i)
				f.write.read, f.write.to = move(f.write.read), move(f.write.to)
				out.flights[j] = f
			}
		}
	}
	return out
}

// sameCounter is the counter of a row in a canonical state.
const sameCounter = 3

// relative returns a counter as it is in a canonical state, where the row has the counter now. The
// counter of a row only grows. So all counters that are lower by two or more mean the same: no
// write that was sent with one of them, and none that is sent next, can match the row.
func relative(counter, now uint8) uint8 {
	if counter+2 <= now {
		return 1
	}
	return sameCounter + counter - now
}

// canonical writes the bytes of the state to buf, with the names for which they are the first.
// Equal results mean that the states differ in names only. n is these names.
func (x *world) canonical(s *state, buf []byte) (b []byte, n naming) {
	var work []byte
	b = buf[:0]
	for _, swap := range x.swaps {
		for _, p := range s.candidates(swap) {
			renamed := s.renamed(naming{p, swap})
			e := encoder{work[:0]}
			renamed.code(&e)
			work = e.bytes
			if len(b) == 0 || bytes.Compare(work, b) < 0 {
				b = append(b[:0], work...)
				n = naming{p, swap}
			}
		}
	}
	return b, n
}

// candidates returns the namings of workers that sort them by what each knows, other workers' names
// aside. Workers that are alike in that may have any order.
func (s *state) candidates(swap [shards]int) [][workers + 1]uint8 {
	var prints [workers + 1]uint64
	for w := uint8(1); w <= workers; w++ {
		prints[w] = s.print(w, swap)
	}
	var all [][workers + 1]uint8
	for _, p := range permutations {
		var sorted [workers + 1]uint64
		for w := 1; w <= workers; w++ {
			sorted[p[w]] = prints[w]
		}
		if slices.IsSorted(sorted[1:]) {
			all = append(all, p)
		}
	}
	return all
}

// print returns a number for what a worker knows and for its part in the rows. The number does not
// depend on the names of the workers.
func (s *state) print(w uint8, swap [shards]int) uint64 {
	sum := uint64(14695981039346656037)
	add := func(n uint64) { sum = (sum ^ n) * 1099511628211 }
	part := func(r row) {
		role := func(o uint8) uint64 {
			switch o {
			case nobody:
				return 0
			case w:
				return 1
			}
			return 2
		}
		add(uint64(bit(r.there)) | role(r.owner)<<1 | role(r.checkpointOwner)<<3 | role(r.native)<<5 | role(r.handoverTo)<<7)
	}
	for _, i := range swap {
		h := &s.held[w-1][i]
		part(s.rows[i])
		add(uint64(bit(h.on)) | uint64(h.age)<<1 | uint64(bit(h.stale))<<4 | uint64(h.row.checkpoint)<<5)
		for _, a := range h.attempts {
			add(uint64(a.kind))
		}
	}
	for _, f := range s.flights {
		if f.kind != nothing && f.worker == w {
			add(uint64(f.kind) + 100)
		}
	}
	return sum
}
