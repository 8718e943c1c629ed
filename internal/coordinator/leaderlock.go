package coordinator

import (
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// The leader's lock as this library writes it. Others judge a lock by the
// duration that is stored in it, so workers with other times get along. (The
// KCL's defaults are 120 s and 30 s.)
const (
	lockDuration  = 20 * time.Second
	lockHeartbeat = 5 * time.Second
	// foreignLockDuration is that of a lock that does not tell its own.
	foreignLockDuration = 2 * time.Minute
)

// lockWatch is what a worker that is not the leader has seen of the lock, kept
// from one look to the next for as long as the process runs: an observation
// that is begun anew with every attempt never ends. It knows only this process's
// monotonic clock. The zero value has seen nothing.
type lockWatch struct {
	seen  bool
	lock  *leases.LeaderLock // as read last; nil: absent
	since time.Duration      // when its version was read first
}

// see takes in what was read; at is when the answer was there. Looks may be as
// far apart as they like: versions never come back, so two equal ones say that
// there was no heartbeat in between.
func (w *lockWatch) see(read *leases.LeaderLock, at time.Duration) {
	same := w.seen && read != nil && w.lock != nil && sameHeartbeat(*read, *w.lock)
	if !same {
		w.since = at
	}
	w.seen = true
	w.lock = nil
	if read != nil {
		l := *read
		w.lock = &l
	}
}

// free tells whether the lock as seen last may be acquired now, on condition
// that it still is as it was: there is none, it was released, or it had the same
// version for longer than the duration that is stored in it.
func (w *lockWatch) free(at time.Duration) bool {
	switch {
	case !w.seen:
		return false
	case w.lock == nil || w.lock.Released:
		return true
	default:
		return at-w.since > lifetime(*w.lock)
	}
}

// look is how long to wait before the next look: until the lock will be free if
// nothing happens, but one heartbeat at most, as it may be released.
func (w *lockWatch) look(at time.Duration) time.Duration {
	if !w.seen || w.free(at) {
		return 0
	}
	return min(w.since+lifetime(*w.lock)+time.Millisecond-at, lockHeartbeat)
}

// sameHeartbeat tells whether l and m are one and the same heartbeat. A write whose
// answer was lost has succeeded if what is read afterwards is what was written.
func sameHeartbeat(l, m leases.LeaderLock) bool {
	return l.Owner == m.Owner && l.Version == m.Version && l.Released == m.Released
}

// lifetime is for how long the same version of a lock keeps others away.
func lifetime(l leases.LeaderLock) time.Duration {
	if l.Duration <= 0 {
		return foreignLockDuration
	}
	return l.Duration
}

// lockTerm is the lock while it is this worker's. The others count from when
// they saw a heartbeat, which is after it was sent; so until its duration has
// passed since then, nobody else is the leader.
type lockTerm struct {
	lock leases.LeaderLock // as written last
	sent instant           // when that was begun
}

// due is how long to wait before the next heartbeat.
func (t lockTerm) due(now instant) time.Duration {
	return max(0, lockHeartbeat-now.since(t.sent))
}

// holds tells whether this worker may still act as the leader: a while before
// the others may take the lock it must have stopped.
func (t lockTerm) holds(now instant) bool {
	return now.since(t.sent) < time.Duration(trusted*float64(lifetime(t.lock)))
}

// neglect tells which leases the leader leaves lying: it is dead and its lock
// not free yet, it cannot reach the table, or it keeps its lock and does nothing
// else. It is kept from one scan to the next.
type neglect struct {
	last time.Duration
	seen map[string]idleLease
}

// idleLease is a lease that nobody reads.
type idleLease struct {
	since   time.Duration
	owner   string
	counter int64
	excused bool // a long time without a scan was excused, see sighting
}

// patienceWithLeader is for how long a lease may lie there, from its last
// renewal, or from when it was first seen without an owner: it expires, and
// the leader of the KCL assigns leases every 2 failover times.
func patienceWithLeader(failover time.Duration) time.Duration {
	return respect(failover) + 2*failover + 2*time.Second
}

// respect is how long an observer waits for a counter to move.
func respect(failover time.Duration) time.Duration {
	return time.Duration(respected * float64(failover))
}

// note takes in a scan and returns the keys of the leases that any worker may
// take now, whoever the leader is. A lease that is assigned, and not renewed by
// its new owner either, has not been looked after.
func (n *neglect) note(at time.Duration, rows []row, failover time.Duration) map[string]bool {
	late := at-n.last > failover // after an outage everybody is late, the leader too
	n.last = at
	seen, rescue := map[string]idleLease{}, map[string]bool{}
	for _, r := range rows {
		if r.Finished() {
			continue
		}
		idle, known := n.seen[r.Key]
		if late && !idle.excused {
			idle, known = idleLease{excused: true}, false
		}
		free := r.ActualOwner() == ""
		renewed := known && idle.owner == r.ActualOwner() && !free && idle.counter != r.Counter
		switch {
		case renewed:
			continue
		case !known && free:
			idle.since = at
		case !known && r.expired:
			idle.since = at - respect(failover)
		case !known:
			continue
		}
		idle.owner, idle.counter = r.ActualOwner(), r.Counter
		seen[r.Key] = idle
		if (free || r.expired) && at-idle.since > patienceWithLeader(failover) {
			rescue[r.Key] = true
		}
	}
	n.seen = seen
	return rescue
}
