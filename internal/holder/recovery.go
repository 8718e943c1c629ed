package holder

import (
	"context"
	"errors"
	"slices"
	"time"

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
	case !h.cfg.Vanished.mayRecreate(row.Key, h.clock.Now().Mono):
		e := &VanishedError{Held: row, Since: time.Now()}
		h.cfg.Vanished.noteLost(e)
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
	h.cfg.Vanished.noteRecreated(row.Key, h.clock.Now().Mono)
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
			h.cfg.Vanished.noteLost(e)
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
