package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// maxLockDuration is the longest duration of a lock that is read or written.
const maxLockDuration = 24 * time.Hour

// lockReleased is the value of isReleased in a lock that was released.
const lockReleased = "1"

// encodeLock returns the item of a lock in table t.
func encodeLock(t *table, l leases.LeaderLock) (item, error) {
	if l.Owner == "" || l.Version == "" || l.Duration < time.Millisecond || l.Duration > maxLockDuration {
		return nil, fmt.Errorf("leader lock of %q, version %q, for %v cannot be written", l.Owner, l.Version, l.Duration)
	}
	it := t.entity(keyLeader, entityLeader)
	it[attrLockOwner], it[attrLockVersion] = str(l.Owner), str(l.Version)
	it[attrLockDuration] = str(strconv.FormatInt(l.Duration.Milliseconds(), 10))
	if l.Released {
		it[attrLockReleased] = str(lockReleased)
	}
	return it, nil
}

// decodeLock reads a lock. key is the name of the hash key of its table.
func decodeLock(it item, key string) (*leases.LeaderLock, *leases.RowError) {
	r := &reader{item: it}
	l := leases.LeaderLock{
		Owner: r.text(attrLockOwner), Version: r.text(attrLockVersion), Released: it[attrLockReleased] != nil,
	}
	for name, s := range map[string]string{attrLockOwner: l.Owner, attrLockVersion: l.Version} {
		if s == "" {
			r.wrong(name, "a string (S)")
		}
	}
	ms, err := strconv.ParseInt(r.text(attrLockDuration), 10, 64)
	if l.Duration = time.Duration(ms) * time.Millisecond; err != nil || ms < 1 || ms > maxLockDuration.Milliseconds() {
		r.wrong(attrLockDuration, "milliseconds as text (S), a day at most")
	}
	if err := errors.Join(r.problems...); err != nil {
		return nil, &leases.RowError{Key: textOf(it, key), Err: fmt.Errorf("%w; "+
			"correct the leader's lock, or delete it to have a leader elected", err)}
	}
	return &l, nil
}

// leaderLocks keeps the lock of the leader. The lock is in the lease table, or in the side table of
// the coordinator.
type leaderLocks struct{ routes *routes }

// Leader implements [leases.FleetStore] with a consistent read.
func (k leaderLocks) Leader(ctx context.Context) (*leases.LeaderLock, error) {
	t, err := k.routes.lock(ctx, false)
	if err != nil {
		return nil, err
	}
	it, err := t.get(ctx, keyLeader)
	if err != nil || it == nil {
		return nil, err
	}
	l, bad := decodeLock(it, t.key)
	if bad != nil {
		return nil, bad
	}
	return l, nil
}

// AcquireLeader implements [leases.FleetStore] with one conditional PutItem. Before that, it looks
// which table has to hold the lock now, so that no two tables hold one.
func (k leaderLocks) AcquireLeader(ctx context.Context, read *leases.LeaderLock, to leases.LeaderLock) error {
	t, err := k.routes.lock(ctx, true)
	if err != nil {
		return err
	}
	it, err := encodeLock(t, to)
	if err != nil {
		return err
	}
	e := newExpression()
	var condition string
	switch {
	case read == nil:
		condition = e.absent(t.key)
	case read.Released:
		condition = e.exists(t.key) + " AND " + e.equals(item{attrLockReleased: str(lockReleased)}, attrLockReleased)
	default:
		condition = e.exists(t.key) + " AND " + e.equals(item{attrLockVersion: str(read.Version)}, attrLockVersion)
	}
	return t.put(ctx, it, e, condition)
}

// stillHeld is the condition that the lock in table t is still mine.
func stillHeld(t *table, e *expression, mine leases.LeaderLock) string {
	want := item{attrLockVersion: str(mine.Version), attrLockOwner: str(mine.Owner)}
	return e.exists(t.key) + " AND " + e.equals(want, attrLockVersion, attrLockOwner)
}

// HeartbeatLeader implements [leases.FleetStore] with one conditional UpdateItem.
func (k leaderLocks) HeartbeatLeader(ctx context.Context, mine leases.LeaderLock, version string) error {
	t, err := k.routes.lock(ctx, false)
	if err != nil {
		return err
	}
	to := mine
	to.Version = version
	it, err := encodeLock(t, to)
	if err != nil {
		return err
	}
	e := newExpression()
	change := item{t.key: it[t.key], attrLockVersion: it[attrLockVersion], attrLockDuration: it[attrLockDuration]}
	return t.update(ctx, change, e, stillHeld(t, e, mine))
}

// ReleaseLeader implements [leases.FleetStore] with one conditional DeleteItem.
func (k leaderLocks) ReleaseLeader(ctx context.Context, mine leases.LeaderLock) error {
	t, err := k.routes.lock(ctx, false)
	if err != nil {
		return err
	}
	e := newExpression()
	return t.remove(ctx, keyLeader, e, stillHeld(t, e, mine))
}
