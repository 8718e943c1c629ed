package election

import (
	"context"
	"errors"
	"slices"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/leases"
)

// release removes the lock, so that others need not wait until it has expired.
func (e *Elector) release(term lockTerm) {
	e.endTerm() // first, because the release may take time
	ctx := e.cfg.LastCalls()
	err := e.call(ctx, func(ctx context.Context) error { return e.cfg.Store.ReleaseLeader(ctx, term.lock) })
	if _, conflict := errors.AsType[*leases.ConflictError](err); conflict {
		err = e.releaseSent(ctx)
	}
	e.unconfirmed = nil
	e.warnUnreleased(err)
}

// releaseSent removes the lock if a write whose outcome is not known has made it.
func (e *Elector) releaseSent(ctx context.Context) error {
	if len(e.unconfirmed) == 0 {
		return nil
	}
	lock, err := e.readLock(ctx)
	if mine, ok := e.ownAttempt(lock); err == nil && ok {
		err = e.call(ctx, func(ctx context.Context) error { return e.cfg.Store.ReleaseLeader(ctx, mine.lock) })
	}
	e.unconfirmed = nil
	return err
}

// warnUnreleased warns of a lock that could not be removed. A lock of another worker is no failure.
func (e *Elector) warnUnreleased(err error) {
	if _, conflict := errors.AsType[*leases.ConflictError](err); err != nil && !conflict {
		e.cfg.Log.Warn("lock of the leader was not released, and will expire", "err", err)
	}
}

// readLock returns the lock, or nil when there is none.
func (e *Elector) readLock(ctx context.Context) (*leases.LeaderLock, error) {
	var lock *leases.LeaderLock
	err := e.call(ctx, func(ctx context.Context) (err error) {
		lock, err = e.cfg.Store.Leader(ctx)
		return err
	})
	return lock, err
}

// call makes one call of the store with a deadline.
func (e *Elector) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	err := f(ctx)
	if _, conflict := errors.AsType[*leases.ConflictError](err); err != nil && !conflict {
		e.cfg.Metrics.LeaseStoreError("leader")
	}
	return err
}

// rememberAttempt keeps a write whose outcome is not known, for as long as it could make this
// worker the leader.
func (e *Elector) rememberAttempt(t lockTerm) {
	now := e.cfg.Clock.Now()
	e.unconfirmed = slices.DeleteFunc(e.unconfirmed, func(old lockTerm) bool { return !old.holds(now) })
	e.unconfirmed = append(e.unconfirmed, t)
}

// ownAttempt returns the write of this worker that made lock.
func (e *Elector) ownAttempt(lock *leases.LeaderLock) (lockTerm, bool) {
	for _, t := range e.unconfirmed {
		if lock != nil && kcl3.SameHeartbeat(*lock, t.lock) {
			return t, true
		}
	}
	return lockTerm{}, false
}
