package coordinator

import (
	"time"
)

// handoverTime is what an owner of the KCL has to hand over a lease. (Its
// gracefulLeaseHandoffTimeoutMillis.)
const handoverTime = 30 * time.Second

// handover is for how long this worker may hand over a lease.
func (c Config) handover() time.Duration { return c.ShutdownTimeout + abandonAfter }

// handoverLimit is for how long a lease may be handed over before it is assigned
// whatever its owner does, which may need told; 0 when it did not say so.
func (c Config) handoverLimit(told time.Duration) time.Duration {
	if told == 0 {
		told = c.handover() // the same in all workers
	}
	return max(handoverTime, told) + c.FailoverTime
}

// markStuck marks the leases whose hand-over is none, though nothing in the row
// says it is over. Without a leader only workers of this library hand leases over,
// and name the next owner in HandoverTo. What another library left behind has none.
func (c *Coordinator) markStuck(v *view) {
	c.handovers.Note(c.watched, v.leases())
	overdue := c.handovers.Overdue(c.watched, func(string) time.Duration { return c.cfg.handoverLimit(0) })
	for i := range v.rows {
		r := &v.rows[i]
		r.stuck = overdue[r.Key] && r.HandoverTo == "" && !r.expired
	}
}
