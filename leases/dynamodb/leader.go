package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// maxLockDuration is more than anyone means.
const maxLockDuration = 24 * time.Hour

// released is the value of isReleased.
const released = "1"

func (p place) encodeLock(l leases.LeaderLock) (item, error) {
	if l.Owner == "" || l.Version == "" || l.Duration < time.Millisecond || l.Duration > maxLockDuration {
		return nil, fmt.Errorf("leader lock of %q, version %q, for %v cannot be written", l.Owner, l.Version, l.Duration)
	}
	it := p.entity(keyLeader, entityLeader)
	it[attrLockOwner], it[attrLockVersion] = str(l.Owner), str(l.Version)
	it[attrLockDuration] = str(strconv.FormatInt(l.Duration.Milliseconds(), 10))
	if l.Released {
		it[attrLockReleased] = str(released)
	}
	return it, nil
}

func decodeLock(it item, key string) (*leases.LeaderLock, *leases.RowError) {
	r := &reader{item: it}
	l := leases.LeaderLock{Owner: r.text(attrLockOwner), Version: r.text(attrLockVersion), Released: it[attrLockReleased] != nil}
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
		return nil, &leases.RowError{Key: textOf(it, key), Err: fmt.Errorf("%w; correct the leader's lock, or delete it to have a leader elected", err)}
	}
	return &l, nil
}

// Leader implements [leases.FleetStore] with a consistent read.
func (s *Store) Leader(ctx context.Context) (*leases.LeaderLock, error) {
	p, err := s.lock(ctx, false)
	if err != nil {
		return nil, err
	}
	it, err := p.get(ctx, keyLeader)
	if err != nil || it == nil {
		return nil, err
	}
	l, bad := decodeLock(it, p.key)
	if bad != nil {
		return nil, bad
	}
	return l, nil
}

// AcquireLeader implements [leases.FleetStore] with one conditional PutItem. It
// looks first where the lock belongs now, so that no two tables hold one.
func (s *Store) AcquireLeader(ctx context.Context, read *leases.LeaderLock, to leases.LeaderLock) error {
	p, err := s.lock(ctx, true)
	if err != nil {
		return err
	}
	it, err := p.encodeLock(to)
	if err != nil {
		return err
	}
	e := newExpression()
	var condition string
	switch {
	case read == nil:
		condition = e.absent(p.key)
	case read.Released:
		condition = e.exists(p.key) + " AND " + e.equals(item{attrLockReleased: str(released)}, attrLockReleased)
	default:
		condition = e.exists(p.key) + " AND " + e.equals(item{attrLockVersion: str(read.Version)}, attrLockVersion)
	}
	return p.put(ctx, it, e, condition)
}

// held is the condition that the lock is still mine.
func (p place) held(e *expression, mine leases.LeaderLock) string {
	return e.exists(p.key) + " AND " + e.equals(item{attrLockVersion: str(mine.Version), attrLockOwner: str(mine.Owner)}, attrLockVersion, attrLockOwner)
}

// HeartbeatLeader implements [leases.FleetStore] with one conditional
// UpdateItem.
func (s *Store) HeartbeatLeader(ctx context.Context, mine leases.LeaderLock, version string) error {
	p, err := s.lock(ctx, false)
	if err != nil {
		return err
	}
	to := mine
	to.Version = version
	it, err := p.encodeLock(to)
	if err != nil {
		return err
	}
	e := newExpression()
	return p.update(ctx, item{p.key: it[p.key], attrLockVersion: it[attrLockVersion], attrLockDuration: it[attrLockDuration]}, e, p.held(e, mine))
}

// ReleaseLeader implements [leases.FleetStore] with one conditional DeleteItem.
func (s *Store) ReleaseLeader(ctx context.Context, mine leases.LeaderLock) error {
	p, err := s.lock(ctx, false)
	if err != nil {
		return err
	}
	e := newExpression()
	return p.remove(ctx, keyLeader, e, p.held(e, mine))
}
