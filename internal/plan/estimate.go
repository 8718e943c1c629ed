package plan

// estimate is the average throughput of a lease, with its variance. It is computed from periods of
// a minute or so, each with its own average. The zero value has measured nothing.
//
// The variance is computed from the steps between neighbouring periods. So a burst raises the
// variance more than the average, and is not taken for a changed load. A load that has changed for
// good makes one large step, and raises the variance little.
type estimate struct {
	periods     float64
	meanPeriods float64 // the number of periods that the mean stands for
	mean        float64
	variance    float64 // variance of a period
	lastPeriod  float64

	sum, passed float64 // of the present period
}

// add notes the throughput of the last seconds. A negative throughput is not known, and ignored.
func (e *estimate) add(kbps, seconds float64) {
	if kbps >= 0 && seconds > 0 {
		e.sum += kbps * seconds
		e.passed += seconds
	}
}

// endPeriod ends a period. The first periods all have the same weight; their number is window.
// After that an older period has less weight than a newer one.
func (e *estimate) endPeriod(window float64) {
	if e.passed == 0 {
		return
	}
	now := e.sum / e.passed
	e.sum, e.passed = 0, 0
	if e.periods++; e.periods > 1 {
		step := now - e.lastPeriod
		e.variance += max(1/(e.periods-1), 1/window) * (step*step/2 - e.variance)
	}
	e.mean += max(1/e.periods, 1/window) * (now - e.mean)
	e.lastPeriod, e.meanPeriods = now, min(e.periods, 2*window-1)
}

// value returns the average and its variance. Before the first period has ended, the average is
// now, the present throughput, and the variance is 0.
func (e *estimate) value(now float64) (kbps, variance float64) {
	if e.periods == 0 {
		return now, 0
	}
	return e.mean, e.variance / e.meanPeriods
}
