package plan

import (
	"slices"

	"github.com/kinesis-go/kcl/leases"
)

// balanceLeases moves leases from the worker with most leases to the one with fewest. It stops when
// the two differ by one lease at most. With BalanceThroughput it evens out the throughput instead.
func (p *planner) balanceLeases() {
	if p.By == leases.BalanceThroughput {
		p.balanceThroughput()
		return
	}
	s := p.shares()
	movable := make([][]int, len(p.workers)) // indexes of rows, by owner
	for i := range p.Rows {
		r := &p.Rows[i]
		if r.Finished() || r.Expired || r.Owner == "" || r.CheckpointOwner != "" ||
			(r.Busy && r.Owner != p.Me) || p.mustStay(r) {
			continue
		}
		if owner := s.numberOf(r.Owner); owner != nobody {
			movable[owner] = append(movable[owner], i)
		}
	}
	asks := p.Asks
	for {
		to, from := s.fewestLeases(nobody, ""), nobody
		for w := range p.workers {
			if len(movable[w]) > 0 && (from == nobody || s.load[w] > s.load[from]) {
				from = w
			}
		}
		if to == nobody || from == nobody || s.load[from]-s.load[to] < 2 {
			return
		}
		if to == s.me && asks == 0 {
			return
		}
		row := movable[from][0]
		if to == s.me && asks > 0 { // other new workers may ask too, and this one does not see them
			asks--
			chosen := 0
			for i, candidate := range movable[from] {
				if affinity(p.Me, p.Rows[candidate].Key) < affinity(p.Me, p.Rows[row].Key) {
					chosen, row = i, candidate
				}
			}
			movable[from] = slices.Delete(movable[from], chosen, chosen+1)
		} else {
			movable[from] = movable[from][1:]
		}
		s.load[from]--
		s.load[to]++
		if to == s.me {
			p.addRequest(p.Rows[row].Lease)
		}
	}
}

// mustStay tells whether a lease stays with its owner. With NoForce, a lease stays whose owner is
// of another library, because it could only be taken by force.
func (p *planner) mustStay(r *Row) bool { return p.NoForce && r.NativeOwner != r.Owner }

// addRequest adds the action by which this worker gets a lease that another worker holds.
func (p *planner) addRequest(l leases.Lease) {
	a := Action{Verb: Ask, Row: l, Reason: "balance"}
	if l.NativeOwner != l.Owner {
		a.Verb = Take // the owner would not understand a request
	}
	p.actions = append(p.actions, a)
}
