// Package dynamodb keeps leases in a DynamoDB table, in the layout of the Java Kinesis Client
// Library. Java and Go workers can share a table, or replace each other. The package matches
// DynamoDBLeaseRefresher and DynamoDBLeaseSerializer. internal/coordinator and the scheduler call
// it.
//
// # The table
//
// The table has one item for each shard. Its hash key is leaseKey (S), and it has no range key.
// [leases.Attr.Field] names the attributes. An empty text of a [leases.Lease] is an absent
// attribute, never an empty string. Attributes whose names begin with go belong to this library,
// and the KCL ignores them. KCL 3.5 keeps other items in the same table: the leader's lock, metrics
// of workers, states of migrations. The attribute entityType tells the kinds apart.
//
// # Beside KCL 3.x
//
// [Store.Fleet] reads and writes those items as the KCL does (DynamoDBLockBasedLeaderDecider,
// WorkerMetricStatsDAO, CoordinatorStateDAO), and keeps an index of leases by owner. KCL 3.0 to 3.4
// keeps the items in two side tables, <Table>-CoordinatorState and <Table>-WorkerMetricStats, under
// other keys and without entityType.
//
// This package uses side tables that exist, and never makes one. Workers of KCL 3.5 look for the
// lock in the first side table if it exists. The package looks for the side tables once a minute,
// and before each acquisition of the lock. The state TableMigration3.5 in the first side table says
// when the lease table takes over:
//
//	state      new metrics and states    lock           read from
//	none, INIT side tables               side table     both, side tables first
//	DEPLOYED   side tables, or lease     side table     both
//	           table with Config.MigrateToLeaseTable
//	PENDING    lease table               side table     both
//	COMPLETE   lease table               lease table    lease table
//
// A state that exists is changed in the table that has it.
//
// # The writes
//
// One PutItem makes a row, and never overwrites another. Each later write is one conditional
// UpdateItem. It names the attributes that it changes and those that it expects. Attributes that
// this package does not know survive, and so do changes that other workers made.
//
// The SDK does not repeat writes. After a lost answer, the row decides whether to write again, and
// only the holder of the lease can judge that.
package dynamodb
