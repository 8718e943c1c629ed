package coordinator

import (
	"math"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// Of the balance by throughput.
const (
	uneven            = 0.2            // of the average load: a difference that is worth a move
	certainDeviations = 5              // standard deviations: a difference that is no chance
	heaviestPart      = 0.75           // of a difference: a lease that lessens it well
	idleShare         = 0.1            // of an average lease: what one without data counts for
	movesFade         = 24 * time.Hour // the time in which a move comes to count for 1/e
)

// settling is for how long a lease stays that has moved for the first time, and
// for how long a worker watches before it moves any.
func (c Config) settling() time.Duration { return 30 * c.FailoverTime }

// pace is how long a worker waits between such moves, and how long a look at what
// leases deliver takes.
func (c Config) pace() time.Duration { return 6 * c.FailoverTime }

// periodsAveraged is over how many of them throughput is averaged.
const periodsAveraged = 10

// scale is what a coordinator remembers of throughput, of its goroutine.
type scale struct {
	leases    map[string]weighed
	begun     time.Duration // when the first listing was seen, monotonic
	periodEnd time.Duration // when the last look ended, monotonic
	moved     time.Duration // when a lease moved to this worker for balance, monotonic
}

// weighed is what was seen of one lease.
type weighed struct {
	delivered       estimate
	seen            time.Duration
	owner           string
	expired         bool
	rowKBps         float64       // what its row said, see measured
	rowOwner        string        // who owned it then
	unmeasured      bool          // that one has not written it
	unmeasuredSince time.Duration // since when
	moves           float64       // for balance; those of long ago count less
	moved           time.Duration // the last of them
}

// stays is for how long the lease does not move again: longer each time, so that
// loads that never come to rest do not keep leases moving.
func (w weighed) stays(cfg *Config) time.Duration {
	if w.moves == 0 {
		return 0
	}
	return time.Duration(float64(cfg.settling()) * math.Exp2(w.moves-1))
}

// measured is the throughput that the row says, and negative where nobody has
// measured it: owners of KCL 1.x and 2.x leave there what an earlier owner wrote. One
// of another library counts as such until the value changes. What was measured before
// is forgotten when that lasts.
func (w *weighed) measured(cfg *Config, l leases.Lease, now time.Duration) float64 {
	owner := l.ActualOwner()
	switch {
	case owner == "" || owner == l.NativeOwner:
		w.unmeasured = false
	case owner != w.rowOwner:
		w.unmeasured, w.unmeasuredSince = true, now
	case l.ThroughputKBps != w.rowKBps:
		w.unmeasured = false
	}
	w.rowKBps, w.rowOwner = l.ThroughputKBps, owner
	if !w.unmeasured || l.ThroughputKBps <= 0 {
		return l.ThroughputKBps
	}
	if now-w.unmeasuredSince >= cfg.pace() {
		w.delivered = estimate{}
	}
	return -1
}

// weigh completes a view with what leases are balanced by, by the workers
// themselves or by a leader.
func (s *scale) weigh(cfg *Config, v *view, now time.Duration) {
	anew := s.leases == nil || now-s.periodEnd > cfg.settling() // nobody looked for a while
	if anew {
		s.begun, s.periodEnd, s.moved = now, now, now-cfg.pace()
	}
	ended := now-s.periodEnd >= cfg.pace()
	if ended {
		s.periodEnd = now
	}
	next := make(map[string]weighed, len(v.rows))
	for i := range v.rows {
		r := &v.rows[i]
		w, ok := s.leases[r.Key]
		kbps := w.measured(cfg, r.Lease, now)
		switch {
		case anew:
			w.delivered = estimate{}
		case ok:
			w.delivered.add(kbps, (now - w.seen).Seconds())
		}
		if ended {
			w.delivered.endPeriod(periodsAveraged)
		}
		if ok && w.owner != "" && r.Owner != "" && w.owner != r.Owner && !w.expired {
			if w.moves == 0 || now-w.moved >= cfg.settling() { // else it was not for what it delivers
				w.moves = 1 + w.moves*math.Exp(-float64(now-w.moved)/float64(movesFade))
			}
			w.moved = now
			if r.Owner == v.me {
				s.moved = now
			}
		}
		w.seen, w.owner, w.expired = now, r.Owner, r.expired
		next[r.Key] = w
		r.kbps, r.doubt = w.delivered.value(kbps)
		stay := w.stays(cfg)
		r.settling, r.restless = now-w.moved < min(stay, cfg.settling()), now-w.moved < stay
	}
	s.leases = next
	v.calm = now-s.begun >= cfg.settling() && now-s.moved >= cfg.pace()
}
