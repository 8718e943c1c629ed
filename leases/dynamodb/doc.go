// Package dynamodb keeps leases in a DynamoDB table, in the layout of the Java
// Kinesis Client Library, so that Java and Go workers can share a table or
// replace each other. It matches DynamoDBLeaseRefresher and
// DynamoDBLeaseSerializer; internal/coordinator and the scheduler call it.
//
// # The table
//
// One item a shard, hash key leaseKey (S), no range key. The attributes are
// those of layout.go. What is absent in a [leases.Lease] is absent in the item,
// never an empty string. Attributes whose names start with go are ours and are ignored by the KCL.
// KCL 3.5 keeps other items in the same table (leader lock, worker metrics,
// migration states); they are told apart by entityType.
//
// # Beside KCL 3.x
//
// [Store.Fleet] reads and writes those items as
// the KCL does (DynamoDBLockBasedLeaderDecider, WorkerMetricStatsDAO,
// CoordinatorStateDAO), and keeps an index of leases by owner. KCL 3.0 to 3.4 has
// them in two side tables, <Table>-CoordinatorState and
// <Table>-WorkerMetricStats, under other keys and without entityType. These are
// used where they exist, which is looked up once a minute and before every
// acquisition of the lock, and never made: that the first of them exists tells
// KCL 3.5 where the lock is. The state TableMigration3.5 in it says when the lease
// table takes over:
//
//	state      new metrics and states    lock           read from
//	none, INIT side tables               side table     both, side tables first
//	DEPLOYED   side tables, or lease     side table     both
//	           table with Config.MigrateToLeaseTable
//	PENDING    lease table               side table     both
//	COMPLETE   lease table               lease table    lease table
//
// A state that exists already is changed where it is.
//
// # The writes
//
// A row is made by one PutItem that never overwrites. From then on every write
// is one conditional UpdateItem that names the attributes it changes and those
// it expects, so attributes that this package does not know survive, and so do
// the changes of other workers. The SDK's own retries are switched off for
// writes: whether to repeat one whose answer was lost depends on what the row
// says by then, and only the lease's holder can tell.
package dynamodb
