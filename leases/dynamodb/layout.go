package dynamodb

// The attributes of a lease item that have a meaning besides that of their value. The others are
// those of [leases.Attr.Field]. The type of an attribute follows from the type of its field:
//
//	string, leases.Origin        S
//	int64, float64               N
//	time.Time                    N, seconds since 1970 with a fraction
//	[]string                     SS, also parentShardId
//	kcl.ExtendedSequenceNumber   S, and the sub-sequence number N
//	kcl.HashKeyRange             S for each end
//	[]byte                       B
//
// The KCL does not read attributes whose names begin with go.
const (
	attrKey        = "leaseKey"     // S, hash key
	attrStream     = "streamName"   // S, account:stream:epoch, only in an application with several streams
	attrShardID    = "shardId"      // S, only in an application with several streams
	attrEntityType = "entityType"   // S, since KCL 3.5
	attrOwner      = "leaseOwner"   // S, hash key of the index
	attrCounter    = "leaseCounter" // N
	attrCheckpoint = "checkpoint"   // S
)

// The index of leases by owner (KCL 3.x).
const indexByOwner = "LeaseOwnerToLeaseKeyIndex"

// The kinds of items in a table of KCL 3.5 (entityType). KCL 3.0 to 3.4 has the others in two side
// tables, without entityType and under other key attributes.
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

	attrNativeWorker = "goWorker"    // BOOL: the worker is of this library
	attrMaxLeases    = "goMaxLeases" // N, the most leases that the worker takes; 0 is no limit
	attrHandover     = "goHandover"  // N, seconds that the worker may need to hand over a lease
)
