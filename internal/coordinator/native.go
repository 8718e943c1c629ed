package coordinator

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl/internal/plan"
)

// native lets every worker take its share by itself.
type native struct {
	*scanner
	// noForce forbids to take leases of other libraries by force, see updateModeDenied.
	noForce bool
}

// round lists the table, and takes this worker's share or asks for it.
func (a *native) round(ctx context.Context) (pause, error) {
	return a.roundWith(ctx, false, func(context.Context) {})
}

// roundWith does a round. withThroughput says that throughput is measured although it does not
// decide yet. roundWith calls afterActions when the plan has been carried out.
func (a *native) roundWith(
	ctx context.Context, withThroughput bool, afterActions func(context.Context),
) (pause, error) {
	v, err := a.list(ctx, withThroughput)
	if err != nil {
		return fullPause, err
	}
	v.NoForce = a.noForce
	a.markStuck(&v)
	a.runPlans(ctx, &v, plan.Native)
	afterActions(ctx)
	a.recordRound(v)
	a.countHeld()
	switch {
	case a.roundCutShort:
		return briefPause, nil
	case a.othersMayTake():
		return halfPause, nil
	}
	return fullPause, nil
}

// leave does nothing: nobody assigns leases to this worker.
func (a *native) leave(context.Context) {}

// markStuck marks leases whose CheckpointOwner another library has left behind. No worker hands
// them over. Without a leader only workers of this library hand leases over, and they name the next
// owner in HandoverTo.
func (a *native) markStuck(v *plan.View) {
	a.handovers.Observe(a.listedAt, v.Leases())
	overdue := a.handovers.Overdue(a.listedAt, func(string) time.Duration { return a.cfg.handoverLimit(0) })
	for i := range v.Rows {
		r := &v.Rows[i]
		r.Stuck = overdue[r.Key] && r.HandoverTo == "" && !r.Expired
	}
}
