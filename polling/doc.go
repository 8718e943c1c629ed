// Package polling reads one shard with GetRecords, for as long as the shard
// lives, at the pace that the service allows.
//
// [Fetcher] stands where the KCL has its PrefetchRecordsPublisher and
// KinesisDataFetcher. Package scheduler makes one per lease when it polls; a
// program may also use one by itself.
//
//	        +-------------------------------------------------------+
//	        v                                                       |
//	GetShardIterator --> wait for the turn --> GetRecords --> loop body
//	        ^                                      |                |
//	        |   expired, refused: after the last   |                +-- nil iterator, children: shard end
//	        +---------- delivered record ----------+
//
// # Pace
//
// A shard answers five GetRecords a second and gives 2 MiB a second, to all of
// its pollers together. So calls are at least 200 ms apart; an answer is paid
// for, at 2 MiB a second, before the next call, which is the five seconds that
// the service asks for after a full answer of 10 MiB; and a reader that has
// caught up asks once per IdleInterval. A refusal leads to a backoff and never
// to an end.
//
// There is no queue and no second goroutine. The position moves when a batch
// is handed over, never when an answer merely arrived.
package polling
