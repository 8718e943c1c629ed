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

// settlingTime returns how long a lease stays after its first move for balance. A worker also
// watches that long before it moves any lease.
func settlingTime(failover time.Duration) time.Duration { return 30 * failover }

// movePeriod returns the time between two moves to this worker, and the length of a period of
// measurement.
func movePeriod(failover time.Duration) time.Duration { return 6 * failover }

// periodsAveraged is the number of periods over which throughput is averaged.
const periodsAveraged = 10

// Scale keeps the measured throughput of all leases. The zero value has measured nothing. It is not
// safe for concurrent use.
type Scale struct {
	leases      map[string]measurement
	firstListed time.Duration // when the first listing was seen, monotonic
	periodEnd   time.Duration // when the last period ended, monotonic
	movedAt     time.Duration // when a lease moved to this worker for balance, monotonic
}

// measurement keeps the measurements of one lease.
type measurement struct {
	throughput      estimate
	seenAt          time.Duration
	owner           string
	expired         bool
	rowKBps         float64       // of the row, as seen last
	rowOwner        string        // the actual owner at that time
	unmeasured      bool          // rowOwner has not written rowKBps
	unmeasuredSince time.Duration // when that began, monotonic
	moves           float64       // the moves for balance; old ones count less
	movedAt         time.Duration // when it moved last, monotonic
}

// stayTime returns how long the lease stays after its last move. Each move doubles the time, so
// that varying loads do not keep leases moving.
func (w measurement) stayTime(failover time.Duration) time.Duration {
	if w.moves == 0 {
		return 0
	}
	return time.Duration(float64(settlingTime(failover)) * math.Exp2(w.moves-1))
}

// rowThroughput returns the throughput of the row, or a negative number when the owner does not
// measure it. Owners of KCL 1.x and 2.x leave the value of an earlier owner in the row. An owner of
// another library counts as one of them until the value changes. If it does not change for a while,
// the earlier measurements are forgotten.
func (w *measurement) rowThroughput(failover time.Duration, l leases.Lease, now time.Duration) float64 {
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
	if now-w.unmeasuredSince >= movePeriod(failover) {
		w.throughput = estimate{}
	}
	return -1
}

// AddThroughput measures the throughput of each lease, and puts it into the rows of v. The workers
// or a leader even out the load by it. It also sets v.Calm. failover is FailoverTime, and now is
// the monotonic time of the listing.
func (s *Scale) AddThroughput(failover time.Duration, v *View, now time.Duration) {
	restart := s.leases == nil || now-s.periodEnd > settlingTime(failover) // the last listing is too old
	if restart {
		s.firstListed, s.periodEnd, s.movedAt = now, now, now-movePeriod(failover)
	}
	ended := now-s.periodEnd >= movePeriod(failover)
	if ended {
		s.periodEnd = now
	}
	next := make(map[string]measurement, len(v.Rows))
	for i := range v.Rows {
		r := &v.Rows[i]
		w, ok := s.leases[r.Key]
		kbps := w.rowThroughput(failover, r.Lease, now)
		switch {
		case restart:
			w.throughput = estimate{}
		case ok:
			w.throughput.add(kbps, (now - w.seenAt).Seconds())
		}
		if ended {
			w.throughput.endPeriod(periodsAveraged)
		}
		if ok && w.owner != "" && r.Owner != "" && w.owner != r.Owner && !w.expired {
			if w.moves == 0 || now-w.movedAt >= settlingTime(failover) { // a move during settlingTime was not for balance
				w.moves = 1 + w.moves*math.Exp(-float64(now-w.movedAt)/float64(movesFade))
			}
			w.movedAt = now
			if r.Owner == v.Me {
				s.movedAt = now
			}
		}
		w.seenAt, w.owner, w.expired = now, r.Owner, r.Expired
		next[r.Key] = w
		r.KBps, r.Variance = w.throughput.value(kbps)
		stay := w.stayTime(failover)
		r.Settling, r.Restless = now-w.movedAt < min(stay, settlingTime(failover)), now-w.movedAt < stay
	}
	s.leases = next
	v.Calm = now-s.firstListed >= settlingTime(failover) && now-s.movedAt >= movePeriod(failover)
}
