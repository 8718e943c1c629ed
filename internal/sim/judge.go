package sim

import (
	"strconv"
	"strings"
	"time"
)

// Bounds in time. Each follows from the defaults of scheduler.Config.
const (
	stallBound  = 2*time.Minute + 45*time.Second // StallTimeout, and the watchdog's listings
	drainBound  = 30 * time.Minute               // after the last fault
	tipBound    = 2 * time.Minute                // for records of a healthy fleet
	expiryBound = 15 * time.Minute               // where shards have expired, which must be confirmed
	healthBound = 10 * time.Minute               // after the last fault
)

// judge tests what needs more than one event.
func (w *World) judge() {
	idle := w.check.Idle(stallBound)
	if len(idle) == 0 || !green(w.live) {
		w.greenSince = time.Now()
	}
	if time.Since(w.greenSince) > stallBound {
		for key, since := range idle {
			w.check.Violate("L3", key, "no progress since %s, and all workers are healthy", since.Format(time.TimeOnly))
		}
	}
	switch w.scenario.Kind {
	case liveness:
		bound := 2*w.scenario.failover() + 10*time.Second
		for key, since := range w.check.Idle(bound) {
			if time.Since(w.changed) > bound {
				w.check.Violate("L1", key, "no progress since %s", since.Format(time.TimeOnly))
			}
		}
	case quiet:
		for _, k := range w.live {
			if err := k.Healthy(); err != nil && time.Since(k.started) > time.Minute {
				w.check.Violate("L3", "", "%s is not healthy in a quiet world: %v", k.name, err)
			}
		}
	}
}

// green tells whether all workers are healthy, and have been there long enough to see a stall.
func green(live []*worker) bool {
	for _, k := range live {
		if k.Healthy() != nil || time.Since(k.started) < stallBound {
			return false
		}
	}
	return true
}

// end heals the world, and waits until all records are processed and all workers are healthy.
func (w *World) end() (drain time.Duration) {
	w.heal()
	if len(w.live) == 0 {
		w.start()
	}
	begin := time.Now()
	if !w.drains(drainBound, "after the last fault") {
		return drainBound
	}
	drain = time.Since(begin)
	for i := range keys {
		w.stream.putKey("key"+strconv.Itoa(i), w.dice.roll("last", i))
		time.Sleep(time.Microsecond)
	}
	bound := tipBound
	if w.scenario.Has("day-off") {
		bound = expiryBound
	}
	if !w.drains(bound, "after the last ones were written") {
		return drain
	}
	for _, k := range w.live {
		if !w.until(healthBound, func() bool { return k.Healthy() == nil }) {
			w.check.Violate("L3", "", "%s is not healthy after all: %v", k.name, k.Healthy())
		}
	}
	for _, k := range w.live {
		w.stop(k)
		<-k.done
		if k.err != nil {
			w.check.Violate("L6", "", "%s ends with %v", k.name, k.err)
		}
	}
	return drain
}

// drains waits until all records are processed, and checks that it does not take longer than bound
// (L7). when says since when. A report shows the first shard that is left.
func (w *World) drains(bound time.Duration, when string) bool {
	if w.until(bound, func() bool {
		w.stream.observe()
		w.supervise()
		left, _ := w.check.Left()
		return left == 0 || len(w.check.Violations()) > 0
	}) {
		return true
	}
	left, some := w.check.Left()
	shard, _, _ := strings.Cut(some[0], ": ")
	w.check.Violate("L7", shard, "%d records are not processed %s %s: %v", left, bound, when, some)
	return false
}

// until waits until cond holds. It returns false if that takes longer than bound.
func (w *World) until(bound time.Duration, cond func() bool) bool {
	for begin := time.Now(); !cond(); {
		if time.Since(begin) > bound {
			return false
		}
		time.Sleep(500 * time.Millisecond)
	}
	return true
}
