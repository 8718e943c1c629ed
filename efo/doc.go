// Package efo reads one shard with SubscribeToShard (enhanced fan-out), for as
// long as the shard lives, and registers the stream consumer that it needs.
//
// [Subscriber] stands where the KCL has its FanOutRecordsPublisher, and
// [Register] where it has its FanOutConsumerRegistration. Package scheduler
// makes one Subscriber per lease; a program may also use one by itself.
//
// # Life of a reader
//
//	        +--------------------------------------------+
//	        v                                            |
//	wait for a turn --> subscribe --> follow events --> why did it end?
//	 (1 s floor,          |                |                |
//	  lease owned)        | refused        | yields         +-- five minutes, renewal: again at once
//	                      v                v batches        +-- cut, silent, exception: again after a backoff
//	                  classify         loop body            +-- nil continuation and children: shard end
//	                      |                                 +-- early, empty: ask whether the shard has ended
//	                      +-- transient: again              +-- stream or consumer gone, denied: error
//
// A subscription goes on after the continuation of the last batch whose loop
// body came back, so a cut anywhere loses nothing and repeats at most the
// batch in hand. What ends a subscription says nothing about the shard: the SDK
// reports a connection cut in the middle of a frame over HTTP/1.1 as a normal
// end. Only the service's own words end a shard, see [Subscriber.Batches].
//
// There is no queue. A loop body that takes long does not read; HTTP/2's flow
// control then stops the server on this stream and on no other.
//
// # Many shards in a process
//
// The client of [NewHTTPClient] puts up to 64 subscriptions on a connection,
// dials one connection at a time (several where the peer allows few streams on
// each), and lets 32 subscriptions open at a time: 2,000 are open within four
// seconds at 40 ms of round trip. A resting subscription takes 5 goroutines, 13
// KiB of heap and 20 KiB of stacks; one that is blocked, up to 512 KiB and two
// events more. Every reader renews its first subscription, and the first one after
// a break, once before its time, at random, so that the renewals of thousands that
// were opened together spread over the five minutes.
package efo
