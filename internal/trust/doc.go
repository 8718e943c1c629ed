// Package trust says for how long a worker may rely on what it knows about a lease. It holds the
// two clocks of a machine, and the times that follow from FailoverTime. Holders of leases, the
// coordinator and the election of a leader use it. Invariants I5 to I7 of ARCHITECTURE.md are
// about these times.
package trust

import "time"

// An owner trusts its lease for ownPart of FailoverTime, and others respect it for otherPart. The
// difference allows for clocks of different speed.
const (
	ownPart   = 0.95
	otherPart = 1.05
)

// Window returns how long an owner works after it has sent its last accepted renewal.
func Window(failover time.Duration) time.Duration {
	return time.Duration(ownPart * float64(failover))
}

// Respect returns how long an observer waits for a counter to move before the lease counts as
// expired.
func Respect(failover time.Duration) time.Duration {
	return time.Duration(otherPart * float64(failover))
}

// CallTimeout returns the deadline of a call for one row.
func CallTimeout(failover time.Duration) time.Duration { return failover / 3 }
