package plan

import (
	"cmp"
	"math"
	"slices"

	"github.com/kinesis-go/kcl/leases"
)

// naivePlan is the simplest form of plan: each step reads every row. Its time grows with the third
// power of the leases, so it is only for comparison.
func naivePlan(v View) []Action {
	p := newNaivePlanner(v)
	p.own()
	p.takeable()
	p.balance()
	return p.actions
}

// naivePlanner computes one plan.
type naivePlanner struct {
	View
	load    map[string]int // leases of each worker, as they will be
	workers []string       // that can be counted on, sorted; always this one too
	waiting map[string]bool
	actions []Action
}

func newNaivePlanner(v View) *naivePlanner {
	p := &naivePlanner{View: v, load: map[string]int{v.Me: 0}, waiting: v.Waiting()}
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

// own takes leases whose rows name this worker as the owner, but for which it has no consumer. See
// planner.takeOwn.
func (p *naivePlanner) own() {
	for _, r := range p.Rows {
		switch {
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

// takeable distributes the leases that nobody holds. See planner.shareOut.
func (p *naivePlanner) takeable() {
	var mine []Action
	for _, r := range p.Rows {
		free := r.Owner == "" && r.CheckpointOwner == ""
		if r.Finished() || (!free && !r.Expired) || (r.ActualOwner() == p.Me) || p.waiting[r.Key] {
			continue
		}
		reason := "expired"
		if free {
			reason = "free"
		}
		to := p.least(func(w string) bool { return w != p.Me || !r.Busy }, r.Key)
		if r.CheckpointOwner != "" && slices.Contains(p.workers, r.Owner) && (r.Owner != p.Me || !r.Busy) {
			to = r.Owner // asked for it, of an owner that has vanished
		}
		if to != p.Me && r.ScansWaited >= Patience && !r.Busy && p.fits(p.Me) {
			to = p.Me
		}
		if to == "" {
			continue
		}
		p.load[to]++
		if to == p.Me {
			mine = append(mine, Action{Verb: Take, Row: r.Lease, Reason: reason})
		}
	}
	slices.SortStableFunc(mine, func(a, b Action) int {
		return cmp.Compare(affinity(p.Me, a.Row.Key), affinity(p.Me, b.Row.Key))
	})
	p.actions = append(p.actions, mine...)
}

// balance moves leases from the worker with most leases to the one with fewest, until they differ
// by one at most.
func (p *naivePlanner) balance() {
	if p.By == leases.BalanceThroughput {
		p.balanceThroughput()
		return
	}
	movable := map[string][]leases.Lease{}
	for _, r := range p.Rows {
		if r.Finished() || r.Expired || r.Owner == "" || r.CheckpointOwner != "" ||
			(r.Busy && r.Owner != p.Me) || p.spares(&r) {
			continue
		}
		movable[r.Owner] = append(movable[r.Owner], r.Lease)
	}
	asks := p.Asks
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
		if to == p.Me && asks == 0 {
			return
		}
		i := 0
		if to == p.Me && asks > 0 { // unknown to the others, who may do the same
			asks--
			for j := range movable[from] {
				if affinity(p.Me, movable[from][j].Key) < affinity(p.Me, movable[from][i].Key) {
					i = j
				}
			}
		}
		l := movable[from][i]
		movable[from] = slices.Delete(movable[from], i, i+1)
		p.load[from]--
		p.load[to]++
		if to == p.Me {
			p.request(l)
		}
	}
}

// spares tells whether a lease stays with its owner because it could only be taken by force.
func (p *naivePlanner) spares(r *Row) bool { return p.NoForce && r.NativeOwner != r.Owner }

// request gets this worker a lease that another one holds.
func (p *naivePlanner) request(l leases.Lease) {
	a := Action{Verb: Ask, Row: l, Reason: "balance"}
	if l.NativeOwner != l.Owner {
		a.Verb = Take // it would not understand
	}
	p.actions = append(p.actions, a)
}

// least returns the worker with the fewest leases that may get one more. Of several it is the one
// with the least affinity to the key. Empty means nobody.
func (p *naivePlanner) least(may func(string) bool, key string) string {
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

func (p *naivePlanner) fits(worker string) bool { return p.Max <= 0 || p.load[worker] < p.Max }

// balanceThroughput evens out the throughput. See planner.balanceThroughput.
func (p *naivePlanner) balanceThroughput() {
	if len(p.actions) > 0 {
		return // first things first
	}
	weight := naiveWeights(p.Rows)
	load, total, leases := map[string]burden{}, 0.0, 0
	held := func(r Row) bool { return !r.Finished() && r.Owner != "" && (!r.Expired || r.Owner == p.Me) }
	for _, r := range p.Rows {
		if held(r) {
			load[r.Owner] = burden{load[r.Owner].kbps + weight[r.Key], load[r.Owner].variance + r.Variance}
			total += weight[r.Key]
			leases++
		}
	}
	average := total / float64(len(p.workers))
	poor := load[p.Me].kbps < average/2
	if !p.Calm && !poor {
		return
	}
	// A worker that has just come gets its share even of leases that cannot rest.
	fresh := poor && 2*p.load[p.Me]*len(p.workers) < leases
	movable := map[string][]int{} // of p.rows
	for i, r := range p.Rows {
		if held(r) && !r.Expired && !r.Settling && (!r.Restless || fresh) && r.CheckpointOwner == "" &&
			(!r.Busy || r.Owner == p.Me) && !p.spares(&r) {
			movable[r.Owner] = append(movable[r.Owner], i)
		}
	}
	asks := p.Asks
	for asks != 0 {
		to := p.lightest(load)
		if to == "" {
			return
		}
		from, at := p.heaviestMove(load, movable, weight, to, uneven*average)
		if at < 0 {
			return
		}
		if to == p.Me && asks > 0 {
			asks--
		}
		l := p.Rows[movable[from][at]]
		movable[from] = slices.Delete(movable[from], at, at+1)
		load[from] = burden{load[from].kbps - weight[l.Key], load[from].variance - l.Variance}
		load[to] = burden{load[to].kbps + weight[l.Key], load[to].variance + l.Variance}
		p.load[from]--
		p.load[to]++
		if to == p.Me {
			p.request(l.Lease)
		}
	}
}

// lightest returns the worker with the lowest throughput that may get one more lease, or nobody.
func (p *naivePlanner) lightest(load map[string]burden) string {
	best := ""
	for _, w := range p.workers {
		if p.fits(w) && (best == "" || load[w].kbps < load[best].kbps) {
			best = w
		}
	}
	return best
}

// heaviestMove returns a lease for worker to, from the worker with the highest throughput that has
// a lease which fits the difference. at is -1 when there is none.
func (p *naivePlanner) heaviestMove(load map[string]burden, movable map[string][]int, weight map[string]float64,
	to string, least float64,
) (from string, at int) {
	owners := slices.Clone(p.workers)
	slices.SortStableFunc(owners, func(a, b string) int { return cmp.Compare(load[b].kbps, load[a].kbps) })
	for _, from := range owners {
		gap := load[from].kbps - load[to].kbps
		if gap <= least {
			break
		}
		if gap <= certainDeviations*math.Sqrt(max(0, load[from].variance+load[to].variance)) {
			continue
		}
		best := -1
		var off float64
		for i, at := range movable[from] {
			w := weight[p.Rows[at].Key]
			if d := math.Abs(w - gap/2); w <= heaviestPart*gap && (best < 0 || d < off) {
				best, off = i, d
			}
		}
		if best >= 0 {
			return from, best
		}
	}
	return "", -1
}

// naiveWeights returns the weight of each lease. See weights.
func naiveWeights(rows []Row) map[string]float64 {
	sum, n := 0.0, 0
	for _, r := range rows {
		if !r.Finished() && r.KBps >= 0 {
			sum += r.KBps
			n++
		}
	}
	mean := 0.0
	if n > 0 {
		mean = sum / float64(n)
	}
	base := idleShare * mean
	if base == 0 {
		base = 1
	}
	weight := make(map[string]float64, len(rows))
	for _, r := range rows {
		kbps := r.KBps
		if kbps < 0 {
			kbps = mean
		}
		weight[r.Key] = base + kbps
	}
	return weight
}
