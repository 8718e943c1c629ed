package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// elector is this worker's part in the election of the leader of a KCL 3.x fleet. It watches the
// lock while another worker has it, acquires a free lock, and renews its own lock. A goroutine of
// its own does that, so that the leader's other work never delays a heartbeat. It stands where the
// KCL has DynamoDBLockBasedLeaderDecider.
//
//	campaign --- acquired --> keepLock --- lost, or expired here --> campaign
//	                              '--- resigned --> released, a pause --> campaign
//
// lockterm.go and [kcl3.LockWatch] decide what the lock says.
type elector struct {
	store   leases.LeaderLocks
	me      string
	clock   *trust.Clock
	log     *slog.Logger
	metrics *metrics.Metrics
	timeout time.Duration          // of one call of the store
	changed func()                 // called when this worker has become the leader
	last    func() context.Context // the context of writes after a stop

	resigned chan struct{}

	// Belongs to the goroutine in run.
	sent []lockTerm // writes of the lock whose outcome is not known

	mu     sync.Mutex // guards the fields below
	term   *lockTerm  // nil unless this worker is the leader
	terms  int        // how often this worker has become the leader
	leader string     // the leader's id; empty when it is not known
}

// lockRest is how long a worker that has resigned leaves the lock to others.
const lockRest = 3 * kcl3.LockHeartbeat

func newElector(t *table, store leases.LeaderLocks) *elector {
	return &elector{
		store: store, me: t.cfg.WorkerID, clock: t.clock, log: t.log, metrics: t.cfg.Metrics,
		timeout: min(trust.CallTimeout(t.cfg.FailoverTime), kcl3.LockHeartbeat/2), changed: t.nudge,
		last: func() context.Context { return t.last }, resigned: make(chan struct{}, 1),
	}
}

// leads tells whether this worker may act as the leader now, and in which of its terms.
func (e *elector) leads() (term int, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.terms, e.term != nil && e.term.holds(e.clock.Now())
}

// lock returns the lock as this worker holds it. ok is false when it does not.
func (e *elector) lock() (leases.LeaderLock, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.term == nil || !e.term.holds(e.clock.Now()) {
		return leases.LeaderLock{}, false
	}
	return e.term.lock, true
}

// leaderName returns the leader's id; empty when it is not known.
func (e *elector) leaderName() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leader
}

// resign lets the elector release the lock, because the leader's work has failed and others may
// succeed. It does not block.
func (e *elector) resign() {
	select {
	case e.resigned <- struct{}{}:
	default:
	}
}

// run takes part in the election until ctx ends. Then it releases the lock, even one that this
// worker acquired with a write whose answer was lost.
func (e *elector) run(ctx context.Context) {
	defer func() { e.warnUnreleased(e.releaseSent(e.last())) }()
	var watch kcl3.LockWatch
	for ctx.Err() == nil {
		term, err := e.campaign(ctx, &watch)
		if err != nil {
			return
		}
		select { // a request from an earlier term does not count
		case <-e.resigned:
		default:
		}
		if !e.keepLock(ctx, term) {
			_ = retry.Sleep(ctx, lockRest)
		}
	}
}

// campaign watches the lock and returns once this worker has it. The error is that of ctx.
func (e *elector) campaign(ctx context.Context, watch *kcl3.LockWatch) (lockTerm, error) {
	backoff := retry.New(time.Second, kcl3.LockHeartbeat)
	failing := false
	for ctx.Err() == nil {
		lock, err := e.read(ctx)
		if err != nil {
			if !failing && ctx.Err() == nil {
				e.log.Warn("lock of the leader cannot be read, trying again", "err", err)
			}
			failing = true
			_ = backoff.Wait(ctx)
			continue
		}
		now := e.clock.Now()
		if term, ok := e.ownWrite(lock); ok {
			if term.holds(now) {
				e.noteTerm(term)
				return term, nil
			}
		}
		watch.See(lock, now.Mono)
		e.noteLeader(lock, watch.Free(now.Mono))
		if !watch.Free(now.Mono) {
			failing = false
			backoff.Reset()
			_ = retry.Sleep(ctx, watch.Wait(now.Mono))
			continue
		}
		mine := leases.LeaderLock{Owner: e.me, Version: newVersion(), Duration: kcl3.LockDuration}
		term := lockTerm{lock: mine, sent: e.clock.Now()}
		err = e.call(ctx, func(ctx context.Context) error { return e.store.AcquireLeader(ctx, lock, term.lock) })
		if err == nil {
			e.noteTerm(term)
			return term, nil
		}
		if _, conflict := errors.AsType[*leases.ConflictError](err); !conflict {
			e.rememberWrite(term)
			if !failing && ctx.Err() == nil {
				e.log.Warn("lock of the leader cannot be written, trying again", "err", err)
			}
			failing = true
		}
		_ = backoff.Wait(ctx) // also after a conflict: the next read may show a free lock again
	}
	return lockTerm{}, context.Cause(ctx)
}

// keepLock renews the lock until it is lost, ctx ends, or this worker resigns. It returns false
// only after it has resigned.
func (e *elector) keepLock(ctx context.Context, term lockTerm) (again bool) {
	defer e.noteLoss()
	backoff := retry.New(kcl3.LockHeartbeat/10, kcl3.LockHeartbeat/4)
	failing := false
	wait := term.due(e.clock.Now())
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
		if !term.holds(e.clock.Now()) {
			e.log.Warn("lock of the leader could not be renewed in time")
			return true
		}
		next := lockTerm{lock: term.lock, sent: e.clock.Now()}
		next.lock.Version = newVersion()
		err := e.call(ctx, func(ctx context.Context) error {
			return e.store.HeartbeatLeader(ctx, term.lock, next.lock.Version)
		})
		_, conflict := errors.AsType[*leases.ConflictError](err)
		switch {
		case err == nil:
			term = next
		case conflict:
			// An earlier heartbeat whose answer was lost has taken effect, or another worker wrote.
			lock, err := e.read(ctx)
			if err != nil {
				e.rememberWrite(next)
				wait = backoff.Next()
				continue
			}
			mine, ok := e.ownWrite(lock)
			if !ok && lock != nil && kcl3.SameHeartbeat(*lock, next.lock) { // the client of the store sent the heartbeat twice
				mine, ok = next, true
			}
			if !ok {
				e.log.Warn("lock of the leader was taken")
				return true
			}
			term = mine
		default:
			e.rememberWrite(next)
			if !failing && ctx.Err() == nil {
				e.log.Warn("lock of the leader cannot be renewed, trying again", "err", err)
			}
			failing = true
			wait = backoff.Next()
			continue
		}
		failing = false
		backoff.Reset()
		e.sent = nil // these writes expect an older version
		held := term
		e.mu.Lock()
		e.term = &held
		e.mu.Unlock()
		wait = term.due(e.clock.Now())
	}
}

// release removes the lock, so that others need not wait until it has expired.
func (e *elector) release(term lockTerm) {
	e.noteLoss() // first, because the release may take time
	ctx := e.last()
	err := e.call(ctx, func(ctx context.Context) error { return e.store.ReleaseLeader(ctx, term.lock) })
	if _, conflict := errors.AsType[*leases.ConflictError](err); conflict {
		err = e.releaseSent(ctx)
	}
	e.sent = nil
	e.warnUnreleased(err)
}

// releaseSent removes the lock if a write whose outcome is not known has made it.
func (e *elector) releaseSent(ctx context.Context) error {
	if len(e.sent) == 0 {
		return nil
	}
	lock, err := e.read(ctx)
	if mine, ok := e.ownWrite(lock); err == nil && ok {
		err = e.call(ctx, func(ctx context.Context) error { return e.store.ReleaseLeader(ctx, mine.lock) })
	}
	e.sent = nil
	return err
}

// warnUnreleased warns of a lock that could not be removed. A lock of another worker is no failure.
func (e *elector) warnUnreleased(err error) {
	if _, conflict := errors.AsType[*leases.ConflictError](err); err != nil && !conflict {
		e.log.Warn("lock of the leader was not released, and will expire", "err", err)
	}
}

// read returns the lock, or nil when there is none.
func (e *elector) read(ctx context.Context) (*leases.LeaderLock, error) {
	var lock *leases.LeaderLock
	err := e.call(ctx, func(ctx context.Context) (err error) {
		lock, err = e.store.Leader(ctx)
		return err
	})
	return lock, err
}

// call makes one call of the store with a deadline.
func (e *elector) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	err := f(ctx)
	if _, conflict := errors.AsType[*leases.ConflictError](err); err != nil && !conflict {
		e.metrics.LeaseStoreError("leader")
	}
	return err
}

// rememberWrite remembers a write whose outcome is not known, for as long as it could make this
// worker the leader.
func (e *elector) rememberWrite(t lockTerm) {
	now := e.clock.Now()
	e.sent = slices.DeleteFunc(e.sent, func(old lockTerm) bool { return !old.holds(now) })
	e.sent = append(e.sent, t)
}

// ownWrite finds the write that made lock.
func (e *elector) ownWrite(lock *leases.LeaderLock) (lockTerm, bool) {
	for _, t := range e.sent {
		if lock != nil && kcl3.SameHeartbeat(*lock, t.lock) {
			return t, true
		}
	}
	return lockTerm{}, false
}

// noteTerm notes that this worker has become the leader.
func (e *elector) noteTerm(t lockTerm) {
	e.sent = nil
	e.mu.Lock()
	e.term, e.leader = &t, e.me
	e.terms++
	e.mu.Unlock()
	e.log.Info("worker leads the fleet", "leader", e.me)
	e.metrics.SetLeader(true)
	e.changed()
}

// noteLoss notes that this worker is not the leader any more.
func (e *elector) noteLoss() {
	e.mu.Lock()
	was := e.term != nil
	if was {
		e.term, e.leader = nil, ""
	}
	e.mu.Unlock()
	if was {
		e.log.Info("worker no longer leads the fleet")
		e.metrics.SetLeader(false)
	}
}

// noteLeader notes the leader that the lock names.
func (e *elector) noteLeader(lock *leases.LeaderLock, free bool) {
	leader := ""
	if lock != nil && !free {
		leader = lock.Owner
	}
	e.mu.Lock()
	old := e.leader
	e.leader = leader
	e.mu.Unlock()
	if leader != old && leader != "" {
		e.log.Info("fleet is led by another worker", "leader", leader)
	}
}

// newVersion returns a random UUID, as the KCL's locks have.
func newVersion() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
