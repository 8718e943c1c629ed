package coordinator

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// indexInterval is how often it is seen whether the index can be used, while it
// cannot.
const indexInterval = 30 * time.Second

// ownerIndex is what is known about the index of leases by owner. It belongs to the
// goroutine in Run.
type ownerIndex struct {
	*known
	store leases.OwnerIndex

	ready  bool
	due    time.Duration // when to look again, monotonic
	fails  int           // how often in a row it could not be made
	failed bool          // the last query
}

// reset forgets what is known.
func (x *ownerIndex) reset() { x.ready, x.due, x.fails, x.failed = false, 0, 0, false }

// ensure asks for the index from time to time until it can be used.
// Without it the table is listed instead.
func (x *ownerIndex) ensure(ctx context.Context) {
	now := x.clock.now().mono
	if x.ready || (x.due > 0 && now < x.due) {
		return
	}
	call, cancel := context.WithTimeout(ctx, x.cfg.FailoverTime)
	ready, err := x.store.EnsureIndex(call)
	cancel()
	x.ready, x.due = ready && err == nil, x.clock.now().mono+indexInterval
	switch {
	case err == nil:
		x.fails = 0
	case ctx.Err() == nil:
		// The first time another worker may just have been faster.
		if x.fails++; x.fails == 1 {
			x.due = x.clock.now().mono + x.cfg.ScanInterval
		} else if x.fails == 2 {
			x.log.Warn("index of the leases by owner cannot be made; the table is listed instead, which costs more", "err", err)
		}
	}
}
