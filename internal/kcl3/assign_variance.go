package kcl3

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// loadMetric is the throughput of a worker's leases, in percent of the average of all workers.
// Workers that report no metric are compared by it.
const loadMetric = "T"

// rounding is the factor by which two sums of the same numbers may differ.
const rounding = 1 + 1e-9

// idlePercent is the average below which a metric says nothing about leases.
const idlePercent = 5

// computeMetrics computes the metrics of each worker, and chooses the metrics to compare. Each
// metric is compared between the workers that report it.
//
// Where some workers report none, throughput is compared as well. All workers that report metrics
// count with their average throughput then. Among themselves their metrics decide, and fast
// machines have more leases.
func (a *assigner) computeMetrics() {
	var load float64
	for _, m := range a.members {
		load += m.load
	}
	for _, l := range a.unread {
		load += l.weight()
	}
	a.averageLoad = load / max(1, float64(len(a.members)))
	a.average = map[string]float64{}
	for _, w := range a.Workers {
		m := a.byID[w.Worker]
		for name := range w.Stats {
			if v, ok := averageOf(w, name); ok && !sensorless(w) && name != loadMetric {
				m.samples = w.Stats
				m.values[name], m.limits[name] = v, w.Range[name][0]
			}
		}
	}
	for _, m := range a.members {
		for name := range m.values {
			if _, known := a.average[name]; !known {
				a.averageMetric(name)
			}
		}
	}
	slices.Sort(a.metrics)
	if a.hasNewcomer() {
		a.metrics = nil
	}
	for _, m := range a.members {
		if slices.ContainsFunc(a.metrics, m.reports) {
			a.withMetrics = append(a.withMetrics, m)
		}
	}
	if a.averageLoad == 0 || len(a.withMetrics) == len(a.members) {
		return
	}
	a.metrics, a.average[loadMetric] = append(a.metrics, loadMetric), 100
	var together float64
	for _, m := range a.withMetrics {
		together += m.load / float64(len(a.withMetrics))
	}
	for _, m := range a.members {
		m.values[loadMetric] = m.load / a.averageLoad * 100
	}
	for _, m := range a.withMetrics {
		m.values[loadMetric] = together / a.averageLoad * 100
	}
}

// averageMetric computes the average of a metric. It adds the metric to those compared, unless the
// workers are almost idle.
func (a *assigner) averageMetric(name string) {
	var sum, n float64
	hot := false
	for _, m := range a.members {
		if m.reports(name) {
			sum, n = sum+m.values[name], n+1
			hot = hot || m.values[name] > m.limits[name]
		}
	}
	a.average[name] = sum / n
	if a.average[name] >= idlePercent || hot {
		a.metrics = append(a.metrics, name)
	}
}

// hasNewcomer tells whether a worker has no lease while another one has several, although no metric
// differs between them. The newcomer gets leases by throughput then. By their metrics, workers that
// share a machine would never even out.
func (a *assigner) hasNewcomer() bool {
	several := slices.ContainsFunc(a.members, func(m *member) bool { return m.count > 1 })
	return several && slices.ContainsFunc(a.members, func(m *member) bool {
		differs := slices.ContainsFunc(a.metrics, func(name string) bool {
			off := math.Abs(m.values[name] - a.average[name])
			return m.reports(name) && ((off > a.average[name]*a.Config.threshold && off > 1) || m.values[name] > m.limits[name])
		})
		return m.count == 0 && !m.hasExpired && !differs
	})
}

// reports tells whether a worker has a value of a metric.
func (m *member) reports(name string) bool {
	_, ok := m.values[name]
	return ok
}

// usage returns the ratio of a worker's worst metric to the average: 1 is average.
func (a *assigner) usage(m *member) float64 {
	worst := 0.0
	for _, name := range a.metrics {
		if avg := a.average[name]; avg > 0 {
			worst = max(worst, m.values[name]/avg)
		}
	}
	return worst
}

// metricStep estimates the change of a metric by a lease of this weight.
func (a *assigner) metricStep(name string, weight float64) float64 {
	return weight * a.average[name] / a.averageLoad
}

// addToMetrics estimates the metrics of a worker after it gets load of this weight.
func (a *assigner) addToMetrics(m *member, weight float64) {
	a.receiverList = nil
	for _, name := range a.metrics {
		switch {
		case name == loadMetric && slices.Contains(a.withMetrics, m):
			for _, other := range a.withMetrics {
				other.values[name] += a.metricStep(name, weight) / float64(len(a.withMetrics))
			}
		case m.reports(name):
			m.values[name] += a.metricStep(name, weight)
		}
	}
}

// balanceLoad moves leases away from the workers that are used more than the others. It goes by the
// metric with the largest surplus.
func (a *assigner) balanceLoad() {
	var metric string
	var most float64
	var surplus map[*member]float64
	for _, name := range a.metrics {
		toRemove := a.surplus(name)
		var sum float64
		for _, m := range a.members {
			sum += toRemove[m]
		}
		if sum > most {
			metric, most, surplus = name, sum, toRemove
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

// surplus returns the load to remove from each worker, by one metric. It is empty while all workers
// are close to the average. A difference of less than a percentage point counts as close. CPUs that
// are almost idle differ by more than the threshold.
func (a *assigner) surplus(name string) map[*member]float64 {
	avg := a.average[name]
	upper, lower := avg*(1+a.Config.threshold), avg*(1-a.Config.threshold)
	toRemove := map[*member]float64{}
	uneven := false
	var busiest *member
	for _, m := range a.members {
		if !m.reports(name) {
			continue
		}
		v := m.values[name]
		limit, limited := m.limits[name]
		hot := limited && name != loadMetric && v > limit
		high := v > upper*rounding && v-avg > 1
		low := v*rounding < lower && avg-v > 1
		uneven = uneven || hot || high || low
		if (hot || v*rounding >= upper) && v > avg {
			toRemove[m] = m.load * (v - avg) / v * a.Config.Dampening
		}
		if busiest == nil || v > busiest.values[name] {
			busiest = m
		}
	}
	if !uneven || a.mayBeChance(name) {
		return nil
	}
	if len(toRemove) == 0 && busiest != nil && busiest.values[name] > avg {
		v := busiest.values[name]
		toRemove[busiest] = busiest.load * (v - avg) / v * a.Config.Dampening
	}
	return toRemove
}

// unload moves leases away from a worker. In sum they weigh less than surplus. If each lease weighs
// more, unload moves the lightest one.
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

// receiverOf returns the worker that gets a lease of another one; nil when there is none. It is the
// most idle worker that stays below the average and below its limit.
//
// With few leases for each worker there may be no such worker. Then it is enough that the two
// workers come closer to each other, with the receiver below the giver. That needs an exact metric.
// The estimate of a CPU suffices only for a worker's first lease, or for a single lease.
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
			v := to.values[name] + a.metricStep(name, l.weight())
			above = above || v > a.average[name]*rounding
			limit, limited := to.limits[name]
			over = over || (limited && name != loadMetric && v > limit)
		}
		step := a.metricStep(metric, l.weight())
		closer := to.reports(metric) && to.values[metric]+step <= (from.values[metric]-step)*rounding
		first := to.count == 0 && from.count > 1 && to.values[metric] < from.values[metric]
		exact := metric == loadMetric
		if !over && (!above || ((exact || single) && closer) || (!exact && first)) {
			return to
		}
	}
	return nil
}

// moveLease moves a lease that is being read.
func (a *assigner) moveLease(l *Row, from, to *member) {
	from.count--
	from.kbps -= l.kbps
	from.load -= l.weight()
	a.addToMetrics(from, -l.weight())
	a.assignTo(l, to, "balance")
}
