package leases

import (
	"math"
	"time"
)

// Balance says what leases are evened out by between workers that take them by
// themselves. It has no effect while a leader assigns the leases.
type Balance int

const (
	// BalanceLeaseCount evens out the number of leases, to within one.
	BalanceLeaseCount Balance = iota
	// BalanceThroughput evens out what the workers deliver, as measured by the
	// owner of each lease ([Holder.Delivered]), to within a fifth of the average,
	// or as near as single leases allow. An idle lease counts for a tenth of an
	// average one. A lease does not move again within 30 FailoverTime, and leases
	// that nobody holds are shared out by number.
	BalanceThroughput
)

// String returns the word that logs use.
func (b Balance) String() string {
	if b == BalanceThroughput {
		return "throughput"
	}
	return "lease count"
}

// Of the balance by throughput.
const (
	uneven    = 0.2  // of the average load: a difference that is worth a move
	heaviest  = 0.75 // of a difference: a lease that lessens it well
	idleShare = 0.1  // of an average lease: what one without data counts for
)

// settling is over which time throughput is averaged before leases move for it,
// and for how long a lease that has moved stays.
func (c Config) settling() time.Duration { return 30 * c.FailoverTime }

// pace is how long a worker waits between such moves.
func (c Config) pace() time.Duration { return 6 * c.FailoverTime }

// scale is what a coordinator remembers of throughput, of its goroutine.
type scale struct {
	leases map[string]weighed
	begun  time.Duration // when the first listing was seen, monotonic
	moved  time.Duration // when a lease moved to this worker for balance, monotonic
}

// weighed is what was seen of one lease.
type weighed struct {
	kbps    float64 // the slow average; negative when not known
	seen    time.Duration
	owner   string
	expired bool
	moved   time.Duration // when it moved for balance
	ever    bool          // moved is set
}

// weigh completes a view with what leases are balanced by.
func (s *scale) weigh(cfg *Config, v *view, now time.Duration) {
	v.by = cfg.Balance
	if cfg.Balance != BalanceThroughput {
		return
	}
	if s.leases == nil {
		s.begun, s.moved = now, now-cfg.pace()
	}
	next := make(map[string]weighed, len(v.rows))
	for i := range v.rows {
		r := &v.rows[i]
		w, ok := s.leases[r.Key]
		switch {
		case !ok || w.kbps < 0:
			w.kbps = r.ThroughputKBps
		case r.ThroughputKBps >= 0:
			w.kbps += (1 - math.Exp(-float64(now-w.seen)/float64(cfg.settling()))) * (r.ThroughputKBps - w.kbps)
		}
		if ok && w.owner != "" && r.Owner != "" && w.owner != r.Owner && !w.expired {
			w.moved, w.ever = now, true
			if r.Owner == v.me {
				s.moved = now
			}
		}
		w.seen, w.owner, w.expired = now, r.Owner, r.expired
		next[r.Key] = w
		r.kbps, r.settling = w.kbps, w.ever && now-w.moved < cfg.settling()
	}
	s.leases = next
	v.calm = now-s.begun >= cfg.settling() && now-s.moved >= cfg.pace()
}
