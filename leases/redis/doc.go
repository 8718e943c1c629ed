// Package redis keeps leases in Redis 6 or later, or Valkey: one server, one behind sentinels, or a
// cluster. The Java Kinesis Client Library has no counterpart. internal/coordinator and the
// scheduler call this package through [leases.Store], as they call leases/dynamodb.
//
// # The layout
//
// There are three kinds of keys. For KeyPrefix kcl and Application orders they are:
//
//	kcl:{orders}:table        hash: layout, format version, application, time of creation
//	kcl:{orders}:leases       sorted set, all scores 0: the keys of the leases
//	kcl:{orders}:lease:<key>  hash: one lease; [leases.Attr.Field] names its fields
//
// The braces are a hash tag: all keys of an application are in one slot of a cluster. So a script
// may change them together, and one stream of replication carries them. Every call checks the table
// key. Data of another application, layout or version are never read or written. No key expires.
//
// A field that is absent or empty is a zero value in [leases.Lease]. Each value has one form, in
// which this package writes it. Any other form makes the row unreadable (a [leases.RowError]), and
// does not affect other rows.
//
// # The writes
//
// Every write is one Lua script, which Redis runs alone. The script compares the fields that the
// caller expects with the row, and changes the fields that the caller names. Fields that this
// package does not know survive. So do changes that others made to other fields.
//
// Every write leaves a random mark in the row (lastWrite). After a lost answer, a client may send a
// write again. The mark tells the repetition from a conflict. A write that Redis refuses, for a
// missing right or for lack of memory, changes nothing. All reads go to the master too, whatever
// the client's routing of reads.
//
// # What a listing costs
//
// A listing takes about 3.5 microseconds of the server's only thread for each lease. Every worker
// lists all leases about every two seconds: 35 ms for 10,000 leases. Where workers times leases
// exceeds 500,000, use leases/dynamodb, or several applications.
//
// # What a failover can lose
//
// Redis replicates asynchronously, which is weaker than DynamoDB. When a master dies, the replica
// that takes over may lack writes that the master accepted and answered. One stream of replication
// carries the keys of an application. So the table is as it was a moment before, and consistent in
// itself. This has three consequences:
//
//   - A checkpoint may go back. Records after it are processed again, and no record is skipped. The
//     records of a finished shard may be processed again while its children are read.
//   - A lease may be back with an earlier owner, or with none. The next renewal of its holder
//     conflicts, and the holder stops. Until then, for less than FailoverTime, two workers may
//     process the same records.
//   - An application may start for the first time at LATEST, and lose its rows before the first
//     checkpoint. The rows are made again at a later LATEST. Start at TRIM_HORIZON or AT_TIMESTAMP
//     where this matters.
//
// A master may be cut off from its replicas, but not from all workers. It goes on accepting writes
// that will be thrown away. For that long, two workers may process the same records. So configure
// the server:
//
//   - min-replicas-to-write 1, and min-replicas-max-lag a few seconds: a master that is cut off
//     refuses writes, and its workers stop.
//   - appendonly yes: a server that starts again has its rows.
//   - maxmemory-policy noeviction: no row is ever dropped.
//
// A table that is gone as a whole is [leases.ErrTableNotFound]. It is not made again while workers
// run.
//
// # Rights
//
// With access control lists, the user of a worker needs the keys of its application and these
// commands. The last two are for clusters:
//
//	ACL SETUSER orders on >password ~kcl:{orders}:* +eval +evalsha +type +hget +hmget +hgetall +hset
//	  +hdel +del +zadd +zrem +zscore +zrangebylex +hello +auth +ping +cluster|slots +command
//
// Init also reads INFO memory, to warn of an eviction policy that drops rows. It does without if
// the right is missing.
package redis
