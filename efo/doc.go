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
package efo
