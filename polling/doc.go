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
// the service asks for after a full answer of 10 MiB; and as soon as the size of
// a shard's records is known, no more are asked for than a second of the rate. A
// refusal says that others read the shard too: then the reader claims half of
// both limits, and a sixtieth more each second. Pollers of this library come to
// equal parts that way and leave little unused. A refusal never leads to an end.
//
// At the tip of a busy shard calls follow each other as fast as that allows, at
// the tip of a quiet one they come once per IdleInterval.
//
// # Reading ahead
//
// While the loop body has a batch, one more is read (see [Config.PrefetchBytes]),
// by one attempt on a goroutine of its own that is joined before the reader goes
// on or the loop ends. What follows from its failure is decided when the loop
// body comes back. The position that a caller sees moves when a batch is handed
// over, never when an answer merely arrived. [Memory] bounds what many readers
// hold together.
package polling
