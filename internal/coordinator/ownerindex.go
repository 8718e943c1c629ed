package coordinator

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// indexInterval is the time between two checks of an index that cannot be used yet.
const indexInterval = 30 * time.Second

// ownerIndex is the state of the index of leases by owner. It belongs to the goroutine in Run.
type ownerIndex struct {
	*known
	store leases.OwnerIndex

	ready  bool
	due    time.Duration // when to check it again, monotonic
	fails  int           // how often in a row it could not be created
	failed bool          // the last query failed
}

// reset forgets what is known.
func (x *ownerIndex) reset() { x.ready, x.due, x.fails, x.failed = false, 0, 0, false }

// ensure creates the index, or checks from time to time whether it can be used. Until then the
// table is listed instead.
func (x *ownerIndex) ensure(ctx context.Context) {
	now := x.clock.Now().Mono
	if x.ready || (x.due > 0 && now < x.due) {
		return
	}
	call, cancel := context.WithTimeout(ctx, x.cfg.FailoverTime)
	ready, err := x.store.EnsureIndex(call)
	cancel()
	x.ready, x.due = ready && err == nil, x.clock.Now().Mono+indexInterval
	switch {
	case err == nil:
		x.fails = 0
	case ctx.Err() == nil:
		// The first failure may mean that another worker has just created the index.
		if x.fails++; x.fails == 1 {
			x.due = x.clock.Now().Mono + x.cfg.ScanInterval
		} else if x.fails == 2 {
			x.log.Warn("index of the leases by owner cannot be created, listing the table instead, which costs more", "err", err)
		}
	}
}
