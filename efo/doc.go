// Package efo reads one shard with SubscribeToShard (enhanced fan-out) for as long as the shard
// lives. It also registers the stream consumer that SubscribeToShard needs.
//
// [Subscriber] stands where the KCL has its FanOutRecordsPublisher, and [Register] where it has its
// FanOutConsumerRegistration. Package scheduler makes one Subscriber per lease. A program may also
// use a Subscriber without package scheduler.
//
// # Life of a reader
//
//	        +-------------------------------------+
//	        v                                     |
//	wait for a turn -> subscribe -> follow -> why did it end?
//	 (1 s floor,          |           |       |
//	  lease owned)        | refused   |       +- five minutes, renewal: again at once
//	                      v           |       +- cut, silent, exception: again after a backoff
//	                  classify        v       +- nil continuation and children: shard end
//	                      |      loop body    +- early, empty: ask whether the shard has ended
//	                      +- passes: again    +- stream or consumer missing, denied: error
//
// A subscription goes on after the continuation of the last batch whose loop body came back. A cut
// connection therefore loses nothing, and repeats at most one batch. The end of a subscription says
// nothing about the shard: the SDK reports a connection that was cut in the middle of a frame over
// HTTP/1.1 as a normal end. Only the service's own words end a shard, see [Subscriber.Batches].
//
// There is no queue. While the loop body runs, the reader reads nothing. The flow control of HTTP/2
// then stops the server on this stream and on no other.
//
// # Many shards in a process
//
// The client of [NewHTTPClient] puts up to 64 subscriptions on a connection. It dials one
// connection at a time, or several if the peer allows few streams on each. It opens 32
// subscriptions at a time: 2,000 are open within four seconds at 40 ms of round trip. A
// subscription without records takes 5 goroutines, 13 KiB of heap and 20 KiB of stacks. A blocked
// one takes up to 512 KiB and two events more. Every reader renews its first subscription early, at
// a random time. It renews the first one after a failure early, too. The renewals of thousands of
// subscriptions that were opened together therefore spread over the five minutes.
package efo
