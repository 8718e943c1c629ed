package coordinator

import (
	"cmp"
	"slices"

	"github.com/kinesis-go/kcl/leases"
)

// row is one lease as the coordinator judges it at a scan.
type row struct {
	leases.Lease
	// expired: its counter was seen to stand still for longer than an owner
	// trusts its lease.
	expired bool
	// quiet: its counter has stood still for longer than it ever does under a
	// healthy owner.
	quiet bool
	// busy: this worker holds it, or its last consumer has not returned yet, or
	// the worker has just failed with it. It cannot be taken now.
	busy bool
	// kbps is its throughput, averaged over a while; negative when not known. It
	// and what follows up to restless are only set where throughput decides, or soon
	// may: with BalanceThroughput, and where a leader assigns or is to.
	kbps float64
	// doubt is the variance of kbps.
	doubt float64
	// settling: it has moved for balance a short while ago.
	settling bool
	// restless: it has done so too often to do it again soon.
	restless bool
	// stuck: it is renewed, and has been handed over for too long by somebody who
	// does not say to whom.
	stuck bool
	// waited is for how many scans in a row it could have been taken.
	waited int
}

// view is all that a plan depends on.
type view struct {
	me   string
	max  int   // leases that a worker may hold; 0 for no limit
	asks int   // how many leases may be asked for; negative for no limit
	rows []row // unfinished or not, sorted by key
	by   leases.Balance
	calm bool // throughput has been watched, and nothing moved here, for a while
	// gentle leaves leases to living workers of other libraries, which can only be
	// forced: a leader may have given them to those.
	gentle bool
}

// verb is what an action does.
type verb int

const (
	take     verb = iota // write myself into the row, now
	ask                  // write myself into the row as the next owner
	complete             // complete a hand-off that this worker left behind
	mend                 // remove what is left of a hand-off that another library has overtaken
)

// String returns the word that logs and transcripts use.
func (v verb) String() string { return [...]string{"take", "ask for", "complete", "mend"}[v] }

// action is one thing to do to one row.
type action struct {
	verb   verb
	row    leases.Lease
	reason string // for take and ask: free, expired, balance or handover
}

// done tells whether a row, as it is after the action of worker me, is as planned. It
// is nil when it is not known.
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

// patience is for how many scans a lease that another worker should take is
// left to it.
const patience = 2

// plan decides what this worker does about the rows it sees. It is pure, and
// every worker that sees the same rows comes to the same distribution of all of
// them, of which it carries out its own part; so workers neither collide nor
// take leases to and fro.
//
//   - A lease that is free or expired goes to the worker with the fewest leases,
//     and to anybody when that worker leaves it alone for some scans.
//   - While two workers differ by two or more, the lesser one gets a lease of
//     the greater one, by asking for it; by force where the owner, of another
//     library, cannot be asked.
//     With BalanceThroughput what they deliver is evened out instead, see
//     balanceThroughput.
//   - A worker that has no lease yet is not seen by the others, so it gets just
//     one that way, to be counted with from the next scan on.
//   - Finished leases are left alone and count for nobody.
//   - With MaxLeasesForWorker, a lease that waits for a parent is left alone, too:
//     it must not take the place that the parent needs.
func plan(v view) []action {
	p := newPlanner(v)
	p.takeOwn()
	p.shareOut()
	p.balance()
	return p.actions
}

// planner carries the distribution that a plan works out.
type planner struct {
	view
	load    map[string]int // leases of each worker, as they will be
	workers []string       // that can be counted on, sorted; always this one too
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

// waiting are the keys of the leases that nobody takes yet: where places are
// few, those with a parent that is still to be read.
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

// takeOwn takes what the table says is this worker's, but has no consumer: a
// hand-off to it was completed, or it lost touch with the table for a while. It
// completes a hand-off of its own only when nobody renews the lease any more: who
// does is no worker of this library, and has taken the lease from both.
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

// shareOut distributes the leases that nobody holds. Each worker begins with
// other ones, so that workers that do not know of each other rarely collide.
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
			to = asked // asked for it, of an owner that has vanished
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

// ranked is a place in a list, and what the list is sorted by.
type ranked struct {
	rank uint64
	at   int
}

// balance moves leases from the worker that has most to the one that has least
// until they differ by one at most.
func (p *planner) balance() {
	if p.by == leases.BalanceThroughput {
		p.balanceThroughput()
		return
	}
	s := p.shares()
	movable := make([][]int, len(p.workers)) // places in rows, by owner
	for i := range p.rows {
		r := &p.rows[i]
		if r.Finished() || r.expired || r.Owner == "" || r.CheckpointOwner != "" || (r.busy && r.Owner != p.me) || p.leavesAlone(r) {
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
		if to == s.me && asks > 0 { // unknown to the others, who may do the same
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

// leavesAlone tells whether a lease stays with its owner because that one could only be
// forced.
func (p *planner) leavesAlone(r *row) bool { return p.gentle && r.NativeOwner != r.Owner }

// request gets this worker a lease that another one holds.
func (p *planner) request(l leases.Lease) {
	a := action{verb: ask, row: l, reason: "balance"}
	if l.NativeOwner != l.Owner {
		a.verb = take // it would not understand
	}
	p.actions = append(p.actions, a)
}

// shares is how many leases each worker has that can be counted on. A plan looks at
// them for each lease that it moves, so workers are numbers here.
type shares struct {
	workers []string // sorted
	load    []int    // leases of each
	max     int      // leases that a worker may have; 0 for no limit
	me      int      // this worker
	seeds   []uint64 // see affinity
}

// nobody is the number of no worker.
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

// of is the number of a worker, or nobody.
func (s *shares) of(worker string) int {
	if i, ok := slices.BinarySearch(s.workers, worker); ok {
		return i
	}
	return nobody
}

// least returns the worker with the fewest leases among those that may get one
// more, without one of them; of several, the one that the key belongs to most.
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

func (s *shares) hasRoom(worker int) bool { return s.max <= 0 || s.load[worker] < s.max }

// affinity is a number that differs between workers, but not between processes.
func affinity(worker, key string) uint64 { return affinityFrom(seedOf(worker), key) }

// seedOf is the part of affinity that is the same for all keys.
func seedOf(worker string) uint64 { return fnv1a(fnvOffset, worker) * fnvPrime }

// affinityFrom is affinity for the worker of a seed.
func affinityFrom(seed uint64, key string) uint64 {
	// FNV changes its high bits little for a change at the end.
	x := fnv1a(seed, key)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

// Of FNV-1a. hash/fnv allocates for each sum, and a plan makes many.
const (
	fnvOffset uint64 = 14695981039346656037
	fnvPrime  uint64 = 1099511628211
)

// fnv1a goes on with a sum of FNV-1a.
func fnv1a(sum uint64, s string) uint64 {
	for i := range len(s) {
		sum = (sum ^ uint64(s[i])) * fnvPrime
	}
	return sum
}
