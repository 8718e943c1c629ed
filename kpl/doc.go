// Package kpl splits records that the Kinesis Producer Library aggregated into the user records
// that its callers wrote. It also makes such aggregates. It matches AggregatorUtil of the KCL. The
// scheduler calls [Deaggregate] with every batch; producers and tests use [Aggregator].
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
// MD5 is no secret, so whoever may write to the stream can write any aggregate. Each is read as
// hostile. If all of an aggregate is in order, its user records take its place. Otherwise the
// carrier is delivered as it came, byte for byte, as one record, and [Report] counts it. Its
// neighbours are not affected, and no error holds any of its content. The same bytes always give
// the same result, so that a checkpoint inside an aggregate means the same record to every worker.
//
// Duplicates are normal. The producer library writes a record again when the record landed on
// another shard than foreseen, which happens around a reshard. Options.HashKeyRange removes such
// duplicates, and its comment names the price.
package kpl
