package leases

import (
	"cmp"
	"math"
	"slices"
)

// burden is what the leases of one worker deliver, and how far that may be off.
type burden struct {
	kbps  float64
	doubt float64 // the variance of kbps
}

// balanceThroughput moves leases from the workers that deliver most to the one
// that delivers least, until they differ little, or by what may be chance, or no
// lease lessens the difference well. A move leaves at most half of the difference
// the other way round, so that measurements which vary do not bring the lease back.
func (p *planner) balanceThroughput() {
	if len(p.actions) > 0 {
		return // first things first
	}
	weight := weights(p.rows)
	load, total, leases := map[string]burden{}, 0.0, 0
	held := func(r row) bool { return !r.Finished() && r.Owner != "" && (!r.expired || r.Owner == p.me) }
	for _, r := range p.rows {
		if held(r) {
			load[r.Owner] = burden{load[r.Owner].kbps + weight[r.Key], load[r.Owner].doubt + r.doubt}
			total += weight[r.Key]
			leases++
		}
	}
	average := total / float64(len(p.workers))
	poor := load[p.me].kbps < average/2
	if !p.calm && !poor {
		return
	}
	// A worker that has just come gets its share even of leases that cannot rest.
	fresh := poor && 2*p.load[p.me]*len(p.workers) < leases
	movable := map[string][]int{} // of p.rows
	for i, r := range p.rows {
		if held(r) && !r.expired && !r.settling && (!r.restless || fresh) && r.CheckpointOwner == "" && (!r.busy || r.Owner == p.me) && !p.spares(r) {
			movable[r.Owner] = append(movable[r.Owner], i)
		}
	}
	asks := p.asks
	for asks != 0 {
		to := p.lightest(load)
		if to == "" {
			return
		}
		from, at := p.heaviestMove(load, movable, weight, to, uneven*average)
		if at < 0 {
			return
		}
		if to == p.me && asks > 0 {
			asks--
		}
		l := p.rows[movable[from][at]]
		movable[from] = slices.Delete(movable[from], at, at+1)
		load[from] = burden{load[from].kbps - weight[l.Key], load[from].doubt - l.doubt}
		load[to] = burden{load[to].kbps + weight[l.Key], load[to].doubt + l.doubt}
		p.load[from]--
		p.load[to]++
		if to == p.me {
			p.request(l.Lease)
		}
	}
}

// lightest returns the worker with the least load that may get one lease more,
// or nobody.
func (p *planner) lightest(load map[string]burden) string {
	best := ""
	for _, w := range p.workers {
		if p.fits(w) && (best == "" || load[w].kbps < load[best].kbps) {
			best = w
		}
	}
	return best
}

// heaviestMove returns a lease for to, of the worker with most load that has one
// which fits into the difference; -1 when there is none.
func (p *planner) heaviestMove(load map[string]burden, movable map[string][]int, weight map[string]float64, to string, least float64) (from string, at int) {
	owners := slices.Clone(p.workers)
	slices.SortStableFunc(owners, func(a, b string) int { return cmp.Compare(load[b].kbps, load[a].kbps) })
	for _, from := range owners {
		gap := load[from].kbps - load[to].kbps
		if gap <= least {
			break
		}
		if gap <= certain*math.Sqrt(max(0, load[from].doubt+load[to].doubt)) {
			continue
		}
		best := -1
		var off float64
		for i, at := range movable[from] {
			w := weight[p.rows[at].Key]
			if d := math.Abs(w - gap/2); w <= heaviest*gap && (best < 0 || d < off) {
				best, off = i, d
			}
		}
		if best >= 0 {
			return from, best
		}
	}
	return "", -1
}

// weights returns what each lease counts for. One that was not measured yet is
// taken for an average one; and each counts for something, so that leases
// without data are shared out too.
func weights(rows []row) map[string]float64 {
	sum, n := 0.0, 0
	for _, r := range rows {
		if !r.Finished() && r.kbps >= 0 {
			sum += r.kbps
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
		kbps := r.kbps
		if kbps < 0 {
			kbps = mean
		}
		weight[r.Key] = base + kbps
	}
	return weight
}
