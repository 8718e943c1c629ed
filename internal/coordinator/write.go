package coordinator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// ownerAttrs are the attributes that nobody but the owner changes while it holds the lease.
const ownerAttrs = leases.AttrCounter | leases.AttrCheckpoint | leases.AttrPending | leases.AttrOwnerSwitches

// handoverAttrs are the attributes by which others ask for a lease.
const handoverAttrs = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrHandoverTo

// change is a write that the holder shall make.
type change struct {
	name string
	// apply returns the row as wanted, and which attributes that changes.
	// try raises the counter.
	apply func(leases.Lease) (leases.Lease, leases.Attr)
	// done tells of a row that nothing is left to be written; nil means never.
	done func(leases.Lease) bool
	// last says that the lease ends with the write: when the row turns out to
	// be somebody else's, there is nothing left to do.
	last bool

	failures int // attempts that the store failed
}

// attempt is a write that was sent.
type attempt struct {
	of   *change
	to   leases.Lease
	set  leases.Attr
	sent instant
	// recreates says that it makes a row again that had vanished, see recreate.
	recreates bool
}

// wrote tells whether row shows that a took effect (I3): its counter, this worker as
// the actual owner, and every attribute that it set or that only an owner sets.
// A hand-off may have begun since.
func (a attempt) wrote(row leases.Lease, worker string) bool {
	return row.ActualOwner() == worker && row.Same((a.set|ownerAttrs)&^handoverAttrs, a.to)
}

// writer makes the writes to the row of a held lease. It belongs to the holder's goroutine.
type writer struct {
	*held
	meter   meter
	unknown []attempt // writes whose outcome is not known
	failing bool      // the last write failed
	writes  int       // attempts
	renewal change
	backoff *retry.Backoff // of the renewals
}

func newWriter(l *held) *writer {
	h := &writer{
		held: l, backoff: l.cfg.newBackoff(),
		renewal: change{name: "renew", apply: func(row leases.Lease) (leases.Lease, leases.Attr) { return row, 0 }},
	}
	h.meter.since = l.clock.now().mono
	h.meter.average.Seed(l.row.ThroughputKBps)
	return h
}

// try makes one change, and bumps the counter with it, in one write; a conflict
// may take a second one. The error is nil, [kcl.ErrLeaseLost], or the cause of
// ctx; again says that the store failed, and the change may be tried anew.
//
// An answer may get lost after the write took effect; then the row conflicts
// with the next attempt, which expects the old counter. So every attempt whose
// outcome is unknown is kept, and a conflicting row is compared with them:
//
//	holder            store              others
//	c=7 checkpoint X ->  c=8, X
//	          (answer lost)
//	c=7 renew        ->  conflict: c=8, X      same as the first attempt: ours
//
// As every attempt expects the counter that the last accepted one left, at most
// one of them can ever take effect.
func (h *writer) try(ctx context.Context, c *change) (again bool, err error) {
	for notes := 0; ; {
		if !h.Valid() {
			return false, kcl.ErrLeaseLost
		}
		row := h.Lease()
		if c.done != nil && c.done(row) {
			return false, nil
		}
		a := attempt{of: c, sent: h.clock.now()}
		a.to, a.set = c.apply(row)
		a.to.Counter, a.set = row.Counter+1, a.set|leases.AttrCounter
		if kbps := h.meter.sample(a.sent.mono, h.cfg.RenewInterval*9/10); kbps != row.ThroughputKBps && kbps >= 0 {
			a.to.ThroughputKBps, a.set = kbps, a.set|leases.AttrThroughput
		}

		h.writes++
		err := h.send(ctx, row, a)
		if err == nil {
			h.accept(a.to, a.sent)
			return false, nil
		}
		conflict, ok := errors.AsType[*leases.ConflictError](err)
		if !ok {
			h.rememberAttempt(a)
			h.failed(c, err)
			return true, err
		}
		current := conflict.Current
		if current == nil {
			if current, err = h.confirm(ctx); err != nil {
				h.failed(c, err)
				return true, err
			}
		}
		if mine, ok := h.ownAttempt(current, a); ok {
			h.acceptAttempt(mine, *current)
			if mine.of == c {
				return false, nil
			}
			continue
		}
		if h.handoverChanged(row, current) && notes < 3 {
			// A hand-off has begun, or was taken back. The counter is as held,
			// so the lease is still ours: note it and write again.
			notes++
			h.noteHandover(*current)
			continue
		}
		if current == nil || remade(row, *current) {
			switch result, err := h.recover(ctx, c, a, current); result {
			case recovered:
				continue
			case settled:
				return false, nil
			case undecided:
				h.failed(c, err)
				return true, err
			case gone:
				return false, kcl.ErrLeaseLost
			}
		}
		if c.last {
			return false, nil
		}
		h.lose("taken")
		return false, kcl.ErrLeaseLost
	}
}

// send makes one conditional write with a deadline of its own.
func (h *writer) send(ctx context.Context, row leases.Lease, a attempt) error {
	call, cancel := h.call(ctx)
	defer cancel()
	expect := leases.AttrCounter | leases.AttrOwner | leases.AttrCheckpointOwner
	if row.CheckpointOwner != "" {
		// Who comes next is for others to say; see DynamoDBLeaseRenewer.
		expect = leases.AttrCounter | leases.AttrCheckpointOwner
	}
	return h.cfg.Store.Update(call, leases.Update{Read: row, Expect: expect, To: a.to, Set: a.set})
}

// call returns the context of one call to the store. It ends with ctx, the lease,
// or the deadline of a call.
func (h *held) call(ctx context.Context) (context.Context, context.CancelFunc) {
	call, cancel := context.WithTimeout(h.io, min(h.cfg.callTimeout(), h.remaining()))
	stop := context.AfterFunc(ctx, cancel)
	return call, func() { stop(); cancel() }
}

// pause waits before the next attempt, unless ctx or the lease ends.
func (h *held) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-h.io.Done():
		return kcl.ErrLeaseLost
	case <-ctx.Done():
		if h.io.Err() != nil {
			return kcl.ErrLeaseLost
		}
		return context.Cause(ctx)
	}
}

// accept takes row as the row that is in the table now.
func (h *writer) accept(row leases.Lease, sent instant) {
	h.unknown = nil // they expect an older counter, and can never take effect
	h.failing, h.renewal.failures = false, 0
	h.backoff.Reset()
	h.mu.Lock()
	h.row, h.sent = row, sent
	if left := h.remainingLocked(); left > 0 {
		h.deadline.Reset(left)
	}
	h.mu.Unlock()
	if row.CheckpointOwner == h.cfg.WorkerID && row.Owner != h.cfg.WorkerID {
		h.stop(false)
	}
}

// rememberAttempt remembers an attempt whose outcome is unknown. Of two that are alike the
// earlier one stays: it says for how long the lease can be trusted.
func (h *writer) rememberAttempt(a attempt) {
	for i, b := range h.unknown {
		if b.set == a.set && b.to.Same(leases.AttrAll, a.to) {
			h.unknown[i].of = a.of
			return
		}
	}
	h.unknown = append(h.unknown, a)
}

// ownAttempt finds the attempt that made row. The last one is among them: the store's
// own client may have sent it twice.
func (h *writer) ownAttempt(row *leases.Lease, last attempt) (attempt, bool) {
	if row == nil {
		return attempt{}, false
	}
	for _, a := range append(slices.Clone(h.unknown), last) {
		if a.wrote(*row, h.cfg.WorkerID) {
			return a, true
		}
	}
	return attempt{}, false
}

// handoverChanged tells whether current is the row as held but for a hand-off
// that has begun, changed its target or was taken back.
func (h *writer) handoverChanged(row leases.Lease, current *leases.Lease) bool {
	return current != nil && current.Counter == row.Counter &&
		current.ActualOwner() == h.cfg.WorkerID &&
		current.CheckpointOwner != current.Owner &&
		!current.Same(handoverAttrs, row)
}

// noteHandover takes over what others wrote about a hand-off.
func (h *writer) noteHandover(current leases.Lease) {
	h.mu.Lock()
	h.row = h.row.With(handoverAttrs, current)
	h.mu.Unlock()
	if current.CheckpointOwner != "" {
		h.log.Info("lease was asked for", "lease_owner", current.Owner)
		h.stop(false)
	}
}

// release gives the lease back: it completes a hand-off that has begun, and
// otherwise removes the owner.
func (h *writer) release() {
	reason := "released"
	c := &change{name: "release", last: true, apply: func(row leases.Lease) (leases.Lease, leases.Attr) {
		if row.CheckpointOwner != "" {
			reason = "handover"
			return withoutHandover(row), leases.AttrCheckpointOwner | leases.AttrHandoverTo
		}
		reason = "released"
		row.Owner = ""
		return row, leases.AttrOwner
	}}
	again, err := h.try(h.io, c)
	for backoff := h.cfg.newBackoff(); again && h.pause(h.io, backoff.Next()) == nil; {
		again, err = h.try(h.io, c)
	}
	if err != nil {
		h.log.Warn("lease was not released, and will expire", "err", err)
	}
	h.noteEnd(reason)
}

// newBackoff returns the waits between attempts to write one row.
func (c Config) newBackoff() *retry.Backoff {
	return retry.New(min(100*time.Millisecond, c.FailoverTime/50), c.FailoverTime/10)
}

// failed keeps and reports a write that the store failed.
func (h *writer) failed(c *change, err error) {
	h.failing = true
	c.failures++
	h.cfg.Metrics.LeaseStoreError("update")
	switch {
	case h.io.Err() != nil:
	case c.failures == 1:
		h.log.Warn("lease write failed, trying again", "operation", c.name, "err", err)
	default:
		h.log.Debug("lease write failed again", "operation", c.name, "attempt", c.failures, "err", err)
	}
}
