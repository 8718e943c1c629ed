package plan

import (
	"slices"
	"strings"

	"github.com/kinesis-go/kcl/leases"
)

// Row is one lease, with what the worker has observed of it.
type Row struct {
	leases.Lease
	// Expired says that the counter has stood still for longer than an owner trusts its lease.
	Expired bool
	// Quiet says that the counter has stood still for longer than a healthy owner lets it.
	Quiet bool
	// Busy says that this worker cannot take the lease now. It holds the lease, its last consumer
	// has not returned yet, or the worker has just failed with the lease.
	Busy bool
	// KBps is the throughput, averaged over a while; negative when it is not known. KBps, Variance,
	// Settling and Restless are set only where throughput decides or soon may. That is so with
	// BalanceThroughput, and where a leader assigns leases or is about to.
	KBps float64
	// Variance is the variance of KBps.
	Variance float64
	// Settling says that the lease has moved for balance a short while ago.
	Settling bool
	// Restless says that the lease has moved too often to move again soon.
	Restless bool
	// Stuck says that the hand-over has taken too long, although the owner renews the lease. The row
	// does not name the next owner in HandoverTo.
	Stuck bool
	// ScansWaited is the number of scans in a row at which the lease could have been taken.
	ScansWaited int
}

// View is the input of a plan: what one worker sees, as of one listing.
type View struct {
	// Me is this worker's id.
	Me string
	// Max is the most leases of a worker; 0 for no limit.
	Max int
	// Asks is the most leases to ask for; negative for no limit.
	Asks int
	// Rows are all rows, even finished ones, sorted by key.
	Rows []Row
	// By is the measure by which workers even out the leases.
	By leases.Balance
	// Calm says that throughput has been measured for a while. No lease has moved to this worker in
	// that time.
	Calm bool
	// NoForce leaves leases to living workers of other libraries. Such leases could only be taken by
	// force, and a leader may have assigned them.
	NoForce bool
}

// Row returns the row with key, which must be in v.
func (v View) Row(key string) *Row {
	at, _ := slices.BinarySearchFunc(v.Rows, key, func(r Row, key string) int { return strings.Compare(r.Key, key) })
	return &v.Rows[at]
}

// Leases returns the leases of the rows of v.
func (v View) Leases() []leases.Lease {
	list := make([]leases.Lease, 0, len(v.Rows))
	for _, r := range v.Rows {
		list = append(list, r.Lease)
	}
	return list
}

// Waiting returns the keys of the leases that no worker may take yet. With MaxLeasesForWorker they
// are those with a parent that is still to be read. Without it there are none.
func (v View) Waiting() map[string]bool {
	if v.Max <= 0 {
		return nil
	}
	unread := make(map[string]bool, len(v.Rows))
	for _, r := range v.Rows {
		if !r.Finished() {
			unread[r.Stream+":"+r.ShardID] = true
		}
	}
	keys := map[string]bool{}
	for _, r := range v.Rows {
		if r.WaitsFor(unread) {
			keys[r.Key] = true
		}
	}
	return keys
}
