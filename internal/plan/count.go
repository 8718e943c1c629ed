package plan

import (
	"slices"

	"github.com/kinesis-go/kcl/leases"
)

// balance moves leases from the worker with most leases to the one with fewest, until they differ
// by one at most.
func (p *planner) balance() {
	if p.By == leases.BalanceThroughput {
		p.balanceThroughput()
		return
	}
	s := p.shares()
	movable := make([][]int, len(p.workers)) // indexes of rows, by owner
	for i := range p.Rows {
		r := &p.Rows[i]
		if r.Finished() || r.Expired || r.Owner == "" || r.CheckpointOwner != "" ||
			(r.Busy && r.Owner != p.Me) || p.leavesAlone(r) {
			continue
		}
		if owner := s.numberOf(r.Owner); owner != nobody {
			movable[owner] = append(movable[owner], i)
		}
	}
	asks := p.Asks
	for {
		to, from := s.least(nobody, ""), nobody
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
		at := movable[from][0]
		if to == s.me && asks > 0 { // other new workers, unknown to this one, may ask too
			asks--
			best := 0
			for i, candidate := range movable[from] {
				if affinity(p.Me, p.Rows[candidate].Key) < affinity(p.Me, p.Rows[at].Key) {
					best, at = i, candidate
				}
			}
			movable[from] = slices.Delete(movable[from], best, best+1)
		} else {
			movable[from] = movable[from][1:]
		}
		s.load[from]--
		s.load[to]++
		if to == s.me {
			p.request(p.Rows[at].Lease)
		}
	}
}

// leavesAlone tells whether a lease stays with its owner because it could only be taken by force.
func (p *planner) leavesAlone(r *Row) bool { return p.Gentle && r.NativeOwner != r.Owner }

// request adds the action that gets this worker a lease which another one holds.
func (p *planner) request(l leases.Lease) {
	a := Action{Verb: Ask, Row: l, Reason: "balance"}
	if l.NativeOwner != l.Owner {
		a.Verb = Take // the owner would not understand a request
	}
	p.actions = append(p.actions, a)
}
