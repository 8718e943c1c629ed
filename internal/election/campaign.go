package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// campaign watches the lock and returns once this worker has it. The error is that of ctx.
func (e *Elector) campaign(ctx context.Context, watch *kcl3.LockWatch) (lockTerm, error) {
	backoff := retry.New(time.Second, kcl3.LockHeartbeat)
	failing := false
	for ctx.Err() == nil {
		lock, err := e.readLock(ctx)
		if err != nil {
			if !failing && ctx.Err() == nil {
				e.cfg.Log.Warn("lock of the leader cannot be read, trying again", "err", err)
			}
			failing = true
			_ = backoff.Wait(ctx)
			continue
		}
		now := e.cfg.Clock.Now()
		if term, ok := e.ownAttempt(lock); ok {
			if term.holds(now) {
				e.startTerm(term)
				return term, nil
			}
		}
		watch.Observe(lock, now.Mono)
		e.setLeader(lock, watch.Free(now.Mono))
		if !watch.Free(now.Mono) {
			failing = false
			backoff.Reset()
			_ = retry.Sleep(ctx, watch.Wait(now.Mono))
			continue
		}
		mine := leases.LeaderLock{Owner: e.cfg.WorkerID, Version: newVersion(), Duration: kcl3.LockDuration}
		term := lockTerm{lock: mine, sent: e.cfg.Clock.Now()}
		err = e.call(ctx, func(ctx context.Context) error { return e.cfg.Store.AcquireLeader(ctx, lock, term.lock) })
		if err == nil {
			e.startTerm(term)
			return term, nil
		}
		if _, conflict := errors.AsType[*leases.ConflictError](err); !conflict {
			e.rememberAttempt(term)
			if !failing && ctx.Err() == nil {
				e.cfg.Log.Warn("lock of the leader cannot be written, trying again", "err", err)
			}
			failing = true
		}
		_ = backoff.Wait(ctx) // also after a conflict: the next read may show a free lock again
	}
	return lockTerm{}, context.Cause(ctx)
}

// keepLock renews the lock until it is lost, ctx ends, or this worker resigns. It returns false
// only after it has resigned.
func (e *Elector) keepLock(ctx context.Context, term lockTerm) (again bool) {
	defer e.endTerm()
	backoff := retry.New(kcl3.LockHeartbeat/10, kcl3.LockHeartbeat/4)
	failing := false
	wait := term.due(e.cfg.Clock.Now())
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			e.release(term)
			return true
		case <-e.resigned:
			timer.Stop()
			e.release(term)
			return false
		}
		if !term.holds(e.cfg.Clock.Now()) {
			e.cfg.Log.Warn("lock of the leader could not be renewed in time")
			return true
		}
		next := lockTerm{lock: term.lock, sent: e.cfg.Clock.Now()}
		next.lock.Version = newVersion()
		err := e.call(ctx, func(ctx context.Context) error {
			return e.cfg.Store.HeartbeatLeader(ctx, term.lock, next.lock.Version)
		})
		_, conflict := errors.AsType[*leases.ConflictError](err)
		switch {
		case err == nil:
			term = next
		case conflict:
			// The answer of an earlier heartbeat was lost, but the heartbeat took effect. Or another
			// worker wrote.
			lock, err := e.readLock(ctx)
			if err != nil {
				e.rememberAttempt(next)
				wait = backoff.Next()
				continue
			}
			mine, ok := e.ownAttempt(lock)
			if !ok && lock != nil && kcl3.SameHeartbeat(*lock, next.lock) {
				mine, ok = next, true // the client of the store sent the heartbeat twice
			}
			if !ok {
				e.cfg.Log.Warn("lock of the leader was taken")
				return true
			}
			term = mine
		default:
			e.rememberAttempt(next)
			if !failing && ctx.Err() == nil {
				e.cfg.Log.Warn("lock of the leader cannot be renewed, trying again", "err", err)
			}
			failing = true
			wait = backoff.Next()
			continue
		}
		failing = false
		backoff.Reset()
		e.unconfirmed = nil // these writes expect an older version
		held := term
		e.mu.Lock()
		e.term = &held
		e.mu.Unlock()
		wait = term.due(e.cfg.Clock.Now())
	}
}

// newVersion returns a random UUID, as the KCL's locks have.
func newVersion() string {
	var b [16]byte
	chance.Read(b[:], "lock")
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
