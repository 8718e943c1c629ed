package kcl3

import "math"

// sure is how many standard deviations are no chance.
const certainDeviations = 5

// enoughSamples of a metric say how much it varies.
const enoughSamples = 5

// chance tells whether all that workers differ by, in one metric, may be chance, as
// far as can be told by now. The KCL's way to even out the load, which assign
// follows, knows no chance, and would move leases for bursts.
func (a *assigner) mayBeChance(name string) bool {
	if !a.Config.Certain {
		return false
	}
	if name == loadMetric {
		return a.loadMayBeChance()
	}
	// All samples together say how much one of them varies: ten that are alike by
	// chance would say that nothing does.
	var all dispersion
	var sum float64
	means := map[*member]dispersion{}
	for _, m := range a.members {
		if d := dispersionOf(m.samples[name]); m.reports(name) && d.n >= enoughSamples {
			means[m] = d
			sum += d.mean
			all.steps, all.n = all.steps+d.steps, all.n+d.n-1
		}
	}
	average := sum / float64(len(means))
	for _, d := range means {
		if math.Abs(d.mean-average) > certainDeviations*math.Sqrt(all.steps/all.n/d.n) {
			return false
		}
	}
	return true
}

// loadMayBeChance is chance for throughput. Workers that report metrics count together.
func (a *assigner) loadMayBeChance() bool {
	sighted := map[*member]bool{}
	var load, doubt float64
	for _, m := range a.sighted {
		sighted[m] = true
		load, doubt = load+m.load, doubt+m.doubt
	}
	if n := float64(len(a.sighted)); n > 0 && math.Abs(load/n-a.target) > certainDeviations*math.Sqrt(doubt)/n {
		return false
	}
	for _, m := range a.members {
		if !sighted[m] && math.Abs(m.load-a.target) > certainDeviations*math.Sqrt(m.doubt) {
			return false
		}
	}
	return true
}

// dispersion is what samples say of a metric. How much they vary is told by how much
// each differs from the one before it, as in estimate.
type dispersion struct {
	n, mean float64
	steps   float64 // the sum of what each step adds to the variance
}

func dispersionOf(samples []float64) (d dispersion) {
	last := 0.0
	for _, s := range samples {
		if s < 0 { // it could not be taken
			continue
		}
		if d.n++; d.n > 1 {
			d.steps += (s - last) * (s - last) / 2
		}
		d.mean += (s - d.mean) / d.n
		last = s
	}
	return d
}
