package leases

import (
	"math"
	"slices"
)

// unlikely tells whether the load of some worker differs from the average by more
// than chance, as far as can be told by now. The KCL's way to even out the load,
// which assign follows, knows no chance, and would move leases for bursts. Where
// workers report other metrics, what their leases deliver is not their load.
func unlikely(v *view, workers []WorkerMetrics) bool {
	if slices.ContainsFunc(workers, func(m WorkerMetrics) bool { return !m.plain() }) {
		return true
	}
	load, total := map[string]burden{}, 0.0
	for _, m := range workers {
		load[m.Worker] = burden{}
	}
	for _, r := range v.rows {
		if b, ok := load[r.Owner]; ok && !r.Finished() {
			l := fleetLease{kbps: r.kbps}
			load[r.Owner] = burden{b.kbps + l.weight(), b.doubt + r.doubt}
			total += l.weight()
		}
	}
	average := total / float64(len(load))
	for _, b := range load {
		if off := math.Abs(b.kbps - average); off > certain*math.Sqrt(b.doubt) {
			return v.calm
		}
	}
	return false
}
