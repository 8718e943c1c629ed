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
	*workerState
	store leases.OwnerIndex

	ready       bool
	checkDue    time.Duration // when to check it again, monotonic
	failures    int           // the number of failures in a row to create it
	queryFailed bool          // the last query failed
}

// reset forgets the state of the index.
func (x *ownerIndex) reset() { x.ready, x.checkDue, x.failures, x.queryFailed = false, 0, 0, false }

// ensure creates the index, or checks from time to time whether it can be used. Until then the
// table is listed instead.
func (x *ownerIndex) ensure(ctx context.Context) {
	now := x.clock.Now().Mono
	if x.ready || (x.checkDue > 0 && now < x.checkDue) {
		return
	}
	call, cancel := context.WithTimeout(ctx, x.cfg.FailoverTime)
	ready, err := x.store.EnsureIndex(call)
	cancel()
	x.ready, x.checkDue = ready && err == nil, x.clock.Now().Mono+indexInterval
	switch {
	case err == nil:
		x.failures = 0
	case ctx.Err() == nil:
		// The first failure may mean that another worker has just created the index.
		if x.failures++; x.failures == 1 {
			x.checkDue = x.clock.Now().Mono + x.cfg.ScanInterval
		} else if x.failures == 2 {
			x.log.Warn("index of the leases by owner cannot be created, listing the table instead, which costs more", "err", err)
		}
	}
}
