package kcl3

import "math"

// certainDeviations is the number of standard deviations that a difference must have. A smaller
// difference may be chance.
const certainDeviations = 5

// enoughSamples is the number of samples that show how much a metric varies.
const enoughSamples = 5

// mayBeChance tells whether all differences between workers in one metric may be chance. The KCL
// ignores chance when it evens out the load as in assign_variance.go. It moves leases for bursts.
func (a *assigner) mayBeChance(name string) bool {
	if !a.Config.Certain {
		return false
	}
	if name == loadMetric {
		return a.loadMayBeChance()
	}
	// The samples of all workers together show how much one sample varies. Ten samples of one
	// worker may be alike by chance, and would show no variation.
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

// loadMayBeChance is mayBeChance for throughput. Workers that report metrics count as one.
func (a *assigner) loadMayBeChance() bool {
	withMetrics := map[*member]bool{}
	var load, variance float64
	for _, m := range a.withMetrics {
		withMetrics[m] = true
		load, variance = load+m.load, variance+m.variance
	}
	n := float64(len(a.withMetrics))
	if n > 0 && math.Abs(load/n-a.averageLoad) > certainDeviations*math.Sqrt(variance)/n {
		return false
	}
	for _, m := range a.members {
		if !withMetrics[m] && math.Abs(m.load-a.averageLoad) > certainDeviations*math.Sqrt(m.variance) {
			return false
		}
	}
	return true
}

// dispersion is the mean and the variation of the samples of a metric. The variation is computed
// from the steps between neighbouring samples.
type dispersion struct {
	n, mean float64
	steps   float64 // half of the sum of the squares of the steps
}

// dispersionOf computes the dispersion of samples.
func dispersionOf(samples []float64) (d dispersion) {
	last := 0.0
	for _, s := range samples {
		if s < 0 { // the sensor failed
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
