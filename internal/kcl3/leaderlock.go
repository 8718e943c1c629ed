package kcl3

import (
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// Times of the leader's lock. Other workers judge a lock by the duration that is stored in it. So
// workers with different times can share a lock. The KCL's defaults are 120 s and 30 s.
const (
	// LockDuration is how long the lock belongs to this worker after a heartbeat.
	LockDuration = 20 * time.Second
	// LockHeartbeat is how often the lock is renewed.
	LockHeartbeat = 5 * time.Second
	// foreignLockDuration is the duration of a lock that does not store its own.
	foreignLockDuration = 2 * time.Minute
)

// LockWatch observes the lock for a worker that is not the leader. Keep one as long as the process
// runs. A new watch for each attempt would never see the lock expire. It uses only the monotonic
// clock of this process. The zero value has observed nothing.
type LockWatch struct {
	seen  bool
	lock  *leases.LeaderLock // as read last; nil: absent
	since time.Duration      // when its version was read first
}

// Observe compares the lock as it was read with the one before; at is when the answer came. Reads
// may be any time apart. A version never comes back, so two reads of one version prove that no
// heartbeat was sent in between.
func (w *LockWatch) Observe(read *leases.LeaderLock, at time.Duration) {
	same := w.seen && read != nil && w.lock != nil && SameHeartbeat(*read, *w.lock)
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

// Free tells whether the lock as seen last may be acquired now, on condition that it is unchanged.
// That is true if there is no lock, if it was released, or if its version is older than the
// duration that is stored in it.
func (w *LockWatch) Free(at time.Duration) bool {
	switch {
	case !w.seen:
		return false
	case w.lock == nil || w.lock.Released:
		return true
	default:
		return at-w.since > Lifetime(*w.lock)
	}
}

// Wait returns the time until the next read. The lock will be free then, if no heartbeat comes.
// Wait returns LockHeartbeat at most, because the lock may be released earlier.
func (w *LockWatch) Wait(at time.Duration) time.Duration {
	if !w.seen || w.Free(at) {
		return 0
	}
	return min(w.since+Lifetime(*w.lock)+time.Millisecond-at, LockHeartbeat)
}

// SameHeartbeat tells whether l and m are the same heartbeat. It shows whether a write whose answer
// was lost has taken effect.
func SameHeartbeat(l, m leases.LeaderLock) bool {
	return l.Owner == m.Owner && l.Version == m.Version && l.Released == m.Released
}

// Lifetime returns how long one version of a lock keeps others away.
func Lifetime(l leases.LeaderLock) time.Duration {
	if l.Duration <= 0 {
		return foreignLockDuration
	}
	return l.Duration
}
