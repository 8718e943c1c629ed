package plan

import (
	"cmp"
	"slices"

	"github.com/kinesis-go/kcl/leases"
)

// Patience is the number of scans for which a lease is left to another worker that should take it.
const Patience = 2

// Native decides the actions of this worker for the rows that it sees, where there is no leader.
// Every worker that sees the same rows computes the same distribution, and carries out its own
// part. So two workers do not take the same lease, and no lease goes to and fro.
//
//   - A lease that is free or expired goes to the worker with the fewest leases. If that worker
//     does not take it for some scans, any worker takes it.
//   - While two workers differ by two leases or more, the one with fewer asks for a lease of the
//     other. An owner of another library cannot be asked, so its lease is taken by force. With
//     BalanceThroughput the throughput is evened out instead, see balanceThroughput.
//   - The other workers do not see a worker without a lease. So it asks for one lease only, and
//     counts from the next scan on.
//   - Finished leases are left alone and count for nobody.
//   - With MaxLeasesForWorker, a lease that waits for a parent is left alone too. It would take the
//     place that the parent needs.
func Native(v View) []Action {
	p := newPlanner(v)
	p.takeOwn()
	p.distributeFree()
	p.balanceLeases()
	return p.actions
}

// Led decides the takes of this worker while a leader assigns the leases. The worker takes the
// leases that the leader has assigned to it. neglected holds the keys of leases that the leader has
// neglected. The workers of this library share them.
func Led(v View, neglected map[string]bool) []Action {
	p := newPlanner(v)
	p.takeOwn()
	if len(neglected) == 0 {
		return p.actions
	}
	ofThisLibrary := map[string]bool{v.Me: true}
	for _, r := range v.Rows {
		if r.Owner == r.NativeOwner {
			ofThisLibrary[r.Owner] = true
		}
	}
	p.workers = slices.DeleteFunc(p.workers, func(w string) bool { return !ofThisLibrary[w] })
	p.Rows = slices.DeleteFunc(slices.Clone(p.Rows), func(r Row) bool { return !neglected[r.Key] })
	p.distributeFree()
	return p.actions
}

// planner computes one plan.
type planner struct {
	View
	load    map[string]int // the number of leases of each worker after the plan
	workers []string       // the living workers and this one, sorted
	waiting map[string]bool
	actions []Action
}

func newPlanner(v View) *planner {
	p := &planner{View: v, load: map[string]int{v.Me: 0}, waiting: v.Waiting()}
	alive := map[string]bool{v.Me: true}
	for _, r := range v.Rows {
		if r.Finished() || r.Owner == "" || (r.Expired && r.Owner != v.Me) {
			continue
		}
		p.load[r.Owner]++
		if !r.Quiet {
			alive[r.Owner] = true
		}
	}
	for w := range alive {
		p.workers = append(p.workers, w)
	}
	slices.Sort(p.workers)
	return p
}

// takeOwn takes leases whose rows name this worker as the owner, but for which it has no consumer.
// Either a hand-over to this worker was completed, or this worker could not reach the table for a
// while.
//
// takeOwn completes a hand-over of this worker's own lease only when nobody renews the lease any
// more. A worker that renews it is of another library, and has taken the lease.
func (p *planner) takeOwn() {
	for i := range p.Rows {
		switch r := &p.Rows[i]; {
		case r.Finished() || r.Busy:
		case overtaken(r.Lease) || r.Stuck:
			p.actions = append(p.actions, Action{Verb: Mend, Row: r.Lease})
		case r.CheckpointOwner == p.Me && r.Expired:
			p.actions = append(p.actions, Action{Verb: Complete, Row: r.Lease})
		case r.Owner == p.Me && r.CheckpointOwner == "":
			p.actions = append(p.actions, Action{Verb: Take, Row: r.Lease, Reason: "handover"})
		}
	}
}

// overtaken tells whether a worker of KCL 1.x or 2.x has taken the lease during its hand-over. Then
// the row still has the CheckpointOwner of that hand-over.
func overtaken(l leases.Lease) bool { return l.CheckpointOwner != "" && !l.HandingOver() }

// distributeFree distributes the leases that no worker holds. Each worker begins with other leases.
// So workers that do not see each other rarely take the same lease.
func (p *planner) distributeFree() {
	s := p.shares()
	var mine []Action
	var order []ranked
	for i := range p.Rows {
		r := &p.Rows[i]
		free := r.Owner == "" && r.CheckpointOwner == ""
		if r.Finished() || (!free && !r.Expired) || (r.ActualOwner() == p.Me) || p.waiting[r.Key] {
			continue
		}
		reason := "expired"
		if free {
			reason = "free"
		}
		except := nobody
		if r.Busy {
			except = s.me
		}
		to := s.fewestLeases(except, r.Key)
		if asked := s.numberOf(r.Owner); r.CheckpointOwner != "" && asked != nobody && asked != except {
			to = asked // it has asked for the lease, and the owner has died since
		}
		if to != s.me && r.ScansWaited >= Patience && !r.Busy && s.hasRoom(s.me) {
			to = s.me
		}
		if to == nobody {
			continue
		}
		s.load[to]++
		if to == s.me {
			order = append(order, ranked{affinityFrom(s.seeds[s.me], r.Key), len(mine)})
			mine = append(mine, Action{Verb: Take, Row: r.Lease, Reason: reason})
		}
	}
	for i, w := range p.workers {
		p.load[w] = s.load[i]
	}
	slices.SortFunc(order, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.rank, b.rank), a.index-b.index) })
	for _, o := range order {
		p.actions = append(p.actions, mine[o.index])
	}
}

// ranked is the index of an action, and its rank in the order of the actions.
type ranked struct {
	rank  uint64
	index int
}
