// Package trust computes how long a worker trusts its own lease, and how long it respects the lease
// of another worker. It reads the two clocks of a machine, and derives times from FailoverTime.
// Holders of leases, the coordinator and the election of a leader use it. Invariants I5 to I7 of
// ARCHITECTURE.md are about these times.
package trust

import "time"

// The owner trusts its lease for trustedPart of FailoverTime. Other workers respect the lease for
// respectedPart of FailoverTime. The difference allows for clocks of different speed.
const (
	trustedPart   = 0.95
	respectedPart = 1.05
)

// Window returns how long an owner works after it has sent its last accepted renewal.
func Window(failover time.Duration) time.Duration {
	return time.Duration(trustedPart * float64(failover))
}

// Respect returns how long an observer waits for a change of the counter. After that the lease has
// expired.
func Respect(failover time.Duration) time.Duration {
	return time.Duration(respectedPart * float64(failover))
}

// Remaining returns how long an owner still trusts its lease at the instant now. sent is when it
// sent the last accepted renewal. A result that is not positive says that the owner must stop (I5,
// I6).
func Remaining(failover time.Duration, sent, now Instant) time.Duration {
	return Window(failover) - now.Since(sent)
}

// Expired tells whether others may take a lease (I6). unchangedFor is how long they have seen its
// counter unchanged.
func Expired(failover, unchangedFor time.Duration) bool { return unchangedFor >= Respect(failover) }

// CallTimeout returns the deadline of a call for one row.
func CallTimeout(failover time.Duration) time.Duration { return failover / 3 }
