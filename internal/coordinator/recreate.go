package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// A row that vanishes under its holder (by hand, by a time to live, by a partial restore) says
// nothing about the shard. The holder knows the position in the shard. So it makes the row again
// while it may trust its lease:
//
//	holder              store              others
//	c=7, X              c=7, X
//	                    (no row)           delete
//	c=7 renew       ->  conflict: none
//	get             ->  none
//	create c=8, X   ->  c=8, X             trusted from the sending of this
//
// The counter goes on. So earlier writes of the holder cannot take effect, and no later owner gets
// the counter of an earlier one.

// A row that is deleted again and again is deleted on purpose. After maxRecreated re-creations
// within recreatedTime its shard is left alone.
const (
	maxRecreated  = 3
	recreatedTime = time.Hour
)

// VanishedError says that a row vanished under its holder, which could not make it again. This
// worker does not read the shard then.
type VanishedError struct {
	// Held is the row as the worker held it. Its Checkpoint is the position in the shard.
	Held leases.Lease
	// Current is the row in its place, which starts behind Held; nil when the row was deleted too
	// often to be made again.
	Current *leases.Lease
	// Since is when the worker noticed that, by the local clock.
	Since time.Time
}

// Error implements error.
func (e *VanishedError) Error() string {
	held := position(e.Held)
	if e.Current == nil {
		return fmt.Sprintf("leases: row %q was deleted more than %d times within %s and is not made again: "+
			"find out what deletes it (a person, a time to live, a worker of another library that does not know the stream), "+
			"then go on with `kclctl leases restore -at %s %s`", e.Held.Key, maxRecreated, recreatedTime, held, e.Held.Key)
	}
	return fmt.Sprintf("leases: row %q was deleted, and another writer made it again: this worker stood at %s, "+
		"and the new row starts later, at %s (owner %q): records in between may be skipped; "+
		"to read them move the row back with `kclctl leases set-checkpoint %s %s`, otherwise start this worker again",
		e.Held.Key, held, position(*e.Current), e.Current.ActualOwner(), e.Held.Key, held)
}

// position returns the position of a row for a message.
func position(l leases.Lease) string {
	if l.Checkpoint.IsSentinel() && !l.PinnedAt.IsZero() {
		return leases.Origin{Kind: l.Checkpoint.String(), At: l.PinnedAt}.String() // LATEST@2026-...
	}
	return l.Checkpoint.String()
}

// vanishings keeps what the holders of one worker know of rows that vanished. It is safe for
// concurrent use.
type vanishings struct {
	mu   sync.Mutex                 // guards the fields below
	made map[string][]time.Duration // when rows were made again, monotonic
	lost map[string]*lostRow        // rows that could not be made again
}

// lostRow is a row that could not be made again.
type lostRow struct {
	err *VanishedError
	// mended is since when the listings show the row in order, monotonic; zero when they do not.
	// One listing proves nothing: it may be older than the deletion.
	mended time.Duration
}

// mendedTime is how long a row must be in order before its loss is forgotten.
const mendedTime = time.Minute

// mayRecreate tells whether a row may be made again at the time now.
func (v *vanishings) mayRecreate(key string, now time.Duration) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	recent := slices.DeleteFunc(v.made[key], func(at time.Duration) bool { return now-at >= recreatedTime })
	if len(recent) == 0 {
		delete(v.made, key)
		return true
	}
	v.made[key] = recent
	return len(recent) < maxRecreated
}

// noteRecreated notes that a row was made again.
func (v *vanishings) noteRecreated(key string, at time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.made == nil {
		v.made = map[string][]time.Duration{}
	}
	v.made[key] = append(v.made[key], at)
}

// noteLost notes a row that could not be made again.
func (v *vanishings) noteLost(e *VanishedError) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lost == nil {
		v.lost = map[string]*lostRow{}
	}
	v.lost[e.Held.Key] = &lostRow{err: e}
}

// noteListing takes in the rows that were listed at the time now. A lost row is in order when it
// exists again and does not start behind its earlier position.
func (v *vanishings) noteListing(now time.Duration, rows map[string]leases.Lease) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for key, l := range v.lost {
		row, there := rows[key]
		switch {
		case !there || (l.err.Current != nil && startsBehind(row, l.err.Held)):
			l.mended = 0
		case l.mended == 0:
			l.mended = now
		case now-l.mended >= mendedTime:
			delete(v.lost, key)
		}
	}
}

// all returns the errors of the rows that are still lost, sorted by key.
func (v *vanishings) all() []*VanishedError {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []*VanishedError
	for _, key := range slices.Sorted(maps.Keys(v.lost)) {
		if l := v.lost[key]; l.mended == 0 {
			all = append(all, l.err)
		}
	}
	return all
}

// recovery is the result of an attempt to get a vanished row back.
type recovery int

const (
	recovered recovery = iota // the row exists again, and is this worker's
	settled                   // the change needs no write any more
	undecided                 // the store failed, and the caller may try again
	gone                      // the lease was lost
)

// confirm reads the row after a write that found none.
func (h *writer) confirm(ctx context.Context) (*leases.Lease, error) {
	call, cancel := h.call(ctx)
	defer cancel()
	row, err := h.cfg.Store.Get(call, h.Lease().Key)
	if errors.Is(err, leases.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &row, nil
}

// recover handles a write of c that found no row, or found in current a row that was made anew. It
// gets the row back if the lease can still be trusted. last is the attempt.
func (h *writer) recover(ctx context.Context, c *change, last attempt, current *leases.Lease) (recovery, error) {
	if current != nil {
		return h.retake(ctx, c, *current)
	}
	return h.recreate(ctx, c, last)
}

// recreate makes the row again as it was last accepted. c is the change that found no row, and last
// the attempt at it.
func (h *writer) recreate(ctx context.Context, c *change, last attempt) (recovery, error) {
	row := h.Lease()
	if end, ended := h.endOf(row, last); ended {
		// A clean-up removes a finished row once its children have been read from. Children that
		// have not been read from still need the row, which says that they may be.
		began, err := h.childrenBegan(ctx, end)
		if err != nil {
			return undecided, err
		}
		if began {
			h.accept(end, last.sent) // as if the row existed: its shard has been read to the end
			return settled, nil
		}
	}
	switch {
	case !h.cfg.Accept(row): // this worker does not read the stream any more
		return h.giveUp(c, "deleted"), nil
	case c.last && len(h.unknown) > 0:
		// The write may have taken effect before the deletion. Then the row was another worker's.
		return settled, nil
	case !h.cfg.vanished.mayRecreate(row.Key, h.clock.Now().Mono):
		e := &VanishedError{Held: row, Since: time.Now()}
		h.cfg.vanished.noteLost(e)
		h.log.Error("row of the lease is deleted again and again, giving up the lease; its shard is not read",
			"checkpoint", position(row), "err", e)
		return h.giveUp(c, "deleted"), nil
	case !h.Valid():
		return gone, nil
	}
	a := attempt{to: h.rowAgain(c, row), set: leases.AttrAll, sent: h.clock.Now(), recreates: true}
	call, cancel := h.call(ctx)
	defer cancel()
	err := h.cfg.Store.Create(call, a.to)
	if err == nil {
		h.acceptAttempt(a, a.to)
		return h.afterRecreation(c), nil
	}
	conflict, ok := errors.AsType[*leases.ConflictError](err)
	if !ok {
		h.rememberAttempt(a)
		return undecided, err
	}
	if conflict.Current == nil {
		return undecided, err // the row has vanished once more, or is no lease
	}
	if mine, ok := h.ownAttempt(conflict.Current, a); ok {
		h.acceptAttempt(mine, *conflict.Current)
		return h.afterRecreation(c), nil
	}
	return h.retake(ctx, c, *conflict.Current)
}

// endOf returns the row with its shard finished, if a write has finished it, or may have.
func (h *writer) endOf(row leases.Lease, last attempt) (leases.Lease, bool) {
	if row.Finished() {
		return row, true
	}
	for _, a := range append(slices.Clone(h.unknown), last) {
		if a.to.Finished() {
			return a.to, true
		}
	}
	return leases.Lease{}, false
}

// childrenBegan tells whether all children of a finished row have been read from.
func (h *writer) childrenBegan(ctx context.Context, row leases.Lease) (bool, error) {
	for _, id := range row.Children {
		key := id
		if row.Stream != "" {
			key = row.Stream + ":" + id
		}
		call, cancel := h.call(ctx)
		child, err := h.cfg.Store.Get(call, key)
		cancel()
		switch {
		case errors.Is(err, leases.ErrNotFound):
			return false, nil
		case err != nil:
			return false, err
		case !child.Started():
			return false, nil
		}
	}
	return len(row.Children) > 0, nil
}

// rowAgain returns the row as c makes it again. If c gives the lease back, the row has no owner.
func (h *writer) rowAgain(c *change, row leases.Lease) leases.Lease {
	row.Owner, row.CheckpointOwner, row.HandoverTo = h.cfg.WorkerID, "", ""
	if c.last {
		row.Owner = ""
	}
	row.Counter++
	return row
}

// afterRecreation returns what the re-creation means for c.
func (h *writer) afterRecreation(c *change) recovery {
	if c.last {
		return settled
	}
	return recovered
}

// giveUp loses the lease, or gives up the attempt to release it.
func (h *writer) giveUp(c *change, reason string) recovery {
	if c.last {
		return settled
	}
	h.lose(reason)
	return gone
}

// acceptAttempt notes that attempt a has made row, which is in the table now.
func (h *writer) acceptAttempt(a attempt, row leases.Lease) {
	h.accept(row, a.sent)
	if !a.recreates {
		return
	}
	h.cfg.vanished.noteRecreated(row.Key, h.clock.Now().Mono)
	h.cfg.Metrics.LeaseRowRecreated()
	h.log.Warn("row of the lease was deleted while it was held, and was made again at the same position: "+
		"look for a person or a tool that deletes rows, a time to live on the table, or a partial restore",
		"checkpoint", position(row), "lease_counter", row.Counter)
}

// remade tells whether current is a new row that replaces the deleted one. The counter of one row
// only grows.
func remade(held, current leases.Lease) bool { return current.Counter < held.Counter }

// retake takes a row that somebody else made in place of the held one, and restores its position.
// It does not do so when the row has an owner.
func (h *writer) retake(ctx context.Context, c *change, current leases.Lease) (recovery, error) {
	held := h.Lease()
	owner := current.ActualOwner()
	free := owner == "" || owner == h.cfg.WorkerID
	if !free || (current.Started() && current.Checkpoint.Compare(held.Checkpoint) > 0) {
		if startsBehind(current, held) {
			e := &VanishedError{Held: held, Current: &current, Since: time.Now()}
			h.cfg.vanished.noteLost(e)
			h.log.Error("row of the lease was deleted, and the new row starts after its position: records may be skipped",
				"checkpoint", position(held), "start", position(current), "lease_owner", owner, "err", e)
		}
		return h.giveUp(c, "taken"), nil
	}
	if !h.Valid() {
		return gone, nil
	}
	to := h.rowAgain(c, amended(current, held, leases.AttrAll))
	to.Counter, to.PinnedAt = max(current.Counter, held.Counter)+1, held.PinnedAt
	a := attempt{to: to, set: leases.AttrAll, sent: h.clock.Now(), recreates: true}
	call, cancel := h.call(ctx)
	defer cancel()
	err := h.cfg.Store.Update(call, leases.Update{Read: current, Expect: leases.AttrAll, To: to, Set: leases.AttrAll})
	if err == nil {
		h.acceptAttempt(a, a.to)
		return h.afterRecreation(c), nil
	}
	if _, ok := errors.AsType[*leases.ConflictError](err); !ok {
		h.rememberAttempt(a)
	}
	return undecided, err
}

// startsBehind tells whether a reader that begins at current may leave out records which a reader
// of held would get.
func startsBehind(current, held leases.Lease) bool {
	switch {
	case current.Started():
		return current.Checkpoint.Compare(held.Checkpoint) > 0
	case current.Checkpoint.SequenceNumber == kcl.SentinelTrimHorizon:
		return false
	case current.Checkpoint == held.Checkpoint:
		return current.PinnedAt.IsZero() != held.PinnedAt.IsZero() || current.PinnedAt.After(held.PinnedAt)
	}
	// The new row starts at a time. The shard was first read from the origin of the held row.
	return current.PinnedAt.IsZero() || held.Origin.IsZero() || held.Origin.At.IsZero() ||
		current.PinnedAt.After(held.Origin.At)
}

// amended returns l with the attributes of set taken from m. An attribute of amendAttrs that is
// empty in m stays as in l.
func amended(l, m leases.Lease, set leases.Attr) leases.Lease {
	for a := leases.Attr(1); a < leases.AttrAll; a <<= 1 {
		if set.Has(a) && (!m.Same(a, leases.Lease{}) || amendAttrs&a == 0) {
			l = l.With(a, m)
		}
	}
	return l
}

// amendAttrs are the attributes that others than the owner write too, without raising the counter.
const amendAttrs = leases.AttrParents | leases.AttrHashKeyRange | leases.AttrPinnedAt | leases.AttrStreamCreated |
	leases.AttrApplication | leases.AttrStreamARN | leases.AttrOrigin | leases.AttrPaused | leases.AttrReset

// Amend tells the holder about another writer's write to its row: the attributes of set that are
// not empty in row. Attributes that only the owner writes are ignored. If the row vanishes, the
// holder makes it again with these values.
func (h *held) Amend(row leases.Lease, set leases.Attr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	set &= amendAttrs
	if h.row.Started() {
		set &^= leases.AttrPinnedAt // a sequence number has no PinnedAt
	}
	h.row = amended(h.row, row, set)
}
