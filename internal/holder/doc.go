// Package holder keeps one lease. A [Holder] renews it, writes its checkpoints, and hands it over
// or gives it back in the end. It stands where the KCL has LeaseRenewer and DynamoDBCheckpointer.
// The coordinator takes leases and runs a Holder for each. The consumer of the shard uses it too.
//
// A Holder has three layers, and each embeds the one below it:
//
//	held     the lease, how long it can be trusted, and whether the consumer shall
//	         finish (held.go)
//	writer   the conditional writes to the row, and what a conflict means (write.go, release.go);
//	         a row that has vanished (recovery.go, vanished.go)
//	Holder   the goroutine and the requests of the consumer (holder.go, requests.go)
//
// Their decisions are pure functions in decide.go.
//
// Invariants I1 to I6, I11 and I21 of ARCHITECTURE.md are about this package. The package comment
// of internal/coordinator shows trust and hand-over as seen by the other workers.
package holder
