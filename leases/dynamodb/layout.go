package dynamodb

// The attributes of a lease item, as the Java KCL spells them.
const (
	attrKey             = "leaseKey"                           // S, hash key
	attrCounter         = "leaseCounter"                       // N
	attrOwner           = "leaseOwner"                         // S, absent when nobody owns the lease
	attrOwnerSwitches   = "ownerSwitchesSinceCheckpoint"       // N
	attrCheckpoint      = "checkpoint"                         // S
	attrCheckpointSub   = "checkpointSubSequenceNumber"        // N
	attrPending         = "pendingCheckpoint"                  // S
	attrPendingSub      = "pendingCheckpointSubSequenceNumber" // N
	attrPendingState    = "pendingCheckpointState"             // B
	attrParents         = "parentShardId"                      // SS, in spite of its name
	attrChildren        = "childShardIds"                      // SS
	attrStartingHashKey = "startingHashKey"                    // S
	attrEndingHashKey   = "endingHashKey"                      // S
	attrThroughput      = "throughputKBps"                     // N
	attrCheckpointOwner = "checkpointOwner"                    // S, while a lease is handed over
	attrStream          = "streamName"                         // S, account:stream:epoch, with several streams only
	attrShardID         = "shardId"                            // S, with several streams only
	attrEntityType      = "entityType"                         // S, since KCL 3.5
)

// The attributes that are ours. The KCL reads items by attribute name and does
// not notice them.
const (
	attrNativeOwner   = "goOwner"         // S, worker of this library that took the lease last
	attrPinnedAt      = "goPinnedAt"      // N, seconds since 1970 with a fraction: the time that belongs to LATEST or AT_TIMESTAMP
	attrStreamCreated = "goStreamCreated" // N, seconds since 1970 with a fraction: when the stream was created
	attrApplication   = "goApp"           // S, application whose row it is
	attrStreamARN     = "goStream"        // S, ARN of the stream; up to the region, with several streams
	attrOrigin        = "goOrigin"        // S, where the application began to read the stream
	attrPaused        = "goPaused"        // S, why the shard shall not be read; absent otherwise
	attrReset         = "goReset"         // S, token of the reset that wrote the row
	attrReached       = "goReached"       // N, seconds since 1970 with a fraction: read up to here, as asked for
	attrAbilities     = "goCan"           // N, bits: what the last taker understands
	attrHandoverTo    = "goHandoverTo"    // S, next owner for whom a worker of this library began the hand-over
	attrNativeWorker  = "goWorker"        // BOOL, in the metrics of a worker of this library
	attrMaxLeases     = "goMaxLeases"     // N, the same: the most leases that it takes, 0 for no limit
	attrHandover      = "goHandover"      // N, the same: seconds that it may need to hand over a lease
)

// The index of leases by owner (KCL 3.x).
const indexByOwner = "LeaseOwnerToLeaseKeyIndex"

// The kinds of items in a table of KCL 3.5 (entityType). KCL 3.0 to 3.4 has the
// others in two side tables, without entityType and under other key attributes.
const (
	entityLease          = "LEASE"
	entityStream         = "STREAM"
	entityLeader         = "LEADER"
	entityClientVersion  = "CLIENT_VERSION_MIGRATION"
	entityTableMigration = "TABLE_MIGRATION"
	entityWorker         = "WORKER_METRIC_STATS"

	attrCoordinatorKey = "key" // S, hash key of the side table <Table>-CoordinatorState
	attrWorkerID       = "wid" // S, hash key of the side table <Table>-WorkerMetricStats
)

// The keys of the items of which there is one.
const (
	keyLeader         = "Leader"
	keyClientVersion  = "Migration3.0"
	keyTableMigration = "TableMigration3.5"
)

// The attributes of the leader's lock.
const (
	attrLockOwner    = "ownerName"           // S
	attrLockVersion  = "recordVersionNumber" // S, a random one for each write
	attrLockDuration = "leaseDuration"       // S, milliseconds as text
	attrLockReleased = "isReleased"          // S, "1" when released without being deleted
)

// The attributes of a migration's state.
const (
	attrClientVersion  = "cv"  // S, of Migration3.0
	attrTableMigration = "tm"  // S, of TableMigration3.5
	attrModifiedBy     = "mb"  // S, worker id
	attrModifiedAt     = "mts" // N, milliseconds since 1970
	attrHistory        = "h"   // L of M of cv or tm, mb and mts, newest first
	maxHistory         = 10
)

// attrStreamID, an S, marks the state of a stream (KCL's StreamInfo).
const attrStreamID = "streamId"

// The attributes of a worker's metrics.
const (
	attrMetricsLastUpdated = "lut" // N, seconds since 1970
	attrMetricsStats       = "sts" // M of L of N: the last samples of each metric in percent, oldest first
	attrMetricsRange       = "opr" // M of L of N, whole: the operating range of each metric
	attrMetricsSupport     = "sup" // N, newest feature that the worker knows
	attrMetricsSupportAt   = "slu" // N, seconds since 1970
	maxSamples             = 10
)
