package holder

import (
	"context"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// request asks the holder's goroutine for one attempt at a write.
type request struct {
	ctx    context.Context //nolint:containedctx // of the call that the request stands for
	change *change
	answer chan<- answer
}

// answer is the result of a request.
type answer struct {
	err   error
	again bool // the store failed: the caller may try again
}

// Checkpoint records that every record up to and including pos was processed. SHARD_END says that
// the shard is finished. Checkpoint removes a pending checkpoint. It also removes the PinnedAt
// ([leases.Extension]) of the start that pos replaces. It blocks until the store has accepted the
// write. After a failure it tries again until ctx or the lease ends.
//
// The error is the cause of ctx or [kcl.ErrLeaseLost]. It wraps [kcl.ErrInvalidCheckpoint] when pos
// is no position or lies before the last checkpoint; nothing was written then. When ctx ended, the
// write may still have happened.
func (h *Holder) Checkpoint(ctx context.Context, pos kcl.ExtendedSequenceNumber) error {
	if err := h.validate(pos); err != nil {
		return err
	}
	return h.submit(ctx, &change{
		name:      "checkpoint",
		satisfied: func(row leases.Lease) bool { return HasCheckpoint(row, pos) },
		apply:     func(row leases.Lease) (leases.Lease, leases.Attr) { return WithCheckpoint(row, pos) },
	})
}

// Prepare records pos and state as the pending checkpoint. Errors are those of Checkpoint.
func (h *Holder) Prepare(ctx context.Context, pos kcl.ExtendedSequenceNumber, state []byte) error {
	if err := h.validate(pos); err != nil {
		return err
	}
	return h.submit(ctx, &change{name: "prepare", apply: func(row leases.Lease) (leases.Lease, leases.Attr) {
		row.Pending, row.PendingState = pos, state
		return row, leases.AttrPending
	}})
}

// SetChildren records the shards that continue this one. Errors are those of Checkpoint.
func (h *Holder) SetChildren(ctx context.Context, ids []string) error {
	return h.submit(ctx, &change{name: "children", apply: func(row leases.Lease) (leases.Lease, leases.Attr) {
		row.Children = ids
		return row, leases.AttrChildren
	}})
}

// SetReached records the time up to which the shard has been read. It is for a shard that is read
// only up to a time. Errors are those of Checkpoint.
func (h *Holder) SetReached(ctx context.Context, at time.Time) error {
	return h.submit(ctx, &change{name: "reached", apply: func(row leases.Lease) (leases.Lease, leases.Attr) {
		row.Reached = at
		return row, leases.AttrReached
	}})
}

// Renew raises the lease's counter now, and blocks until the store has accepted that. It settles
// every earlier write whose outcome was not known: after it, Lease is the row in the table. Errors
// are those of Checkpoint.
func (h *Holder) Renew(ctx context.Context) error {
	return h.submit(ctx, &change{name: h.renewal.name, apply: h.renewal.apply})
}

// validate checks that pos is a position, and not before the last checkpoint.
func (h *Holder) validate(pos kcl.ExtendedSequenceNumber) error {
	if err := pos.Validate(); err != nil {
		return fmt.Errorf("%w: %w", kcl.ErrInvalidCheckpoint, err)
	}
	if last := h.Lease().Checkpoint; !last.IsZero() && pos.Compare(last) < 0 {
		return fmt.Errorf("%w: %s lies before the last checkpoint %s", kcl.ErrInvalidCheckpoint, pos, last)
	}
	return nil
}

// submit asks the holder's goroutine for a write, and waits for the outcome. Between two attempts
// it waits here, so that the holder is free to renew:
//
//	checkpoint:  attempt, fails, pause, attempt, fails, pause, ... while ctx lives
//	renewal:                       renew                  renew
//
// So a table that refuses checkpoints but accepts renewals does not cost the lease.
func (h *Holder) submit(ctx context.Context, c *change) error {
	backoff := h.cfg.newBackoff()
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		answers := make(chan answer, 1)
		select {
		case h.requests <- request{ctx, c, answers}:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-h.storeCtx.Done():
			return kcl.ErrLeaseLost
		case <-h.ended:
			return kcl.ErrLeaseLost
		}
		a := <-answers // within the deadline of a call, or when ctx ends
		if !a.again {
			return a.err
		}
		if err := h.pause(ctx, backoff.Next()); err != nil {
			return err
		}
	}
}

// serve tries the write of r, and tells whether a write was sent. The write is a renewal too. Only
// when the last write failed and a renewal is due does a renewal go first, alone.
func (h *writer) serve(r request) (wrote bool) {
	before := h.writes
	if h.failing && h.clock.Now().Since(h.lastSent()) >= h.cfg.RenewInterval {
		h.renew()
	}
	again, err := h.tryWrite(r.ctx, r.change)
	r.answer <- answer{err, again}
	return h.writes > before
}
