// Package plan decides which leases a worker takes and asks for. The coordinator gives it a [View]
// of a listing, and carries out the actions. It stands where the KCL has LeaseTaker.
//
// A plan is pure: it calls no store, and reads no clock. Without a leader all workers are equal.
// Each computes the same distribution of the leases as the others, and carries out its own part:
//
//	Native    Leases that no worker holds are distributed (plan.go). Then the load is evened out,
//	          by the number of leases (count.go) or by throughput (throughput.go).
//	Led       A leader assigns the leases. The worker takes its own, and neglected ones.
//
// A [Scale] measures throughput over a while, with its variance (scale.go, estimate.go).
package plan
