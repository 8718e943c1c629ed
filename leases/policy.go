package leases

import (
	"errors"
	"fmt"
	"strings"
)

// Assignment says who decides which worker reads which shard.
type Assignment int

// The ways to assign leases.
const (
	// AssignmentAuto, the default, does as the table says: native, unless the
	// table is one of the Java KCL 3.x that its workers, or the operator of a
	// migration from 2.x, have switched to the assignment by a leader. The table
	// is asked every minute, and followed while the worker runs.
	AssignmentAuto Assignment = iota
	// AssignmentNative lets every worker take its share by itself, without a
	// leader. It goes with workers of this library and of KCL 1.x and 2.x, but not
	// with running workers of KCL 3.x.
	AssignmentNative
	// AssignmentKCL3 is the assignment by a leader, as KCL 3.x has it, also in a
	// table that does not say so. All workers of the application need it then.
	AssignmentKCL3
)

// String returns auto, native or kcl3.
func (a Assignment) String() string {
	switch a {
	case AssignmentAuto:
		return "auto"
	case AssignmentNative:
		return "native"
	case AssignmentKCL3:
		return "kcl3"
	}
	return fmt.Sprintf("Assignment(%d)", int(a))
}

// MarshalText implements [encoding.TextMarshaler] with [Assignment.String].
func (a Assignment) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// ErrMixedAssignment says that other workers use the lease table in a way that
// does not go together with Config.Assignment. The message tells which ones, and
// what to do.
var ErrMixedAssignment = errors.New("leases: workers that assign leases in different ways cannot share a table")

// AssignmentState is how a worker gets its leases at present.
type AssignmentState struct {
	// Mode is native, native (upgrade from KCL 2.x), KCL 3.x, or unknown before
	// the table has been asked.
	Mode string
	// Leader is the worker that assigns leases, as far as it is known. Empty in
	// native mode.
	Leader string
	// Leading says that it is this worker.
	Leading bool
}

// Balance says what leases are evened out by between workers that take them by
// themselves. It has no effect while a leader assigns the leases.
type Balance int

const (
	// BalanceLeaseCount evens out the number of leases, to within one.
	BalanceLeaseCount Balance = iota
	// BalanceThroughput evens out what the workers deliver, as measured by the
	// owner of each lease (ThroughputKBps), to within a fifth of the average,
	// or as near as single leases and loads that vary allow: a lease moves only for
	// a difference that cannot be chance. With FailoverTime 10s, ten minutes are
	// averaged. When loads change for good, most of the difference is gone after a
	// quarter of an hour; where data come in bursts, about half of it after half an
	// hour. While they stay as they are, bursts or not, all but nothing moves.
	// An idle lease counts for a tenth of an average one. A lease does not move
	// again within 30 FailoverTime, then twice as long each time, and 24 hours
	// forget most of that: whatever the loads do, it moves 12 times on the first day
	// and 6 times on each later one at most, but to workers that have next to none.
	// Leases that nobody holds are shared out by number.
	BalanceThroughput
)

// String returns the word that logs use.
func (b Balance) String() string {
	if b == BalanceThroughput {
		return "throughput"
	}
	return "lease count"
}

// MarshalText implements [encoding.TextMarshaler] with [Balance.String].
func (b Balance) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// AssignmentStrategy says by what a leader shares leases out. It has no effect where
// workers take leases by themselves, see [Balance].
type AssignmentStrategy int

const (
	// AssignByUtilization evens out how much the workers are used, by the CPU that
	// they report, or else by the throughput of their leases
	// (WORKER_UTILIZATION_AWARE in the KCL).
	AssignByUtilization AssignmentStrategy = iota
	// AssignByLeaseCount evens out the number of leases (LEASE_COUNT_BASED).
	AssignByLeaseCount
)

// String returns the word that logs use.
func (s AssignmentStrategy) String() string {
	if s == AssignByLeaseCount {
		return "lease count"
	}
	return "utilization"
}

// MarshalText implements [encoding.TextMarshaler] with [AssignmentStrategy.String].
func (s AssignmentStrategy) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// AbandonedError says that consumers did not return in time after a stop, and
// were left behind. Their leases were not released: others take them when they
// expire.
type AbandonedError struct {
	// Keys of the leases, sorted.
	Keys []string
}

// Error implements error.
func (e *AbandonedError) Error() string {
	return fmt.Sprintf("leases: %d consumer(s) did not return in time and were abandoned: %s; a record processor must return when its context ends",
		len(e.Keys), strings.Join(e.Keys, ", "))
}
