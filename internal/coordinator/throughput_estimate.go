package coordinator

// estimate is what a lease delivers on average, and how far from the truth that
// may be. It is made of looks, each of them the average of a minute or so. The
// zero value knows nothing.
//
// How far it may be off is told by how much each look differs from the one before
// it. So bursts are not taken for a load that has changed: one raises the doubt
// more than the average. And a load that has changed for good makes one look
// differ, and casts little doubt on all that come after it.
type estimate struct {
	periods float64
	over    float64 // how many looks the mean stands for
	mean    float64
	jitter  float64 // variance of a look
	last    float64

	sum, passed float64 // of the look that has not ended yet
}

// add takes in the throughput of the last so many seconds; negative: not known.
func (e *estimate) add(kbps, seconds float64) {
	if kbps >= 0 && seconds > 0 {
		e.sum += kbps * seconds
		e.passed += seconds
	}
}

// endPeriod ends a period. All looks weigh the same until there are window of them; then
// older ones weigh less and less.
func (e *estimate) endPeriod(window float64) {
	if e.passed == 0 {
		return
	}
	now := e.sum / e.passed
	e.sum, e.passed = 0, 0
	if e.periods++; e.periods > 1 {
		step := now - e.last
		e.jitter += max(1/(e.periods-1), 1/window) * (step*step/2 - e.jitter)
	}
	e.mean += max(1/e.periods, 1/window) * (now - e.mean)
	e.last, e.over = now, min(e.periods, 2*window-1)
}

// value returns the average and its variance. Before the first look has ended it
// is what is measured now, if anything.
func (e *estimate) value(now float64) (kbps, doubt float64) {
	if e.periods == 0 {
		return now, 0
	}
	return e.mean, e.jitter / e.over
}
