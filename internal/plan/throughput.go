package plan

import (
	"cmp"
	"math"
	"slices"
)

// burden is the throughput of the leases of one worker, with its variance.
type burden struct {
	kbps     float64
	variance float64 // the variance of kbps
}

// balanceThroughput moves leases from the workers with the highest throughput to the one with the
// lowest. It stops when they differ little, when the difference may be chance, or when no lease
// reduces it enough. After a move the difference is at most half as large in the other direction.
// So varying measurements do not bring the lease back.
func (p *planner) balanceThroughput() {
	if len(p.actions) > 0 {
		return // take free and expired leases first
	}
	b := &burdens{
		shares: p.shares(), total: make([]burden, len(p.workers)),
		weight: weights(p.Rows), movable: make([][]int, len(p.workers)),
	}
	total, leases := 0.0, 0
	held := func(r *Row) bool { return !r.Finished() && r.Owner != "" && (!r.Expired || r.Owner == p.Me) }
	for i := range p.Rows {
		r := &p.Rows[i]
		if !held(r) {
			continue
		}
		if owner := b.numberOf(r.Owner); owner != nobody {
			b.total[owner] = burden{b.total[owner].kbps + b.weight[i], b.total[owner].variance + r.Variance}
		}
		total += b.weight[i]
		leases++
	}
	average := total / float64(len(p.workers))
	poor := b.total[b.me].kbps < average/2
	if !p.Calm && !poor {
		return
	}
	// A new worker gets its share even of leases that have moved often.
	newWorker := poor && 2*b.load[b.me]*len(p.workers) < leases
	for i := range p.Rows {
		r := &p.Rows[i]
		if held(r) && !r.Expired && !r.Settling && (!r.Restless || newWorker) && r.CheckpointOwner == "" &&
			(!r.Busy || r.Owner == p.Me) && !p.mustStay(r) {
			if owner := b.numberOf(r.Owner); owner != nobody {
				b.movable[owner] = append(b.movable[owner], i)
			}
		}
	}
	b.sort()
	asks := p.Asks
	for asks != 0 {
		to := b.lightest()
		if to == nobody {
			return
		}
		from, at := b.heaviestMove(to, uneven*average)
		if at < 0 {
			return
		}
		if to == b.me && asks > 0 {
			asks--
		}
		l := &p.Rows[b.movable[from][at]]
		b.move(from, at, to, l.Variance)
		if to == b.me {
			p.addRequest(l.Lease)
		}
	}
}

// burdens holds the burden of each worker.
type burdens struct {
	*shares
	total        []burden  // by worker
	byThroughput []int     // the workers by throughput, the highest first; of equals by number
	weight       []float64 // of each row
	movable      [][]int   // indexes of rows, by owner, the lightest first
}

// sort sorts the workers and their leases by throughput.
func (b *burdens) sort() {
	for i := range b.total {
		b.byThroughput = append(b.byThroughput, i)
	}
	slices.SortFunc(b.byThroughput, b.compare)
	for _, list := range b.movable {
		slices.SortStableFunc(list, func(x, y int) int { return cmp.Compare(b.weight[x], b.weight[y]) })
	}
}

// compare sorts the worker with the higher throughput first.
func (b *burdens) compare(x, y int) int {
	return cmp.Or(cmp.Compare(b.total[y].kbps, b.total[x].kbps), x-y)
}

// move gives one lease, by its index in movable, to another worker.
func (b *burdens) move(from, at, to int, variance float64) {
	weight := b.weight[b.movable[from][at]]
	b.movable[from] = slices.Delete(b.movable[from], at, at+1)
	b.total[from] = burden{b.total[from].kbps - weight, b.total[from].variance - variance}
	b.total[to] = burden{b.total[to].kbps + weight, b.total[to].variance + variance}
	b.load[from]--
	b.load[to]++
	// Only two workers have changed, so few elements move.
	for i := range b.byThroughput {
		for ; i > 0 && b.compare(b.byThroughput[i], b.byThroughput[i-1]) < 0; i-- {
			b.byThroughput[i], b.byThroughput[i-1] = b.byThroughput[i-1], b.byThroughput[i]
		}
	}
}

// lightest returns the worker with the lowest throughput that may get one more lease, or nobody.
func (b *burdens) lightest() int {
	best := nobody
	for w := range b.total {
		if b.hasRoom(w) && (best == nobody || b.total[w].kbps < b.total[best].kbps) {
			best = w
		}
	}
	return best
}

// heaviestMove returns a lease for worker to. It is a lease of the worker with the highest
// throughput among those that have a lease which fits the difference. at is the index of the lease
// in movable; -1 when there is none. The difference must be more than least.
func (b *burdens) heaviestMove(to int, least float64) (from, at int) {
	for _, from := range b.byThroughput {
		gap := b.total[from].kbps - b.total[to].kbps
		if gap <= least {
			break
		}
		if gap <= certainDeviations*math.Sqrt(max(0, b.total[from].variance+b.total[to].variance)) {
			continue
		}
		if at := b.closestToHalf(b.movable[from], gap); at >= 0 {
			return from, at
		}
	}
	return nobody, -1
}

// closestToHalf returns the index of the lease whose weight is closest to half of the gap. A lease
// that is too heavy for the gap does not count. Of equals it is the lease with the first row. The
// index is -1 when there is none.
func (b *burdens) closestToHalf(list []int, gap float64) int {
	half := gap / 2
	firstAtLeast := func(weight float64) int { // the first lease that has at least weight
		i, _ := slices.BinarySearchFunc(list, weight, func(row int, w float64) int { return cmp.Compare(b.weight[row], w) })
		return i
	}
	best, above := -1, firstAtLeast(math.Nextafter(half, math.Inf(1)))
	if above > 0 {
		best = firstAtLeast(b.weight[list[above-1]])
	}
	if above == len(list) || b.weight[list[above]] > heaviestPart*gap {
		return best
	}
	if best < 0 {
		return above
	}
	lower, upper := half-b.weight[list[best]], b.weight[list[above]]-half
	if upper < lower || (upper == lower && list[above] < list[best]) {
		return above
	}
	return best
}

// weights returns the weight of each lease. A lease that was not measured yet gets the average.
// Each lease has a weight above zero, so that leases without data are shared out too.
func weights(rows []Row) []float64 {
	sum, n := 0.0, 0
	for i := range rows {
		if r := &rows[i]; !r.Finished() && r.KBps >= 0 {
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
	weight := make([]float64, len(rows))
	for i := range rows {
		kbps := rows[i].KBps
		if kbps < 0 {
			kbps = mean
		}
		weight[i] = base + kbps
	}
	return weight
}
