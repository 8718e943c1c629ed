// Package coordinator decides which worker reads which shard. It matches the KCL's
// LeaseCoordinator with its taker, renewer and discoverer; the
// scheduler runs one [Coordinator], and for each lease that it gets, a consumer
// on top of a [Holder]. Stores, such as leases/dynamodb, only keep rows.
//
// # Authority
//
// A lease is a row of a table. All authority comes from one rule: a write that
// renews, takes or gives away a lease expects the counter that its writer has
// read, and adds one to it. So one of two such writers is told that it was too
// late, however wrong its idea of the time may be. A write that asks for a lease
// expects the owners only, and leaves the counter alone. The actual owner is
// CheckpointOwner while a lease is handed over, and Owner otherwise.
//
// Natively no worker is special. Each lists the table by itself, comes to the
// same distribution as the others, and carries out its part of it; see plan.go.
//
// # Trust
//
// Between two writes an owner has to trust that the lease is still its own. It
// does so for a little less than FailoverTime, counted from when it sent the
// last renewal that was accepted; others wait a little longer, counted from
// when they saw the counter first. No clock is ever compared with another one:
//
//	owner   send renewal                     0.95 F: stop delivering
//	           |-------- trusts its lease -------|
//	row        .  c=8 ....................................... c=9 (taken)
//	others     .     |-------- counter stands still ----------|
//	              see c=8 first                          1.05 F: take
//
// An owner's deadline is the earlier one of its wall clock and its monotonic
// clock, as the latter stands still while a machine is suspended; others go by
// their monotonic clock alone. Whoever is frozen for longer in spite of that
// can still not write: the counter has moved.
//
// # Hand-over
//
// A live owner of this library is asked for a lease, and finishes first:
//
//	             Owner  CheckpointOwner  counter
//	held by A      A          -             7
//	B asks         B          A             7     A runs into it when it renews, and
//	A finishes     B          A             8...  closes Stopping; final checkpoint
//	A completes    B          -             9     when its consumer has returned
//	B starts       B          -            10
//
// If A dies, its counter stands still and B takes the lease; if B dies, so does
// A's hand-over end in a lease that expires. If a worker J of KCL 2.x takes the
// lease meanwhile, it leaves CheckpointOwner as it is, and HandoverTo, which B wrote
// with it, is not Owner any more: that tells everybody that the hand-over is over.
//
// # A leader
//
// Workers of the KCL 3.x do not take leases: one of them, the leader, assigns
// them. On a table that says so (see [leases.Assignment]) workers of this library do the
// same, as followers and as leaders. Trust and hand-over stay as they are; only
// who writes "B asks" and who finds an owner for a free lease is another one:
//
//	every worker   reports that it lives (reporter.go), watches the lock of the
//	               leader (election.go), starts with the leases that have its
//	               name (leaderbased.go), and hands over those that are asked for
//	the leader     assigns leases that are free or expired, asks busy workers for
//	               leases on behalf of idle ones (leader.go, internal/kcl3), and
//	               carries on two migrations
//	any worker     takes what the leader has neglected for three failover times
//
// A leader that is dead, or of the KCL and slow, therefore delays work, but does
// not stop it.
//
// # Layers
//
// Each layer embeds the one below it:
//
//	known        the rows as seen last, and the leases that this worker holds (known.go)
//	table        the calls of the store and the verbs: take, ask, complete, give back
//	             (table.go, take.go, arrivals.go)
//	scan         lists the table, judges the rows, and counts how long leases wait (scan.go)
//	assignment   native (native.go), upgrading (native_upgrade.go) or led by a leader (leaderbased.go)
//
// modes (modes.go) asks the table which assignment to use. Nothing else asks for the mode.
package coordinator
