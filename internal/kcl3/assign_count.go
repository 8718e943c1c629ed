package kcl3

import (
	"slices"
	"strings"
)

// balanceCount moves leases from the worker that has most to the one that has
// least until they differ by one at most.
func (a *assigner) balanceCount() {
	for _, m := range a.members {
		slices.SortFunc(m.movable, func(x, y *Row) int { return strings.Compare(x.Key, y.Key) })
	}
	for {
		to := a.idlest(true)
		if to == nil {
			return
		}
		var from *member
		for _, m := range a.members {
			if len(m.movable) > 0 && (from == nil || m.count > from.count) {
				from = m
			}
		}
		if from == nil || from.count-to.count < 2 {
			return
		}
		a.shift(a.pick(from), from, to)
	}
}

// pick takes a lease at random out of those of a worker that may be moved, or the
// first one.
func (a *assigner) pick(from *member) *Row {
	if a.Rand != nil {
		at := a.Rand.IntN(len(from.movable))
		from.movable[0], from.movable[at] = from.movable[at], from.movable[0]
	}
	l := from.movable[0]
	from.movable = from.movable[1:]
	return l
}
