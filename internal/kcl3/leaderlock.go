package kcl3

import (
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// The leader's lock as this library writes it. Others judge a lock by the
// duration that is stored in it, so workers with other times get along. (The
// KCL's defaults are 120 s and 30 s.)
const (
	// LockDuration is for how long the lock is this worker's without a heartbeat.
	LockDuration = 20 * time.Second
	// LockHeartbeat is how often the lock is renewed.
	LockHeartbeat = 5 * time.Second
	// foreignLockDuration is that of a lock that does not tell its own.
	foreignLockDuration = 2 * time.Minute
)

// LockWatch is what a worker that is not the leader has seen of the lock, kept
// from one look to the next for as long as the process runs: an observation
// that is begun anew with every attempt never ends. It knows only this process's
// monotonic clock. The zero value has seen nothing.
type LockWatch struct {
	seen  bool
	lock  *leases.LeaderLock // as read last; nil: absent
	since time.Duration      // when its version was read first
}

// See takes in what was read; at is when the answer was there. Looks may be as
// far apart as they like: versions never come back, so two equal ones say that
// there was no heartbeat in between.
func (w *LockWatch) See(read *leases.LeaderLock, at time.Duration) {
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

// Free tells whether the lock as seen last may be acquired now, on condition
// that it still is as it was: there is none, it was released, or it had the same
// version for longer than the duration that is stored in it.
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

// Wait is how long to wait before the next look: until the lock will be free if
// nothing happens, but one heartbeat at most, as it may be released.
func (w *LockWatch) Wait(at time.Duration) time.Duration {
	if !w.seen || w.Free(at) {
		return 0
	}
	return min(w.since+Lifetime(*w.lock)+time.Millisecond-at, LockHeartbeat)
}

// SameHeartbeat tells whether l and m are one and the same heartbeat. A write whose
// answer was lost has succeeded if what is read afterwards is what was written.
func SameHeartbeat(l, m leases.LeaderLock) bool {
	return l.Owner == m.Owner && l.Version == m.Version && l.Released == m.Released
}

// Lifetime is for how long the same version of a lock keeps others away.
func Lifetime(l leases.LeaderLock) time.Duration {
	if l.Duration <= 0 {
		return foreignLockDuration
	}
	return l.Duration
}
