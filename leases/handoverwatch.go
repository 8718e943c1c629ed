package leases

import "time"

// handoverTime is what an owner of the KCL has to hand over a lease. (Its
// gracefulLeaseHandoffTimeoutMillis.)
const handoverTime = 30 * time.Second

// handoverLimit is for how long a lease may be handed over before it is assigned
// whatever its owner does: as long as an owner may take, here or in the KCL, and
// FailoverTime.
func (c Config) handoverLimit() time.Duration {
	return max(handoverTime, c.ShutdownTimeout+abandonAfter) + c.FailoverTime
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

// note takes in a scan and returns the keys of the leases that have been handed
// over for longer than limit.
func (w *handoverWatch) note(at time.Duration, leases []Lease, limit time.Duration) map[string]bool {
	seen, overdue := map[string]handover{}, map[string]bool{}
	for _, l := range leases {
		if l.CheckpointOwner == "" {
			continue
		}
		h, known := w.seen[l.Key]
		if !known || h.from != l.CheckpointOwner || h.to != l.Owner {
			h = handover{from: l.CheckpointOwner, to: l.Owner, since: at}
		}
		seen[l.Key] = h
		if at-h.since > limit {
			overdue[l.Key] = true
		}
	}
	w.seen = seen
	return overdue
}

// markStuck marks the leases whose hand-over is none, though nothing in the row
// says it is over. Without a leader only workers of this library hand leases over,
// and name the next owner in HandoverTo. What another library left behind has none.
func (c *Coordinator) markStuck(v *view) {
	overdue := c.handovers.note(c.watched, v.leases(), c.cfg.handoverLimit())
	for i := range v.rows {
		r := &v.rows[i]
		r.stuck = overdue[r.Key] && r.HandoverTo == "" && !r.expired
	}
}
