// Package shardsync decides which rows a lease table must have for the shards of a stream.
// All of it is pure: it takes rows and shards, and returns the writes to make. It matches
// the KCL's HierarchicalShardSyncer, LeaseCleanupManager and PeriodicShardSyncManager. The
// scheduler and kclctl call it.
//
//	Plan         the rows that are missing, parents before children
//	PlanStarts   the writes by which rows say where they start
//	PlanClaim    the marks by which an application claims a table
//	PlanCleanup  the rows that nobody needs any more
//	Audit        the hash keys that no row covers; PlanRepair makes the lost rows
//	FormerWatch  the rows of streams that nobody reads any more
package shardsync
