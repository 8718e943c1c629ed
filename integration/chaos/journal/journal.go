// Package journal is the file in which a worker of integration/chaos notes what it has processed.
// The worker writes with a [Writer]. The chaos program reads with a [Reader], while the worker
// still writes.
//
// A batch of records is one write call, and its confirmation is a second one:
//
//	B 17 shardId-000000000003 81234567890123 2
//	4965... 0 key-0012 345
//	4965... 1 key-0012 346
//	E 17 .
//	D 17 81234567899999 .
//
// Line B has the number of the batch, its shard, when its processing began, and its number of
// records. Line E ends the records. Line D says when they were processed. A batch without line E
// was cut, by a kill or a full disk, and counts for nothing. Only a batch with line D is
// acknowledged. Times are those of [Now].
package journal

// Entry is one record of a batch.
type Entry struct {
	Sequence string // sequence number
	Sub      int64  // sub-sequence number
	Key      string // partition key
	Counter  int    // the number of the record among those with its key, from 0
}

// Batch is what a worker processed at once.
type Batch struct {
	Shard   string
	Began   int64 // before the batch was written
	Done    int64 // after it was written; 0 if the worker did not get as far
	Entries []Entry
}
