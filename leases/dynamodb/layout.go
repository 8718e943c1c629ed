package dynamodb

// The attributes of a lease item, as the Java KCL spells them.
const (
	attrKey                = "leaseKey"                           // S, hash key
	attrCounter            = "leaseCounter"                       // N
	attrOwner              = "leaseOwner"                         // S, absent when nobody owns the lease
	attrOwnerSwitches      = "ownerSwitchesSinceCheckpoint"       // N
	attrCheckpoint         = "checkpoint"                         // S
	attrCheckpointSub      = "checkpointSubSequenceNumber"        // N
	attrPending            = "pendingCheckpoint"                  // S
	attrPendingSub         = "pendingCheckpointSubSequenceNumber" // N
	attrPendingState       = "pendingCheckpointState"             // B
	attrParents            = "parentShardId"                      // SS, in spite of its name
	attrChildren           = "childShardIds"                      // SS
	attrStartingHashKey    = "startingHashKey"                    // S
	attrEndingHashKey      = "endingHashKey"                      // S
	attrThroughput         = "throughputKBps"                     // N
	attrCheckpointOwner    = "checkpointOwner"                    // S, while a lease is handed over
	attrStream             = "streamName"                         // S, account:stream:epoch, with several streams only
	attrShardID            = "shardId"                            // S, with several streams only
	attrEntityType         = "entityType"                         // S, since KCL 3.5
	entityLease            = "LEASE"                              // entityType of a lease
	attrLockVersion        = "recordVersionNumber"                // of the leader lock
	attrClientVersion      = "cv"                                 // of the migration state Migration3.0
	attrTableMigration     = "tm"                                 // of the migration state TableMigration3.5
	attrMetricsLastUpdated = "lut"                                // of a worker's metrics
)

// The attributes that are ours. The KCL reads items by attribute name and does
// not notice them.
const (
	attrNativeOwner   = "goOwner"         // S, worker of this library that took the lease last
	attrPinnedAt      = "goPinnedAt"      // N, seconds since 1970 with a fraction: where LATEST was pinned
	attrStreamCreated = "goStreamCreated" // N, seconds since 1970 with a fraction: when the stream was created
)
