package kcl3

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// loadMetric stands for the throughput of a worker's leases, in percent of what
// it would be if all workers had the same. It is what workers are compared by that
// report no metric.
const loadMetric = "T"

// rounding is what two sums of the same numbers may differ by.
const rounding = 1 + 1e-9

// idlePercent is the average of a metric below which it says nothing: what the
// workers use is not for their leases then.
const idlePercent = 5

// measure works out what each worker is used for now, and what is compared. Each
// metric is compared between the workers that report it. Where some report none,
// throughput is compared as well, and those that report count with the average of
// them all: among themselves their metrics decide, and fast machines have more.
func (a *assigner) measure() {
	var load float64
	for _, m := range a.members {
		load += m.load
	}
	for _, l := range a.unread {
		load += l.weight()
	}
	a.target = load / max(1, float64(len(a.members)))
	a.average = map[string]float64{}
	for _, w := range a.Workers {
		m := a.byID[w.Worker]
		for name := range w.Stats {
			if v, ok := averageOf(w, name); ok && !sensorless(w) && name != loadMetric {
				m.samples = w.Stats
				m.value[name], m.limit[name] = v, w.Range[name][0]
			}
		}
	}
	for _, m := range a.members {
		for name := range m.value {
			if _, known := a.average[name]; !known {
				a.compare(name)
			}
		}
	}
	slices.Sort(a.metrics)
	if a.hasNewcomer() {
		a.metrics = nil
	}
	for _, m := range a.members {
		if slices.ContainsFunc(a.metrics, m.reports) {
			a.sighted = append(a.sighted, m)
		}
	}
	if a.target == 0 || len(a.sighted) == len(a.members) {
		return
	}
	a.metrics, a.average[loadMetric] = append(a.metrics, loadMetric), 100
	var together float64
	for _, m := range a.sighted {
		together += m.load / float64(len(a.sighted))
	}
	for _, m := range a.members {
		m.value[loadMetric] = m.load / a.target * 100
	}
	for _, m := range a.sighted {
		m.value[loadMetric] = together / a.target * 100
	}
}

// compare works out the average of a metric, and lets it count unless the workers
// are all but idle.
func (a *assigner) compare(name string) {
	var sum, n float64
	hot := false
	for _, m := range a.members {
		if m.reports(name) {
			sum, n = sum+m.value[name], n+1
			hot = hot || m.value[name] > m.limit[name]
		}
	}
	a.average[name] = sum / n
	if a.average[name] >= idlePercent || hot {
		a.metrics = append(a.metrics, name)
	}
}

// newcomer tells whether a worker has no lease, though another one has several and
// no metric says which of them is used more. It gets some by their throughput then:
// workers that share a machine would never even out.
func (a *assigner) hasNewcomer() bool {
	several := slices.ContainsFunc(a.members, func(m *member) bool { return m.count > 1 })
	return several && slices.ContainsFunc(a.members, func(m *member) bool {
		differs := slices.ContainsFunc(a.metrics, func(name string) bool {
			off := math.Abs(m.value[name] - a.average[name])
			return m.reports(name) && ((off > a.average[name]*a.Config.threshold && off > 1) || m.value[name] > m.limit[name])
		})
		return m.count == 0 && !m.hasExpired && !differs
	})
}

// reports tells whether a worker has a value of a metric.
func (m *member) reports(name string) bool {
	_, ok := m.value[name]
	return ok
}

// usage is how a worker's worst metric compares with the average: 1 is average.
func (a *assigner) usage(m *member) float64 {
	worst := 0.0
	for _, name := range a.metrics {
		if avg := a.average[name]; avg > 0 {
			worst = max(worst, m.value[name]/avg)
		}
	}
	return worst
}

// step is by how much a lease changes a metric.
func (a *assigner) metricStep(name string, weight float64) float64 {
	return weight * a.average[name] / a.target
}

// grow estimates a worker's metrics with one more lease.
func (a *assigner) addToMetrics(m *member, weight float64) {
	a.ranked = nil
	for _, name := range a.metrics {
		switch {
		case name == loadMetric && slices.Contains(a.sighted, m):
			for _, other := range a.sighted {
				other.value[name] += a.metricStep(name, weight) / float64(len(a.sighted))
			}
		case m.reports(name):
			m.value[name] += a.metricStep(name, weight)
		}
	}
}

// balanceLoad takes leases from the workers that are used more than the others,
// by the metric for which that is most.
func (a *assigner) balanceLoad() {
	var metric string
	var most float64
	var surplus map[*member]float64
	for _, name := range a.metrics {
		takes := a.surplus(name)
		var sum float64
		for _, m := range a.members {
			sum += takes[m]
		}
		if sum > most {
			metric, most, surplus = name, sum, takes
		}
	}
	sources := make([]*member, 0, len(surplus))
	for _, m := range a.members {
		if surplus[m] > 0 {
			sources = append(sources, m)
		}
	}
	slices.SortStableFunc(sources, func(x, y *member) int { return cmp.Compare(surplus[y], surplus[x]) })
	for _, from := range sources {
		a.unload(from, surplus[from], metric)
	}
}

// surplus is how much load to take from each worker, by one metric. Nothing is
// done while all are close to the average. CPUs that are all but idle are never
// close to it, so that a percentage point is no difference.
func (a *assigner) surplus(name string) map[*member]float64 {
	avg := a.average[name]
	upper, lower := avg*(1+a.Config.threshold), avg*(1-a.Config.threshold)
	takes := map[*member]float64{}
	uneven := false
	var busiest *member
	for _, m := range a.members {
		if !m.reports(name) {
			continue
		}
		v := m.value[name]
		limit, limited := m.limit[name]
		hot := limited && name != loadMetric && v > limit
		high := v > upper*rounding && v-avg > 1
		low := v*rounding < lower && avg-v > 1
		uneven = uneven || hot || high || low
		if (hot || v*rounding >= upper) && v > avg {
			takes[m] = m.load * (v - avg) / v * a.Config.Dampening
		}
		if busiest == nil || v > busiest.value[name] {
			busiest = m
		}
	}
	if !uneven || a.mayBeChance(name) {
		return nil
	}
	if len(takes) == 0 && busiest != nil && busiest.value[name] > avg {
		v := busiest.value[name]
		takes[busiest] = busiest.load * (v - avg) / v * a.Config.Dampening
	}
	return takes
}

// unload moves leases away from a worker that has too much load, less than that
// in sum; or, when each is more than that, the least one.
func (a *assigner) unload(from *member, surplus float64, metric string) {
	leases := from.shuffled(a.Rand)
	moved := false
	for _, l := range leases {
		if surplus-l.weight() <= 0 {
			continue
		}
		if to := a.receiverOf(from, l, metric, false); to != nil {
			a.moveLease(l, from, to)
			surplus -= l.weight()
			moved = true
		}
	}
	if moved || a.Config.exact || len(leases) == 0 {
		return
	}
	least := slices.MinFunc(leases, func(x, y *Row) int {
		return cmp.Or(cmp.Compare(x.weight(), y.weight()), strings.Compare(x.Key, y.Key))
	})
	if to := a.receiverOf(from, least, metric, true); to != nil {
		a.moveLease(least, from, to)
	}
}

// taker is the worker that gets a lease of another one: the most idle one that
// is not above the average then, nor above its limit. With few leases for each
// worker there may be none; then it is enough that both are closer to each
// other, and that the one who gets is not above the one who gives. An estimate
// of a CPU is not good enough for that, but for the first lease of a worker, or
// for a single one.
func (a *assigner) receiverOf(from *member, l *Row, metric string, single bool) *member {
	for _, to := range a.receivers() {
		if to == from {
			continue
		}
		above, over := false, false
		for _, name := range a.metrics {
			if !to.reports(name) {
				continue
			}
			v := to.value[name] + a.metricStep(name, l.weight())
			above = above || v > a.average[name]*rounding
			limit, limited := to.limit[name]
			over = over || (limited && name != loadMetric && v > limit)
		}
		step := a.metricStep(metric, l.weight())
		closer := to.reports(metric) && to.value[metric]+step <= (from.value[metric]-step)*rounding
		first := to.count == 0 && from.count > 1 && to.value[metric] < from.value[metric]
		exact := metric == loadMetric
		if !over && (!above || ((exact || single) && closer) || (!exact && first)) {
			return to
		}
	}
	return nil
}

// shift moves a lease that is being read.
func (a *assigner) moveLease(l *Row, from, to *member) {
	from.count--
	from.kbps -= l.kbps
	from.load -= l.weight()
	a.addToMetrics(from, -l.weight())
	a.assignTo(l, to, "balance")
}
