package kcl3

import "time"

// NeglectWatch compares scans, and tells which leases the leader has neglected. The leader may be
// dead while its lock is not free yet. It may be unable to reach the table. Or it renews its lock
// and does nothing else.
type NeglectWatch struct {
	last time.Duration
	seen map[string]idleLease
}

// idleLease is a lease that no worker reads.
type idleLease struct {
	since   time.Duration
	owner   string
	counter int64
	excused bool // the wait has begun anew after a long time without a scan
}

// patienceWithLeader is how long the leader may leave a lease without a reader. The time counts
// from the last renewal of the lease, or from when it was first seen without an owner. The lease
// expires first, and then the KCL's leader assigns leases every 2 failover times.
func patienceWithLeader(failover, expiry time.Duration) time.Duration {
	return expiry + 2*failover + 2*time.Second
}

// Observe compares the rows of a scan at the monotonic time at with the earlier ones. It returns
// the keys of the neglected leases. Any worker may take them, whoever the leader is. A lease
// expires after expiry, which is a little more than failover. A lease that was assigned stays
// neglected while its new owner does not renew it.
func (n *NeglectWatch) Observe(at time.Duration, rows []Row, failover, expiry time.Duration) map[string]bool {
	late := at-n.last > failover // after an outage every worker is late, and the leader too
	n.last = at
	seen, neglected := map[string]idleLease{}, map[string]bool{}
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
			neglected[r.Key] = true
		}
	}
	n.seen = seen
	return neglected
}
