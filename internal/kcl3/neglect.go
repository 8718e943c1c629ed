package kcl3

import "time"

// Neglect tells which leases the leader leaves lying: it is dead and its lock
// not free yet, it cannot reach the table, or it keeps its lock and does nothing
// else. It is kept from one scan to the next.
type Neglect struct {
	last time.Duration
	seen map[string]idleLease
}

// idleLease is a lease that nobody reads.
type idleLease struct {
	since   time.Duration
	owner   string
	counter int64
	excused bool // a long time without a scan was excused, see sighting
}

// patienceWithLeader is for how long a lease may lie there, from its last
// renewal, or from when it was first seen without an owner: it expires, and
// the leader of the KCL assigns leases every 2 failover times.
func patienceWithLeader(failover, expiry time.Duration) time.Duration {
	return expiry + 2*failover + 2*time.Second
}

// Note takes in a scan and returns the keys of the leases that any worker may
// take now, whoever the leader is. A lease expires after expiry, which is a little more
// than failover. A lease that is assigned, and not renewed by
// its new owner either, has not been looked after.
func (n *Neglect) Note(at time.Duration, rows []Row, failover, expiry time.Duration) map[string]bool {
	late := at-n.last > failover // after an outage everybody is late, the leader too
	n.last = at
	seen, rescue := map[string]idleLease{}, map[string]bool{}
	for _, r := range rows {
		if r.Finished() {
			continue
		}
		idle, known := n.seen[r.Key]
		if late && !idle.excused {
			idle, known = idleLease{excused: true}, false
		}
		free := r.ActualOwner() == ""
		renewed := known && idle.owner == r.ActualOwner() && !free && idle.counter != r.Counter
		switch {
		case renewed:
			continue
		case !known && free:
			idle.since = at
		case !known && r.Expired:
			idle.since = at - expiry
		case !known:
			continue
		}
		idle.owner, idle.counter = r.ActualOwner(), r.Counter
		seen[r.Key] = idle
		if (free || r.Expired) && at-idle.since > patienceWithLeader(failover, expiry) {
			rescue[r.Key] = true
		}
	}
	n.seen = seen
	return rescue
}
