package leases

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// row is one lease as the coordinator judges it at a scan.
type row struct {
	Lease
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
	by   Balance
	calm bool // throughput has been watched, and nothing moved here, for a while
	// gentle leaves leases to living workers of other libraries, which can only be
	// forced: a leader may have given them to those.
	gentle bool
}

// verb is what an action does.
type verb int

const (
	take   verb = iota // write myself into the row, now
	ask                // write myself into the row as the next owner
	finish             // complete a hand-off that this worker left behind
	mend               // remove what is left of a hand-off that another library has overtaken
)

// String returns the word that logs and transcripts use.
func (v verb) String() string { return [...]string{"take", "ask for", "finish", "mend"}[v] }

// action is one thing to do to one row.
type action struct {
	verb   verb
	row    Lease
	reason string // for take and ask: free, expired, balance or handover
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
	p.own()
	p.takeable()
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
		if r.waitsFor(unread) {
			keys[r.Key] = true
		}
	}
	return keys
}

// waitsFor tells whether a parent is among the shards that are still to be read,
// each with its stream.
func (l Lease) waitsFor(unread map[string]bool) bool {
	return slices.ContainsFunc(l.Parents, func(p string) bool { return p != l.ShardID && unread[l.Stream+":"+p] })
}

// own takes what the table says is this worker's, but has no consumer: a
// hand-off to it was completed, or it lost touch with the table for a while. It
// completes a hand-off of its own only when nobody renews the lease any more: who
// does is no worker of this library, and has taken the lease from both.
func (p *planner) own() {
	for _, r := range p.rows {
		switch {
		case r.Finished() || r.busy:
		case r.overtaken() || r.stuck:
			p.actions = append(p.actions, action{verb: mend, row: r.Lease})
		case r.CheckpointOwner == p.me && r.expired:
			p.actions = append(p.actions, action{verb: finish, row: r.Lease})
		case r.Owner == p.me && r.CheckpointOwner == "":
			p.actions = append(p.actions, action{verb: take, row: r.Lease, reason: "handover"})
		}
	}
}

// takeable distributes the leases that nobody holds. Each worker begins with
// other ones, so that workers that do not know of each other rarely collide.
func (p *planner) takeable() {
	var mine []action
	for _, r := range p.rows {
		free := r.Owner == "" && r.CheckpointOwner == ""
		if r.Finished() || (!free && !r.expired) || (r.ActualOwner() == p.me) || p.waiting[r.Key] {
			continue
		}
		reason := "expired"
		if free {
			reason = "free"
		}
		to := p.least(func(w string) bool { return w != p.me || !r.busy }, r.Key)
		if r.CheckpointOwner != "" && slices.Contains(p.workers, r.Owner) && (r.Owner != p.me || !r.busy) {
			to = r.Owner // asked for it, of an owner that has vanished
		}
		if to != p.me && r.waited >= patience && !r.busy && p.fits(p.me) {
			to = p.me
		}
		if to == "" {
			continue
		}
		p.load[to]++
		if to == p.me {
			mine = append(mine, action{verb: take, row: r.Lease, reason: reason})
		}
	}
	slices.SortStableFunc(mine, func(a, b action) int {
		return cmp.Compare(affinity(p.me, a.row.Key), affinity(p.me, b.row.Key))
	})
	p.actions = append(p.actions, mine...)
}

// balance moves leases from the worker that has most to the one that has least
// until they differ by one at most.
func (p *planner) balance() {
	if p.by == BalanceThroughput {
		p.balanceThroughput()
		return
	}
	movable := map[string][]Lease{}
	for _, r := range p.rows {
		if r.Finished() || r.expired || r.Owner == "" || r.CheckpointOwner != "" || (r.busy && r.Owner != p.me) || p.spares(r) {
			continue
		}
		movable[r.Owner] = append(movable[r.Owner], r.Lease)
	}
	asks := p.asks
	for {
		to := p.least(func(string) bool { return true }, "")
		from := ""
		for _, w := range p.workers {
			if len(movable[w]) > 0 && (from == "" || p.load[w] > p.load[from]) {
				from = w
			}
		}
		if to == "" || from == "" || p.load[from]-p.load[to] < 2 {
			return
		}
		if to == p.me && asks == 0 {
			return
		}
		i := 0
		if to == p.me && asks > 0 { // unknown to the others, who may do the same
			asks--
			for j := range movable[from] {
				if affinity(p.me, movable[from][j].Key) < affinity(p.me, movable[from][i].Key) {
					i = j
				}
			}
		}
		l := movable[from][i]
		movable[from] = slices.Delete(movable[from], i, i+1)
		p.load[from]--
		p.load[to]++
		if to == p.me {
			p.request(l)
		}
	}
}

// spares tells whether a lease stays with its owner because that one could only be
// forced.
func (p *planner) spares(r row) bool { return p.gentle && r.NativeOwner != r.Owner }

// request gets this worker a lease that another one holds.
func (p *planner) request(l Lease) {
	a := action{verb: ask, row: l, reason: "balance"}
	if l.NativeOwner != l.Owner {
		a.verb = take // it would not understand
	}
	p.actions = append(p.actions, a)
}

// least returns the worker with the fewest leases among those that may get one
// more; of several, the one that the key belongs to most. Empty means nobody.
func (p *planner) least(may func(string) bool, key string) string {
	best := ""
	for _, w := range p.workers {
		switch {
		case !p.fits(w) || !may(w):
		case best == "" || p.load[w] < p.load[best]:
			best = w
		case p.load[w] == p.load[best] && key != "" && affinity(w, key) < affinity(best, key):
			best = w
		}
	}
	return best
}

func (p *planner) fits(worker string) bool { return p.max <= 0 || p.load[worker] < p.max }

// affinity is a number that differs between workers, but not between processes.
func affinity(worker, key string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(worker))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	// FNV changes its high bits little for a change at the end.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}
