package redis

// The fields of a lease's hash. They are the attributes of the DynamoDB table,
// with their names; all values are text. Scripts add lastWrite, the random mark
// of the last write.
const (
	fieldKey             = "leaseKey"
	fieldStream          = "streamName"                         // account:stream:epoch, with several streams only
	fieldShardID         = "shardId"                            // with several streams only
	fieldOwner           = "leaseOwner"                         // absent when nobody owns the lease
	fieldCheckpointOwner = "checkpointOwner"                    // while a lease is handed over
	fieldCounter         = "leaseCounter"                       // decimal
	fieldOwnerSwitches   = "ownerSwitchesSinceCheckpoint"       // decimal
	fieldCheckpoint      = "checkpoint"                         // digits or a sentinel
	fieldCheckpointSub   = "checkpointSubSequenceNumber"        // decimal
	fieldPending         = "pendingCheckpoint"                  // digits or a sentinel
	fieldPendingSub      = "pendingCheckpointSubSequenceNumber" // decimal
	fieldPendingState    = "pendingCheckpointState"             // bytes as they are
	fieldParents         = "parentShardId"                      // shard ids in order, with commas between
	fieldChildren        = "childShardIds"                      // as parentShardId
	fieldHashStart       = "startingHashKey"                    // decimal
	fieldHashEnd         = "endingHashKey"                      // decimal
	fieldThroughput      = "throughputKBps"                     // shortest decimal of a float64
	fieldNativeOwner     = "goOwner"                            // worker that took the lease last
	fieldPinnedAt        = "goPinnedAt"                         // RFC 3339 in UTC: the time that belongs to LATEST or AT_TIMESTAMP
	fieldStreamCreated   = "goStreamCreated"                    // RFC 3339 in UTC: when the stream was created
	fieldApplication     = "goApp"                              // application whose row it is
	fieldStreamARN       = "goStream"                           // ARN of the stream; up to the region, with several streams
	fieldOrigin          = "goOrigin"                           // where the application began to read the stream
	fieldPaused          = "goPaused"                           // why the shard shall not be read; absent otherwise
	fieldReset           = "goReset"                            // token of the reset that wrote the row
	fieldReached         = "goReached"                          // RFC 3339 in UTC: read up to here, as asked for
	fieldHandoverTo      = "goHandoverTo"                       // next owner for whom a worker of this library began the hand-over
	fieldAbilities       = "goCan"                              // decimal, bits: what the last taker understands
)

// The fields of the table's hash.
const (
	layoutName    = "kcl-go leases" // value of "layout"
	formatVersion = "1"             // value of "format"; another one is refused
)

// keys are the names of an application's keys.
type keys struct{ table, index, row string }

func keysOf(prefix, application string) keys {
	base := prefix + ":{" + application + "}:"
	return keys{table: base + "table", index: base + "leases", row: base + "lease:"}
}
