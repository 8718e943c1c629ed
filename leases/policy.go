package leases

import (
	"errors"
	"fmt"
	"strings"
)

// Assignment says how the workers of an application share out the leases.
type Assignment int

// The ways to assign leases.
const (
	// AssignmentAuto, the default, follows the table. Workers take leases by themselves unless the
	// table says that a leader assigns them. The workers of the Java KCL 3.x write that into the
	// table, or the operator of a migration from 2.x. The worker asks the table every minute.
	AssignmentAuto Assignment = iota
	// AssignmentNative lets every worker take its share by itself, without a leader. It works beside
	// workers of this library and of KCL 1.x and 2.x. It does not work beside running workers of KCL
	// 3.x.
	AssignmentNative
	// AssignmentKCL3 lets a leader assign the leases, as in KCL 3.x, even if the table does not say
	// so. All workers of the application must use it then.
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

// ErrMixedAssignment says that other workers use the lease table in a way that does not fit
// Config.Assignment. The message names them, and says what to do.
var ErrMixedAssignment = errors.New("leases: workers that assign leases in different ways cannot share a table")

// AssignmentState says how a worker gets its leases at present.
type AssignmentState struct {
	// Mode is native, native (upgrade from KCL 2.x) or KCL 3.x. It is unknown until the table has been
	// asked.
	Mode string
	// Leader is the worker that assigns leases; empty when it is not known, and in native mode.
	Leader string
	// Leading says that this worker is the leader.
	Leading bool
}

// Balance says by which measure workers even out the leases that they take by themselves. It has no
// effect while a leader assigns the leases.
type Balance int

const (
	// BalanceLeaseCount evens out the number of leases, to within one.
	BalanceLeaseCount Balance = iota
	// BalanceThroughput evens out the throughput of the workers to within a fifth of the average. The
	// owner of each lease measures its throughput (ThroughputKBps). Single leases and varying loads
	// may leave a larger difference: a lease moves only for a difference that cannot be chance.
	//
	// With FailoverTime 10s, ten minutes are averaged. When loads change for good, most of the
	// difference is gone after a quarter of an hour. Where data come in bursts, about half of it is
	// gone after half an hour. While the loads stay as they are, hardly any lease moves, even with
	// bursts.
	//
	// An idle lease counts for a tenth of an average one. A lease does not move again within 30
	// FailoverTime. Each further move doubles that time, and within 24 hours most of it is forgotten.
	// So a lease moves 12 times at most on the first day, and 6 times at most on each later day. Moves
	// to workers that have next to no lease come on top. Leases that nobody holds are shared out by
	// number.
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

// AssignmentStrategy says by which measure a leader shares out the leases. It has no effect where
// workers take leases by themselves; see [Balance].
type AssignmentStrategy int

const (
	// AssignByUtilization evens out the use of the workers: the CPU that they report, or else the
	// throughput of their leases (WORKER_UTILIZATION_AWARE in the KCL).
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

// AbandonedError says that consumers did not return in time after a stop and were abandoned. Their
// leases were not released. Other workers take these leases when they expire.
type AbandonedError struct {
	// Keys are the keys of the leases, sorted.
	Keys []string
}

// Error implements error.
func (e *AbandonedError) Error() string {
	return fmt.Sprintf("leases: %d consumer(s) did not return in time and were abandoned: %s; "+
		"a record processor must return when its context ends",
		len(e.Keys), strings.Join(e.Keys, ", "))
}
