package redis

// The fields of a lease's hash that name the lease. The others are those of [leases.Attr.Field],
// and have the names that the attributes have in DynamoDB. The form of a field follows from its
// type:
//
//	string, leases.Origin        as it is
//	int64                        decimal
//	float64                      shortest decimal
//	time.Time                    RFC 3339 in UTC
//	[]string                     shard ids in order, with commas between
//	kcl.ExtendedSequenceNumber   digits or a sentinel, and the sub-sequence number decimal
//	kcl.HashKeyRange             decimal for each end
//	[]byte                       as they are
//
// Scripts add lastWrite, the random mark of the last write.
const (
	fieldKey     = "leaseKey"
	fieldStream  = "streamName" // account:stream:epoch, only in an application with several streams
	fieldShardID = "shardId"    // only in an application with several streams
)

// The fields of the table's hash.
const (
	layoutName    = "kcl-go leases" // value of "layout"
	formatVersion = "1"             // value of "format"; another one is refused
)

// keys are the names of the keys of an application. row is the beginning of the name of a row.
type keys struct{ table, index, row string }

func keysOf(prefix, application string) keys {
	base := prefix + ":{" + application + "}:"
	return keys{table: base + "table", index: base + "leases", row: base + "lease:"}
}
