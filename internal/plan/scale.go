package plan

import (
	"math"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// Constants of the balance by throughput.
const (
	uneven            = 0.2            // of the average load: the least difference that moves a lease
	certainDeviations = 5              // standard deviations: a smaller difference may be chance
	heaviestPart      = 0.75           // of a difference: the heaviest lease that moves for it
	idleShare         = 0.1            // of an average lease: the load of an idle lease
	movesFade         = 24 * time.Hour // the time after which a move counts for 1/e
)

// settling returns how long a lease stays after its first move for balance. It is also how long a
// worker watches before it moves any lease.
func settling(failover time.Duration) time.Duration { return 30 * failover }

// pace returns the time between two moves to this worker, and the length of a period of
// measurement.
func pace(failover time.Duration) time.Duration { return 6 * failover }

// periodsAveraged is the number of periods over which throughput is averaged.
const periodsAveraged = 10

// Scale keeps the measured throughput of all leases. The zero value has measured nothing. It is not
// safe for concurrent use.
type Scale struct {
	leases    map[string]weighed
	begun     time.Duration // when the first listing was seen, monotonic
	periodEnd time.Duration // when the last period ended, monotonic
	moved     time.Duration // when a lease moved to this worker for balance, monotonic
}

// weighed keeps the measurements of one lease.
type weighed struct {
	delivered       estimate
	seen            time.Duration
	owner           string
	expired         bool
	rowKBps         float64       // of the row, as seen last
	rowOwner        string        // the actual owner at that time
	unmeasured      bool          // rowOwner has not written rowKBps
	unmeasuredSince time.Duration // when that began, monotonic
	moves           float64       // the moves for balance; old ones count less
	moved           time.Duration // when it moved last, monotonic
}

// stays returns how long the lease does not move again. Each move doubles the time, so that varying
// loads do not keep leases moving.
func (w weighed) stays(failover time.Duration) time.Duration {
	if w.moves == 0 {
		return 0
	}
	return time.Duration(float64(settling(failover)) * math.Exp2(w.moves-1))
}

// measured returns the throughput of the row, or a negative number when the owner does not measure
// it. Owners of KCL 1.x and 2.x leave the value of an earlier owner in the row. An owner of another
// library counts as one of them until the value changes. If it does not change for a while, the
// earlier measurements are forgotten.
func (w *weighed) measured(failover time.Duration, l leases.Lease, now time.Duration) float64 {
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
	if now-w.unmeasuredSince >= pace(failover) {
		w.delivered = estimate{}
	}
	return -1
}

// Weigh adds the throughput of each lease to a view, for a balance by the workers or by a leader.
// failover is FailoverTime, and now is the monotonic time of the listing.
func (s *Scale) Weigh(failover time.Duration, v *View, now time.Duration) {
	anew := s.leases == nil || now-s.periodEnd > settling(failover) // the last listing is too old
	if anew {
		s.begun, s.periodEnd, s.moved = now, now, now-pace(failover)
	}
	ended := now-s.periodEnd >= pace(failover)
	if ended {
		s.periodEnd = now
	}
	next := make(map[string]weighed, len(v.Rows))
	for i := range v.Rows {
		r := &v.Rows[i]
		w, ok := s.leases[r.Key]
		kbps := w.measured(failover, r.Lease, now)
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
			if w.moves == 0 || now-w.moved >= settling(failover) { // a move within settling was not for balance
				w.moves = 1 + w.moves*math.Exp(-float64(now-w.moved)/float64(movesFade))
			}
			w.moved = now
			if r.Owner == v.Me {
				s.moved = now
			}
		}
		w.seen, w.owner, w.expired = now, r.Owner, r.Expired
		next[r.Key] = w
		r.KBps, r.Doubt = w.delivered.value(kbps)
		stay := w.stays(failover)
		r.Settling, r.Restless = now-w.moved < min(stay, settling(failover)), now-w.moved < stay
	}
	s.leases = next
	v.Calm = now-s.begun >= settling(failover) && now-s.moved >= pace(failover)
}
