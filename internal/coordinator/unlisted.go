package coordinator

import (
	"time"

	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
)

// unlistedWrite is the outcome of one of this worker's writes to the owners of a lease. A listing
// may lack the write for a short while, even if it shows a later renewal of another worker:
//
//	this worker                      owner            listing
//	reads counter 7
//	                                 renews: 8
//	                                                  reads counter 8
//	asks for the lease
//	receives counter 8, not asked for
//
// Without the write a worker would seem to have room for one more lease.
type unlistedWrite struct {
	before    leases.Lease  // before the write
	after     leases.Lease  // after it
	writtenAt time.Duration // when it was written, monotonic
	// counterKnown says that after has the counter of the row. A request does not expect the counter
	// that was read, and the owner may have renewed the lease since.
	counterKnown bool
}

// listingLag returns how long a listing may lack a write.
func (c Config) listingLag() time.Duration { return c.FailoverTime / 2 }

// recordUnlisted keeps the outcome of the write u for the next listings. after is the row after the
// write. counterKnown says that after has the counter of the row.
func (ws *workerState) recordUnlisted(u leases.Update, after leases.Lease, counterKnown bool) {
	if after.Same(holder.HandoverAttrs, u.Read) {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.unlistedWrites[after.Key] = unlistedWrite{
		before: u.Read, after: after, writtenAt: ws.clock.Now().Mono, counterKnown: counterKnown,
	}
}

// applyUnlistedLocked returns the listed row l as it is after this worker's latest write.
func (ws *workerState) applyUnlistedLocked(l leases.Lease, now time.Duration) leases.Lease {
	w, ok := ws.unlistedWrites[l.Key]
	switch {
	case !ok:
		return l
	case now-w.writtenAt >= ws.cfg.listingLag():
		delete(ws.unlistedWrites, l.Key)
		return l
	case l.Counter < w.after.Counter:
		return w.after
	case l.Same(holder.HandoverAttrs, w.before) && (!w.counterKnown || l.Counter == w.after.Counter):
		return l.With(holder.HandoverAttrs, w.after)
	}
	return l
}
