package holder

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// A row may vanish under its holder by hand, by a time to live, or by a partial restore. That says
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
	recovered      recovery = iota // the row exists again, and is this worker's
	writeNotNeeded                 // the change needs no write any more
	storeFailed                    // the store failed, and the caller may try again
	leaseGone                      // the lease was lost
)

// readRow reads the row after a write that found none.
func (h *writer) readRow(ctx context.Context) (*leases.Lease, error) {
	call, cancel := h.callContext(ctx)
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

// recoverRow handles the attempt last at the change c. The attempt found no row, or found in
// current a new row in its place. recoverRow gets the row back if the lease can still be trusted.
func (h *writer) recoverRow(ctx context.Context, c *change, last attempt, current *leases.Lease) (recovery, error) {
	if current != nil {
		return h.retakeRow(ctx, c, *current)
	}
	return h.recreateRow(ctx, c, last)
}

// recreateRow makes the row again as the store accepted it last. last is the attempt at the change
// c that found no row.
func (h *writer) recreateRow(ctx context.Context, c *change, last attempt) (recovery, error) {
	row := h.Lease()
	if end, ended := h.finishedRow(row, last); ended {
		// A clean-up removes a finished row once its children have been read from. Children that
		// have not been read from still need the row, which says that they may be.
		began, err := h.childrenBegan(ctx, end)
		if err != nil {
			return storeFailed, err
		}
		if began {
			h.acceptRow(end, last.sent) // as if the row existed, because its shard has been read to the end
			return writeNotNeeded, nil
		}
	}
	switch {
	case !h.cfg.Accept(row): // this worker does not read the stream any more
		return h.giveUp(c, "deleted"), nil
	case c.endsLease && len(h.unconfirmed) > 0:
		// The write may have taken effect before the deletion. Then the row was another worker's.
		return writeNotNeeded, nil
	case !h.cfg.Vanished.mayRecreate(row.Key, h.clock.Now().Mono):
		e := &VanishedError{Held: row, Since: time.Now()}
		h.cfg.Vanished.recordLoss(e)
		h.log.Error("row of the lease is deleted again and again, giving up the lease; its shard is not read",
			"checkpoint", position(row), "err", e)
		return h.giveUp(c, "deleted"), nil
	case !h.Valid():
		return leaseGone, nil
	}
	a := h.recreation(h.recreatedRow(c, row))
	call, cancel := h.callContext(ctx)
	defer cancel()
	err := h.cfg.Store.Create(call, a.To)
	if err == nil {
		h.acceptAttempt(a, a.To)
		return h.afterRecreation(c), nil
	}
	conflict, ok := errors.AsType[*leases.ConflictError](err)
	if !ok {
		h.rememberAttempt(a)
		return storeFailed, err
	}
	if conflict.Current == nil {
		return storeFailed, err // the row has vanished once more, or is no lease
	}
	attempts := h.attempts(a)
	if verdict, of := JudgeConflict(h.cfg.WorkerID, row, updatesOf(attempts), conflict.Current); verdict == OwnWrite {
		h.acceptAttempt(attempts[of], *conflict.Current)
		return h.afterRecreation(c), nil
	}
	return h.retakeRow(ctx, c, *conflict.Current)
}

// finishedRow returns the row with its shard finished, if a write has finished it, or may have.
func (h *writer) finishedRow(row leases.Lease, last attempt) (leases.Lease, bool) {
	if row.Finished() {
		return row, true
	}
	for _, a := range h.attempts(last) {
		if a.To.Finished() {
			return a.To, true
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
		call, cancel := h.callContext(ctx)
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

// recreatedRow returns the row as c makes it again. If c gives the lease back, the row has no
// owner.
func (h *writer) recreatedRow(c *change, row leases.Lease) leases.Lease {
	row.Owner, row.CheckpointOwner, row.HandoverTo = h.cfg.WorkerID, "", ""
	if c.endsLease {
		row.Owner = ""
	}
	row.Counter++
	return row
}

// recreation returns the attempt to make a vanished row again as to.
func (h *writer) recreation(to leases.Lease) attempt {
	return attempt{Update: leases.Update{To: to, Set: leases.AttrAll}, sent: h.clock.Now(), recreates: true}
}

// afterRecreation returns what the row that exists again means for c.
func (h *writer) afterRecreation(c *change) recovery {
	if c.endsLease {
		return writeNotNeeded
	}
	return recovered
}

// giveUp loses the lease, or gives up the attempt to release it.
func (h *writer) giveUp(c *change, reason string) recovery {
	if c.endsLease {
		return writeNotNeeded
	}
	h.lose(reason)
	return leaseGone
}

// acceptAttempt keeps row as the row in the table. The attempt a has made it.
func (h *writer) acceptAttempt(a attempt, row leases.Lease) {
	h.acceptRow(row, a.sent)
	if !a.recreates {
		return
	}
	h.cfg.Vanished.recordRecreation(row.Key, h.clock.Now().Mono)
	h.cfg.Metrics.LeaseRowRecreated()
	h.log.Warn("row of the lease was deleted while it was held, and was made again at the same position: "+
		"look for a person or a tool that deletes rows, a time to live on the table, or a partial restore",
		"checkpoint", position(row), "lease_counter", row.Counter)
}

// retakeRow takes a row that another writer made in place of the held one, and restores its
// position. It leaves a row alone that another worker owns.
func (h *writer) retakeRow(ctx context.Context, c *change, current leases.Lease) (recovery, error) {
	held := h.Lease()
	owner := current.ActualOwner()
	free := owner == "" || owner == h.cfg.WorkerID
	if !free || (current.Started() && current.Checkpoint.Compare(held.Checkpoint) > 0) {
		if startsBehind(current, held) {
			e := &VanishedError{Held: held, Current: &current, Since: time.Now()}
			h.cfg.Vanished.recordLoss(e)
			h.log.Error("row of the lease was deleted, and the new row starts after its position: records may be skipped",
				"checkpoint", position(held), "start", position(current), "lease_owner", owner, "err", e)
		}
		return h.giveUp(c, "taken"), nil
	}
	if !h.Valid() {
		return leaseGone, nil
	}
	to := h.recreatedRow(c, amended(current, held, leases.AttrAll))
	to.Counter, to.PinnedAt = max(current.Counter, held.Counter)+1, held.PinnedAt
	a := h.recreation(to)
	call, cancel := h.callContext(ctx)
	defer cancel()
	err := h.cfg.Store.Update(call, leases.Update{Read: current, Expect: leases.AttrAll, To: to, Set: leases.AttrAll})
	if err == nil {
		h.acceptAttempt(a, a.To)
		return h.afterRecreation(c), nil
	}
	if _, ok := errors.AsType[*leases.ConflictError](err); !ok {
		h.rememberAttempt(a)
	}
	return storeFailed, err
}
