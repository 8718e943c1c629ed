package coordinator

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl/leases"
)

// row is one lease with the coordinator's judgement at a scan.
type row struct {
	leases.Lease
	// expired says that the counter has stood still for longer than an owner trusts its lease.
	expired bool
	// quiet says that the counter has stood still for longer than a healthy owner lets it.
	quiet bool
	// busy says that this worker cannot take the lease now. It holds the lease, its last consumer
	// has not returned yet, or the worker has just failed with the lease.
	busy bool
	// kbps is the throughput, averaged over a while; negative when it is not known. kbps, doubt,
	// settling and restless are set only where throughput decides or soon may: with
	// BalanceThroughput, and where a leader assigns leases or is about to.
	kbps float64
	// doubt is the variance of kbps.
	doubt float64
	// settling says that the lease has moved for balance a short while ago.
	settling bool
	// restless says that the lease has moved too often to move again soon.
	restless bool
	// stuck says that the lease is renewed, and has been handed over for too long by an owner that
	// does not name the next one.
	stuck bool
	// waited is the number of scans in a row at which the lease could have been taken.
	waited int
}

// view is the input of a plan.
type view struct {
	me   string
	max  int   // the most leases of a worker; 0 for no limit
	asks int   // the most leases to ask for; negative for no limit
	rows []row // all rows, even finished ones, sorted by key
	by   leases.Balance
	calm bool // throughput has been measured for a while, and no lease has moved to this worker
	// gentle leaves leases to living workers of other libraries. Such leases can only be taken by
	// force, and a leader may have assigned them.
	gentle bool
}

// row returns the row with key, which must be in v.
func (v view) row(key string) *row {
	at, _ := slices.BinarySearchFunc(v.rows, key, func(r row, key string) int { return strings.Compare(r.Key, key) })
	return &v.rows[at]
}

// verb is the kind of an action.
type verb int

const (
	take     verb = iota // make this worker the owner now
	ask                  // make this worker the next owner
	complete             // complete a hand-over for which this worker has no consumer any more
	mend                 // remove the traces of a hand-over during which another library took the lease
)

// String returns the word that logs and transcripts use.
func (v verb) String() string { return [...]string{"take", "ask for", "complete", "mend"}[v] }

// action is one write to one row.
type action struct {
	verb   verb
	row    leases.Lease
	reason string // for take and ask: free, expired, balance or handover
}

// done tells whether a row shows that the action of worker me succeeded. row is the row after the
// action; nil when it is not known.
func (a action) done(row *leases.Lease, me string) bool {
	switch {
	case row == nil:
		return false
	case a.verb == take:
		return row.Owner == me && row.CheckpointOwner == ""
	case a.verb == ask:
		return row.Owner == me && row.CheckpointOwner == a.row.Owner
	}
	return row.CheckpointOwner == ""
}

// patience is the number of scans for which a lease is left to another worker that should take it.
const patience = 2

// plan decides the actions of this worker for the rows that it sees. It is pure. Every worker that
// sees the same rows computes the same distribution, and carries out its own part. So workers
// neither collide nor take leases to and fro.
//
//   - A lease that is free or expired goes to the worker with the fewest leases. If that worker
//     leaves it alone for some scans, any worker takes it.
//   - While two workers differ by two leases or more, the one with fewer gets a lease of the other
//     by asking for it. An owner of another library cannot be asked, so its lease is taken by
//     force. With BalanceThroughput the throughput is evened out instead, see balanceThroughput.
//   - The other workers do not see a worker without a lease. So it asks for one lease only, and
//     counts from the next scan on.
//   - Finished leases are left alone and count for nobody.
//   - With MaxLeasesForWorker, a lease that waits for a parent is left alone too. It would take the
//     place that the parent needs.
func plan(v view) []action {
	p := newPlanner(v)
	p.takeOwn()
	p.shareOut()
	p.balance()
	return p.actions
}

// planner computes one plan.
type planner struct {
	view
	load    map[string]int // the number of leases of each worker after the plan
	workers []string       // the living workers and this one, sorted
	waiting map[string]bool
	actions []action
}

func newPlanner(v view) *planner {
	p := &planner{view: v, load: map[string]int{v.me: 0}, waiting: v.waiting()}
	alive := map[string]bool{v.me: true}
	for _, r := range v.rows {
		if r.Finished() || r.Owner == "" || (r.expired && r.Owner != v.me) {
			continue
		}
		p.load[r.Owner]++
		if !r.quiet {
			alive[r.Owner] = true
		}
	}
	for w := range alive {
		p.workers = append(p.workers, w)
	}
	slices.Sort(p.workers)
	return p
}

// waiting returns the keys of the leases that nobody takes yet. With MaxLeasesForWorker they are
// those with a parent that is still to be read.
func (v view) waiting() map[string]bool {
	if v.max <= 0 {
		return nil
	}
	unread := make(map[string]bool, len(v.rows))
	for _, r := range v.rows {
		if !r.Finished() {
			unread[r.Stream+":"+r.ShardID] = true
		}
	}
	keys := map[string]bool{}
	for _, r := range v.rows {
		if r.WaitsFor(unread) {
			keys[r.Key] = true
		}
	}
	return keys
}

// takeOwn takes leases whose rows name this worker as the owner, but for which it has no consumer.
// A hand-over to this worker was completed, or it could not reach the table for a while.
//
// takeOwn completes a hand-over of this worker's own lease only when nobody renews the lease any
// more. A worker that renews it is of another library, and has taken the lease from both.
func (p *planner) takeOwn() {
	for i := range p.rows {
		switch r := &p.rows[i]; {
		case r.Finished() || r.busy:
		case overtaken(r.Lease) || r.stuck:
			p.actions = append(p.actions, action{verb: mend, row: r.Lease})
		case r.CheckpointOwner == p.me && r.expired:
			p.actions = append(p.actions, action{verb: complete, row: r.Lease})
		case r.Owner == p.me && r.CheckpointOwner == "":
			p.actions = append(p.actions, action{verb: take, row: r.Lease, reason: "handover"})
		}
	}
}

// shareOut distributes the leases that nobody holds. Each worker begins with other leases, so that
// workers that do not know of each other rarely collide.
func (p *planner) shareOut() {
	s := p.shares()
	var mine []action
	var order []ranked
	for i := range p.rows {
		r := &p.rows[i]
		free := r.Owner == "" && r.CheckpointOwner == ""
		if r.Finished() || (!free && !r.expired) || (r.ActualOwner() == p.me) || p.waiting[r.Key] {
			continue
		}
		reason := "expired"
		if free {
			reason = "free"
		}
		except := nobody
		if r.busy {
			except = s.me
		}
		to := s.least(except, r.Key)
		if asked := s.of(r.Owner); r.CheckpointOwner != "" && asked != nobody && asked != except {
			to = asked // has asked for the lease, whose owner has died since
		}
		if to != s.me && r.waited >= patience && !r.busy && s.hasRoom(s.me) {
			to = s.me
		}
		if to == nobody {
			continue
		}
		s.load[to]++
		if to == s.me {
			order = append(order, ranked{affinityFrom(s.seeds[s.me], r.Key), len(mine)})
			mine = append(mine, action{verb: take, row: r.Lease, reason: reason})
		}
	}
	for i, w := range p.workers {
		p.load[w] = s.load[i]
	}
	slices.SortFunc(order, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.rank, b.rank), a.at-b.at) })
	for _, o := range order {
		p.actions = append(p.actions, mine[o.at])
	}
}

// ranked is an index of a list, and its rank in the order of the list.
type ranked struct {
	rank uint64
	at   int
}

// balance moves leases from the worker with most leases to the one with fewest, until they differ
// by one at most.
func (p *planner) balance() {
	if p.by == leases.BalanceThroughput {
		p.balanceThroughput()
		return
	}
	s := p.shares()
	movable := make([][]int, len(p.workers)) // indexes of rows, by owner
	for i := range p.rows {
		r := &p.rows[i]
		if r.Finished() || r.expired || r.Owner == "" || r.CheckpointOwner != "" ||
			(r.busy && r.Owner != p.me) || p.leavesAlone(r) {
			continue
		}
		if owner := s.of(r.Owner); owner != nobody {
			movable[owner] = append(movable[owner], i)
		}
	}
	asks := p.asks
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
				if affinity(p.me, p.rows[candidate].Key) < affinity(p.me, p.rows[at].Key) {
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
			p.request(p.rows[at].Lease)
		}
	}
}

// leavesAlone tells whether a lease stays with its owner because it could only be taken by force.
func (p *planner) leavesAlone(r *row) bool { return p.gentle && r.NativeOwner != r.Owner }

// request adds the action that gets this worker a lease which another one holds.
func (p *planner) request(l leases.Lease) {
	a := action{verb: ask, row: l, reason: "balance"}
	if l.NativeOwner != l.Owner {
		a.verb = take // the owner would not understand a request
	}
	p.actions = append(p.actions, a)
}

// shares holds the number of leases of each living worker. Workers are numbers here, because a plan
// reads the shares for each lease that it moves.
type shares struct {
	workers []string // sorted
	load    []int    // the number of leases of each
	max     int      // leases that a worker may have; 0 for no limit
	me      int      // this worker
	seeds   []uint64 // see affinity
}

// nobody stands for no worker.
const nobody = -1

// shares numbers the workers.
func (p *planner) shares() *shares {
	s := &shares{workers: p.workers, load: make([]int, len(p.workers)), max: p.max, seeds: make([]uint64, len(p.workers))}
	for i, w := range p.workers {
		s.load[i], s.seeds[i] = p.load[w], seedOf(w)
	}
	s.me = s.of(p.me)
	return s
}

// of returns the number of a worker, or nobody.
func (s *shares) of(worker string) int {
	if i, ok := slices.BinarySearch(s.workers, worker); ok {
		return i
	}
	return nobody
}

// least returns the worker with the fewest leases that may get one more, except for one worker. Of
// several it is the one with the least affinity to the key.
func (s *shares) least(except int, key string) int {
	best := nobody
	for i, load := range s.load {
		if i != except && s.hasRoom(i) && (best == nobody || load < s.load[best]) {
			best = i
		}
	}
	if best == nobody || key == "" {
		return best
	}
	first, closest := best, uint64(0)
	for i := first + 1; i < len(s.load); i++ {
		if i == except || s.load[i] != s.load[first] {
			continue
		}
		if closest == 0 {
			closest = affinityFrom(s.seeds[first], key)
		}
		if a := affinityFrom(s.seeds[i], key); a < closest {
			best, closest = i, a
		}
	}
	return best
}

// hasRoom tells whether a worker may get one more lease.
func (s *shares) hasRoom(worker int) bool { return s.max <= 0 || s.load[worker] < s.max }

// affinity returns a number for a worker and a key. It differs between workers, and is the same in
// all processes.
func affinity(worker, key string) uint64 { return affinityFrom(seedOf(worker), key) }

// seedOf returns the part of affinity that is the same for all keys.
func seedOf(worker string) uint64 { return fnv1a(fnvOffset, worker) * fnvPrime }

// affinityFrom returns the affinity of the worker with this seed.
func affinityFrom(seed uint64, key string) uint64 {
	// FNV changes its high bits little for a change at the end.
	x := fnv1a(seed, key)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

// Constants of FNV-1a. hash/fnv allocates for each sum, and a plan computes many sums.
const (
	fnvOffset uint64 = 14695981039346656037
	fnvPrime  uint64 = 1099511628211
)

// fnv1a continues a sum of FNV-1a.
func fnv1a(sum uint64, s string) uint64 {
	for i := range len(s) {
		sum = (sum ^ uint64(s[i])) * fnvPrime
	}
	return sum
}
