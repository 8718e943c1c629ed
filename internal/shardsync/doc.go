// Package shardsync decides which rows a lease table must have for the shards of a stream. All
// functions are pure: they take rows and shards, and return the writes to make. The package matches
// the KCL's HierarchicalShardSyncer, LeaseCleanupManager and PeriodicShardSyncManager. The
// scheduler and kclctl call it.
//
//	Plan            the rows that are missing, parents before children
//	PlanStarts      the writes that put into each row where its reader begins
//	PlanClaim       the marks by which an application claims a table; Marks tells a foreign row
//	PlanCleanup     the rows that nobody needs any more
//	Audit           the hash keys that no row covers; PlanRepair makes the lost rows
//	FormerWatch     the rows of streams that nobody reads any more
//	KCL2SyncLeader  the worker that synchronises the shards in a fleet of KCL 2.x
package shardsync
