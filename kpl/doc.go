// Package kpl splits the records that the Kinesis Producer Library aggregated
// into the user records that its callers wrote, and makes such aggregates. It
// matches AggregatorUtil of the KCL. The scheduler calls [Deaggregate] with
// every batch; producers and tests use [Aggregator].
//
// # Format
//
// An aggregate is the data of one Kinesis record, the carrier:
//
//	F3 89 9A C2 | protobuf AggregatedRecord, at least 1 byte | MD5 of the protobuf, 16 bytes
//
//	message AggregatedRecord {
//	  repeated string partition_key_table     = 1;
//	  repeated string explicit_hash_key_table = 2;
//	  repeated Record records                 = 3;
//	}
//	message Record {
//	  required uint64 partition_key_index     = 1;
//	  optional uint64 explicit_hash_key_index = 2;
//	  required bytes  data                    = 3;
//	  repeated Tag    tags                    = 4; // checked, not delivered
//	}
//	message Tag {
//	  required string key   = 1;
//	  optional string value = 2;
//	}
//
// # All or raw
//
// MD5 is no secret: whoever may write to the stream can write any aggregate,
// so each is read as hostile. Either all of it is in order and its user records
// take its place, or the carrier is delivered as it came, byte for byte, as the
// one record it is to Kinesis, and [Report] counts it. Its neighbours are not
// affected, and nothing of its content is in an error. The same bytes always
// give the same result, so that a checkpoint inside an aggregate means the same
// record to every worker.
//
// Duplicates are normal: the producer library writes a record again when it
// landed on another shard than foreseen, which happens around a reshard.
// Options.HashKeyRange removes those, at a price that it explains.
package kpl
