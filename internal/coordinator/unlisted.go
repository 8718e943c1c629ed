package coordinator

import (
	"time"

	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
)

// unlisted is the outcome of one of this worker's writes to the owners of a lease. A listing may
// lack the write for a short while, even if it shows a later renewal of another worker:
//
//	this worker                      owner            listing
//	reads counter 7
//	                                 renews: 8
//	                                                  reads counter 8
//	asks for the lease
//	receives counter 8, not asked for
//
// Without the write a worker would seem to have room for one more lease.
type unlisted struct {
	read leases.Lease  // before the write
	now  leases.Lease  // after it
	at   time.Duration // when it was written, monotonic
	// counted says that now has the counter of the row. A request does not expect the counter that
	// was read, and the owner may have renewed the lease since.
	counted bool
}

// listingLag returns how long a listing may lack a write.
func (c Config) listingLag() time.Duration { return c.FailoverTime / 2 }

// noteWrite keeps the outcome of a write for the next listings. now is the row after the write.
func (k *known) noteWrite(u leases.Update, now leases.Lease, counted bool) {
	if now.Same(holder.HandoverAttrs, u.Read) {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unlisted[now.Key] = unlisted{read: u.Read, now: now, at: k.clock.Now().Mono, counted: counted}
}

// withUnlistedLocked returns the listed row l as it is after this worker's latest write.
func (k *known) withUnlistedLocked(l leases.Lease, now time.Duration) leases.Lease {
	w, ok := k.unlisted[l.Key]
	switch {
	case !ok:
		return l
	case now-w.at >= k.cfg.listingLag():
		delete(k.unlisted, l.Key)
		return l
	case l.Counter < w.now.Counter:
		return w.now
	case l.Same(holder.HandoverAttrs, w.read) && (!w.counted || l.Counter == w.now.Counter):
		return l.With(holder.HandoverAttrs, w.now)
	}
	return l
}
