// Package redis keeps leases in Redis 6 or later, or Valkey: one server, one
// behind sentinels, or a cluster. The Java Kinesis Client Library has no
// counterpart; internal/coordinator and the scheduler call this package through
// [leases.Store], as they call leases/dynamodb.
//
// # The layout
//
// Three kinds of keys, for KeyPrefix kcl and Application orders:
//
//	kcl:{orders}:table        hash: layout, format version, application, time of creation
//	kcl:{orders}:leases       sorted set, all scores 0: the keys of the leases
//	kcl:{orders}:lease:<key>  hash: one lease; its fields are those of layout.go
//
// The braces are a hash tag: all keys of an application are in one slot of a
// cluster, so a script may touch them together, and they share one stream of
// replication. The table key is checked by every call: data of another
// application, layout or version is never read or written. Nothing expires.
// A field that is absent or empty is a zero value in [leases.Lease]; other forms
// of a value than the one that is written here make the row unreadable (a
// [leases.RowError]), and the other rows are not affected.
//
// # The writes
//
// Every write is one Lua script, which Redis runs alone: it compares the fields
// that the caller expects with what it read, and changes those that the caller
// names. Fields that this package does not know survive, and so do changes that
// others made to other fields. Every write leaves a random mark in the row
// (lastWrite), so that a write which the client sent twice, because an answer
// was lost, is told from a conflict. A write that Redis refuses, for want of a
// right or of memory, changes nothing. All reads go to the master too, as
// scripts do, whatever the client's routing of reads.
//
// # What a listing costs
//
// About 3.5 microseconds of the server's only thread for each lease, and every worker
// lists all leases about every two seconds: 35 ms for 10,000 leases. Where workers times
// leases exceeds 500,000, use leases/dynamodb, or several applications.
//
// # What a failover can lose
//
// Redis replicates asynchronously. When a master dies, writes that it had
// accepted, and even answered, may not have reached the replica that takes
// over: this is weaker than DynamoDB. As the keys of an application share one
// stream of replication, the table then is as it was a moment before, and
// consistent in itself. What that means:
//
//   - A checkpoint may go back: records after it are processed again. None is
//     skipped. Of a shard that had been finished, they may be processed again
//     while its children are read.
//   - A lease may be back with an earlier owner, or with none. Its holder notices
//     at its next renewal, which conflicts, and stops; until then, for less than
//     FailoverTime, two workers may process the same records.
//   - When an application starts for the first time at LATEST, and the rows
//     themselves are lost before any checkpoint was written, they are made again
//     at a later LATEST. Start at TRIM_HORIZON or AT_TIMESTAMP where this matters.
//
// A master that is cut off from its replicas, but not from all workers, goes on
// accepting writes that will be thrown away, and for as long two workers may
// process the same records. So set min-replicas-to-write 1, and
// min-replicas-max-lag to a few seconds: such a master then refuses writes, and
// its workers stop. Set appendonly yes, so that a server which starts again has
// its rows, and maxmemory-policy noeviction, so that no row is ever dropped. A
// table that is gone as a whole is leases.ErrTableNotFound, and is not made
// again while workers run.
//
// # Rights
//
// With access control lists, a worker's user needs the keys of its application
// and these commands (the last two are for clusters):
//
//	ACL SETUSER orders on >password ~kcl:{orders}:* +eval +evalsha +type +hget +hmget +hgetall +hset
//	  +hdel +del +zadd +zrem +zscore +zrangebylex +hello +auth +ping +cluster|slots +command
//
// Init also reads INFO memory, to warn of an eviction policy that drops rows;
// without the right it does not.
package redis
