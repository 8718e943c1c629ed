package coordinator

import (
	"time"

	"github.com/kinesis-go/kcl/leases"
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

// handoverWatch tells which leases have been handed over for too long, from one
// scan to the next. If all workers keep one, a new leader need not begin anew.
type handoverWatch struct {
	seen map[string]handover
}

type handover struct {
	from, to string
	since    time.Duration
}

// note takes in a scan.
func (w *handoverWatch) note(at time.Duration, rows []leases.Lease) {
	seen := map[string]handover{}
	for _, l := range rows {
		if l.CheckpointOwner == "" {
			continue
		}
		h, known := w.seen[l.Key]
		if !known || h.from != l.CheckpointOwner || h.to != l.Owner {
			h = handover{from: l.CheckpointOwner, to: l.Owner, since: at}
		}
		seen[l.Key] = h
	}
	w.seen = seen
}

// overdue returns the keys of the leases that have been handed over for longer than
// limit says of the owner that does so.
func (w *handoverWatch) overdue(at time.Duration, limit func(owner string) time.Duration) map[string]bool {
	overdue := map[string]bool{}
	for key, h := range w.seen {
		if at-h.since > limit(h.from) {
			overdue[key] = true
		}
	}
	return overdue
}

// markStuck marks the leases whose hand-over is none, though nothing in the row
// says it is over. Without a leader only workers of this library hand leases over,
// and name the next owner in HandoverTo. What another library left behind has none.
func (c *Coordinator) markStuck(v *view) {
	c.handovers.note(c.watched, v.leases())
	overdue := c.handovers.overdue(c.watched, func(string) time.Duration { return c.cfg.handoverLimit(0) })
	for i := range v.rows {
		r := &v.rows[i]
		r.stuck = overdue[r.Key] && r.HandoverTo == "" && !r.expired
	}
}
