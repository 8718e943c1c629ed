// Package polling reads one shard with GetRecords for as long as the shard lives, at the pace that
// the service allows.
//
// [Fetcher] stands where the KCL has its PrefetchRecordsPublisher and KinesisDataFetcher. Package
// scheduler makes one per lease when it polls. A program may also use a Fetcher without package
// scheduler.
//
//	        +--------------------------------------------------+
//	        v                                                  |
//	GetShardIterator --> wait for the pace --> GetRecords --> loop body
//	        ^                                      |           |
//	        |   expired, refused: after the last   |           +-- nil iterator, children: shard end
//	        +---------- delivered record ----------+
//
// # Pace
//
// A shard answers five GetRecords a second and gives 2 MiB a second, to all of its pollers
// together. So calls are at least 200 ms apart. After an answer, the reader waits for as long as
// the shard needs to give that many bytes: five seconds after a full answer of 10 MiB. Once the
// size of a shard's records is known, a call asks for no more records than the shard gives in a
// second.
//
// If the service refuses a call, others read the shard too. Then the reader claims half of both
// limits, and a sixtieth more each second. Pollers of this library come to equal parts that way and
// leave little unused. A refusal never ends the reading.
//
// At the tip of a busy shard, calls follow each other as fast as the limits allow. At the tip of a
// quiet shard, they come once per IdleInterval.
//
// # Reading ahead
//
// While the loop body has a batch, the reader gets one more (see [Config.PrefetchBytes]). It makes
// one attempt on a goroutine of its own, and joins the goroutine before it goes on or the loop
// ends. It decides about a failure when the loop body comes back. The position that a caller sees
// moves when a batch is handed over, not when an answer arrives. [Memory] bounds what many readers
// hold together.
package polling
