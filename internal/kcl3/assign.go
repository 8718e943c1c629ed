package kcl3

import (
	"math/rand/v2"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// View is the input of the leader's assignment. docs/kcl3.md lists where it departs from the KCL's
// LeaseAssignmentManager.
type View struct {
	// Leases are all leases, in any order.
	Leases []Row
	// Workers are the workers that may get leases; see [WorkerWatch.Active].
	Workers []leases.WorkerMetrics
	// Balance allows moves of leases between workers that read them; see [Cadence].
	Balance bool
	// Throughputs is the average throughput of each lease in KB/s, by key. A lease without an entry
	// has the throughput of its row.
	Throughputs map[string]float64
	// Variances is the variance of Throughputs, by key. A lease without an entry has none.
	Variances map[string]float64
	// Config says how leases are assigned.
	Config Config
	// Rand chooses among several leases that could move. nil chooses the first.
	Rand *rand.Rand
}

// Row is one lease, with what the leader has observed of it.
type Row struct {
	leases.Lease
	// Expired says that the counter has stood still for too long.
	Expired bool
	// Overdue says that the hand-over has taken too long; see [HandoverWatch].
	Overdue bool
	// Since is when the counter was first seen, on the monotonic clock. The lease with the earliest
	// time is assigned first.
	Since time.Duration
	// kbps is the throughput, or the average of all leases when it is not known. Assign computes
	// it.
	kbps float64
	// waits says that a parent is still to be read. Assign computes it.
	waits bool
}

// Config says how leases are assigned. See [DefaultConfig].
type Config struct {
	// ByCount evens out the number of leases instead of the load (LEASE_COUNT_BASED).
	ByCount bool
	// MaxLeases is the most leases of a worker that does not report its own limit.
	// 0 is no limit.
	MaxLeases int
	// MaxThroughput is the most KB/s of one worker. 0 is no limit.
	MaxThroughput float64
	// threshold is the part of the average by which a worker may differ from it: 0.1 in the KCL.
	threshold float64
	// Dampening is the part of the difference that is removed at once: 0.6 in the KCL.
	Dampening float64
	// exact moves no lease that is larger than the difference.
	exact bool
	// abrupt assigns a lease without asking its owner for a hand-over.
	abrupt bool
	// Certain evens out only differences that cannot be chance.
	Certain bool
}

// DefaultConfig returns the KCL's defaults.
func DefaultConfig() Config { return Config{threshold: 0.1, Dampening: 0.6} }

// Move is the change of owner of one lease.
type Move struct {
	// Lease is the lease as it was read.
	Lease leases.Lease
	// To is the next owner of the lease.
	To string
	// Graceful says that the owner is asked to hand the lease over. Otherwise the lease is assigned
	// at once.
	Graceful bool
	// Reason is free, expired, handover or balance.
	Reason string
}

// Assign decides which worker gets which lease. First it assigns the leases that no worker reads:
// free ones, expired ones, and those whose hand-over takes too long. spillover is the number of
// these leases that no worker can take. Then, if v.Balance, leases move from busy workers to idle
// ones.
// Assign is pure.
//
//   - A lease goes to a worker below its limits. A worker with an expired lease gets one only if
//     there is no other worker. It is in trouble, or it is dead and its last report is recent.
//   - A lease that is being handed over counts for its next owner.
//   - Finished leases are left alone and count for nobody.
//   - Leases that wait for a parent come last. Where all workers have a limit, they are not
//     assigned before the parent's end. They would take a place that the parent needs.
func Assign(v View) (moves []Move, spillover int) {
	a := newAssigner(v)
	spillover = a.assignIdle()
	switch {
	case !v.Balance:
	case v.Config.ByCount:
		a.balanceCount()
	default:
		a.balanceLoad()
	}
	return a.moves, spillover
}
