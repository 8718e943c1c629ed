package leases

import "slices"

// balanceThroughput moves leases from the workers that deliver most to the one
// that delivers least, until they differ little or no lease lessens the
// difference well. A move leaves at most half of the difference the other way
// round, so that measurements which vary do not bring the lease back.
func (p *planner) balanceThroughput() {
	if len(p.actions) > 0 {
		return // first things first
	}
	weight := weights(p.rows)
	load, total := map[string]float64{}, 0.0
	movable := map[string][]Lease{}
	for _, r := range p.rows {
		if r.Finished() || r.Owner == "" || (r.expired && r.Owner != p.me) {
			continue
		}
		load[r.Owner] += weight[r.Key]
		total += weight[r.Key]
		if !r.expired && !r.settling && r.CheckpointOwner == "" && (!r.busy || r.Owner == p.me) {
			movable[r.Owner] = append(movable[r.Owner], r.Lease)
		}
	}
	average := total / float64(len(p.workers))
	if !p.calm && load[p.me] >= average/2 {
		return
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
		l := movable[from][at]
		movable[from] = slices.Delete(movable[from], at, at+1)
		load[from] -= weight[l.Key]
		load[to] += weight[l.Key]
		p.load[from]--
		p.load[to]++
		if to == p.me {
			p.request(l)
		}
	}
}

// lightest returns the worker with the least load that may get one lease more,
// or nobody.
func (p *planner) lightest(load map[string]float64) string {
	best := ""
	for _, w := range p.workers {
		if p.fits(w) && (best == "" || load[w] < load[best]) {
			best = w
		}
	}
	return best
}

// heaviestMove returns a lease for to, of the worker with most load that has one
// which fits into the difference; -1 when there is none.
func (p *planner) heaviestMove(load map[string]float64, movable map[string][]Lease, weight map[string]float64, to string, least float64) (from string, at int) {
	owners := slices.Clone(p.workers)
	slices.SortStableFunc(owners, func(a, b string) int {
		switch {
		case load[a] > load[b]:
			return -1
		case load[a] < load[b]:
			return 1
		}
		return 0
	})
	for _, from := range owners {
		gap := load[from] - load[to]
		if gap <= least {
			break
		}
		best := -1
		for i, l := range movable[from] {
			w := weight[l.Key]
			switch {
			case w > heaviest*gap:
			case best < 0 || distance(w, gap/2) < distance(weight[movable[from][best].Key], gap/2):
				best = i
			}
		}
		if best >= 0 {
			return from, best
		}
	}
	return "", -1
}

func distance(a, b float64) float64 { return max(a-b, b-a) }

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
