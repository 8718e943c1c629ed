package kcl3

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// balanceCount moves leases from the worker with most leases to the one with fewest. It stops when
// the two differ by one lease at most.
func (a *assigner) balanceCount() {
	for _, m := range a.members {
		slices.SortFunc(m.movable, func(x, y *Row) int { return strings.Compare(x.Key, y.Key) })
	}
	for {
		to := a.mostIdle(true)
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
		a.moveLease(from.takeRandom(a.Rand), from, to)
	}
}

// takeRandom removes a random lease from the movable leases and returns it. When rng is nil, it
// takes the first one.
func (m *member) takeRandom(rng *rand.Rand) *Row {
	if rng != nil {
		at := rng.IntN(len(m.movable))
		m.movable[0], m.movable[at] = m.movable[at], m.movable[0]
	}
	l := m.movable[0]
	m.movable = m.movable[1:]
	return l
}
