// Package coordinator decides which worker reads which shard. It matches the KCL's LeaseCoordinator
// with its taker and discoverer. The scheduler runs one [Coordinator]. For each lease that it gets,
// the coordinator runs a holder of internal/holder with a consumer. Stores, such as
// leases/dynamodb, only keep rows.
//
// # Authority
//
// A lease is a row of a table. Some writes renew, take or give away a lease. Such a write expects
// the counter that its writer has read, and adds one to it. The store refuses one of two such
// writes, however wrong its writer's idea of the time is. A write that asks for a lease expects the
// owners only, and leaves the counter alone. The actual owner is CheckpointOwner while a lease is
// handed over, and Owner otherwise.
//
// Without a leader all workers are equal. Each worker lists the table by itself and computes the
// same distribution as the others. It carries out its own part; see internal/plan.
//
// # Trust
//
// Between two writes an owner trusts that it still has the lease. It does so for a little less than
// FailoverTime, counted from when it sent the last accepted renewal. Others wait a little longer,
// counted from when they first saw the counter. No clock is ever compared with another one:
//
//	owner   send renewal                     0.95 F: stop delivering
//	           |-------- trusts its lease -------|
//	row        .  c=8 ....................................... c=9 (taken)
//	others     .     |-------- counter stands still ----------|
//	              see c=8 first                          1.05 F: take
//
// An owner's deadline is the earlier one of its wall clock and its monotonic clock. The monotonic
// clock stands still while a machine is suspended. Others go by their monotonic clock alone. A
// worker that is frozen for longer than its trust cannot write: the counter has moved.
//
// # Hand-over
//
// A worker asks a live owner of this library for a lease. The owner finishes first:
//
//	             Owner  CheckpointOwner  counter
//	held by A      A          -             7
//	B asks         B          A             7     A's next renewal meets the request, and
//	A finishes     B          A             8...  closes Stopping; final checkpoint
//	A completes    B          -             9     after its consumer has returned
//	B starts       B          -            10
//
// If A dies, its counter stands still and B takes the lease. If B dies, A completes the hand-over,
// and the lease expires. A worker J of KCL 2.x may take the lease meanwhile. It leaves
// CheckpointOwner as it is, and HandoverTo as B wrote it. A HandoverTo other than Owner shows that
// the hand-over is over.
//
// # A leader
//
// Workers of KCL 3.x do not take leases. One of them, the leader, assigns them. Where a table says
// so (see [leases.Assignment]), workers of this library do the same, as followers and as leaders.
// Trust and hand-over stay as they are. The leader writes the requests, and finds an owner for free
// leases:
//
//	every worker   reports that it lives (reporter.go), takes part in the election of
//	               the leader (internal/election), takes the leases that are assigned
//	               to it (leaderbased.go), and hands over those that are asked for
//	the leader     assigns leases that are free or expired, asks busy workers for
//	               leases on behalf of idle ones (leader_assign.go, internal/kcl3), and
//	               carries on two migrations
//	any worker     takes leases that the leader has neglected for three failover times
//
// So a dead or slow leader delays work, but does not stop it.
//
// # Layers
//
// Each layer embeds the one below it:
//
//	workerState  the rows as seen last, the leases that this worker holds (workerstate.go),
//	             and its writes that a listing may lack (unlisted.go)
//	table        the calls of the store and the verbs: take, ask, complete, give back
//	             (table.go, take.go, writes.go, arrivals.go)
//	scanner      lists the table, judges the rows, and counts how long leases wait
//	             (scanner.go, sighting.go)
//	assignment   native (native.go), upgrading (native_upgrade.go) or by a leader
//	             (leaderbased.go, leader.go)
//
// modes (modes.go) asks the table which assignment to use. Nothing else asks for the mode. The
// decisions are pure, and have packages of their own. internal/plan decides which leases to take,
// and internal/kcl3 which leases the leader assigns.
package coordinator
