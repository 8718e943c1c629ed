package holder

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// ownerAttrs are the attributes that only the owner changes while it holds the lease.
const ownerAttrs = leases.AttrCounter | leases.AttrCheckpoint | leases.AttrPending | leases.AttrOwnerSwitches

// HandoverAttrs are the attributes by which others ask for a lease.
const HandoverAttrs = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrHandoverTo

// change is a change of the row that the holder shall write.
type change struct {
	name string
	// apply returns the changed row, and which attributes it changes. tryWrite raises the counter.
	apply func(leases.Lease) (leases.Lease, leases.Attr)
	// satisfied tells whether a row needs no write any more; nil means never.
	satisfied func(leases.Lease) bool
	// endsLease says that the lease ends with the write. If the row is another worker's by then,
	// nothing is left to do.
	endsLease bool

	failures int // attempts that the store failed
}

// attempt is a write that was sent. Of the write of a vanished row, see recreateRow, it has To and
// Set only.
type attempt struct {
	leases.Update
	change *change
	sent   trust.Instant
	// recreates says that the attempt makes a vanished row again, see recreateRow.
	recreates bool
}

// writer makes the writes to the row of a held lease. It belongs to the holder's goroutine.
type writer struct {
	*held
	meter       meter
	unconfirmed []attempt // writes whose outcome is not known
	failing     bool      // the last write failed
	writes      int       // the number of attempts
	renewal     change
	backoff     *retry.Backoff // of the renewals
}

func newWriter(l *held) *writer {
	h := &writer{
		held: l, backoff: l.cfg.newBackoff(),
		renewal: change{name: "renew", apply: func(row leases.Lease) (leases.Lease, leases.Attr) { return row, 0 }},
	}
	h.meter.intervalBegan = l.clock.Now().Mono
	h.meter.average.Seed(l.row.ThroughputKBps)
	return h
}

// tryWrite writes one change, and raises the counter with it, in one write. After a conflict it may
// write a second time. The error is nil, [kcl.ErrLeaseLost], or the cause of ctx. again says that
// the store failed, and that the change may be tried again.
//
// An answer may be lost after the write took effect. Then the row conflicts with the next attempt,
// which expects the old counter. So every attempt whose outcome is unknown is kept, and a
// conflicting row is compared with them:
//
//	holder            store              others
//	c=7 checkpoint X ->  c=8, X
//	          (answer lost)
//	c=7 renew        ->  conflict: c=8, X      same as the first attempt: ours
//
// Every attempt expects the counter of the last accepted one, so at most one of them can ever take
// effect.
func (h *writer) tryWrite(ctx context.Context, c *change) (again bool, err error) {
	for handoverChanges := 0; ; {
		if !h.Valid() {
			return false, kcl.ErrLeaseLost
		}
		row := h.Lease()
		if c.satisfied != nil && c.satisfied(row) {
			return false, nil
		}
		a := attempt{change: c, sent: h.clock.Now()}
		to, set := c.apply(row)
		if kbps := h.meter.sample(a.sent.Mono, h.cfg.RenewInterval*9/10); kbps != row.ThroughputKBps && kbps >= 0 {
			to.ThroughputKBps, set = kbps, set|leases.AttrThroughput
		}
		a.Update = OwnerUpdate(row, to, set)

		h.writes++
		err := h.send(ctx, a.Update)
		if err == nil {
			h.acceptRow(a.To, a.sent)
			return false, nil
		}
		conflict, ok := errors.AsType[*leases.ConflictError](err)
		if !ok {
			h.rememberAttempt(a)
			h.logFailure(c, err)
			return true, err
		}
		current := conflict.Current
		if current == nil {
			if current, err = h.readRow(ctx); err != nil {
				h.logFailure(c, err)
				return true, err
			}
		}
		attempts := h.attempts(a)
		verdict, of := JudgeConflict(h.cfg.WorkerID, row, updatesOf(attempts), current)
		switch {
		case verdict == OwnWrite:
			h.acceptAttempt(attempts[of], *current)
			if attempts[of].change == c {
				return false, nil
			}
			continue
		case verdict == HandoverChanged && handoverChanges < 3:
			// The holder copies the change and writes again.
			handoverChanges++
			h.copyHandover(*current)
			continue
		case verdict == RowGone:
			switch result, err := h.recoverRow(ctx, c, a, current); result {
			case recovered:
				continue
			case writeNotNeeded:
				return false, nil
			case storeFailed:
				h.logFailure(c, err)
				return true, err
			case leaseGone:
				return false, kcl.ErrLeaseLost
			}
		}
		if c.endsLease {
			return false, nil
		}
		h.lose("taken")
		return false, kcl.ErrLeaseLost
	}
}

// send makes one conditional write with a deadline of its own.
func (h *writer) send(ctx context.Context, u leases.Update) error {
	call, cancel := h.callContext(ctx)
	defer cancel()
	return h.cfg.Store.Update(call, u)
}

// acceptRow keeps row as the row in the table. The write of row was sent at the time sent.
func (h *writer) acceptRow(row leases.Lease, sent trust.Instant) {
	h.unconfirmed = nil // these attempts expect an older counter, and can never take effect
	h.failing, h.renewal.failures = false, 0
	h.backoff.Reset()
	h.mu.Lock()
	h.row, h.sent = row, sent
	if left := h.remainingLocked(); left > 0 {
		h.deadline.Reset(left)
	}
	h.mu.Unlock()
	if AsksToFinish(row, h.cfg.WorkerID) {
		h.Stop(false)
	}
}

// rememberAttempt remembers an attempt whose outcome is unknown. Of two equal attempts the earlier
// one stays: it tells how long the lease can be trusted.
func (h *writer) rememberAttempt(a attempt) {
	for i, b := range h.unconfirmed {
		if b.Set == a.Set && b.To.Same(leases.AttrAll, a.To) {
			h.unconfirmed[i].change = a.change
			return
		}
	}
	h.unconfirmed = append(h.unconfirmed, a)
}

// attempts returns the attempts that may have made a row that conflicts with the attempt last. It
// may be last itself: the client of the store may have sent that one twice.
func (h *writer) attempts(last attempt) []attempt { return append(slices.Clone(h.unconfirmed), last) }

// updatesOf returns the writes of attempts.
func updatesOf(attempts []attempt) []leases.Update {
	updates := make([]leases.Update, 0, len(attempts))
	for _, a := range attempts {
		updates = append(updates, a.Update)
	}
	return updates
}

// renew raises the counter, and changes nothing else.
func (h *writer) renew() {
	begun := time.Now()
	if _, err := h.tryWrite(h.storeCtx, &h.renewal); err == nil {
		h.cfg.Metrics.LeaseRenewed(time.Since(begun))
	}
}

// logFailure counts and logs a failed attempt at c.
func (h *writer) logFailure(c *change, err error) {
	h.failing = true
	c.failures++
	h.cfg.Metrics.LeaseStoreError("update")
	switch {
	case h.storeCtx.Err() != nil:
	case c.failures == 1:
		h.log.Warn("lease write failed, trying again", "operation", c.name, "err", err)
	default:
		h.log.Debug("lease write failed again", "operation", c.name, "attempt", c.failures, "err", err)
	}
}
