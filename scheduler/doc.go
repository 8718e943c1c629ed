// Package scheduler assembles the library. It finds the shards of the streams, and keeps a lease
// for each. It reads every shard whose lease this worker holds, and calls a [kcl.Processor] with
// the records. It is the KCL's Scheduler together with its ShardConsumer. A program calls it:
//
//	s := scheduler.New(cfg, factory) // cannot fail, dials nothing, starts nothing
//	err := s.Run(ctx)                // validates, works, blocks; nil after a requested stop
//
// # Life of a shard's consumer
//
//	WAITING_ON_PARENT_SHARDS -> INITIALIZING -> PROCESSING -+-> SHUTDOWN_REQUESTED -> SHUTDOWN_COMPLETE
//	                                                        +-> SHUTTING_DOWN ------> SHUTDOWN_COMPLETE
//
// The consumer of a shard is one goroutine. Its code is a sequence of functions, one for each
// state. The consumer runs from the take of the lease until the lease is finished, lost or
// released:
//
//   - A shard starts after the lease row of each parent says SHARD_END.
//   - After an error or a panic of the processor, the same batch is delivered again, with a
//     backoff. No record is ever skipped.
//   - Before each delivery the consumer checks that the lease is valid.
//   - At the end of a shard, the leases of its children are made. Then SHARD_END is written.
//   - At a stop of the worker, the consumer finishes the current batch. Then the processor may
//     checkpoint, and the lease is released.
//
// # Goroutines
//
// Run itself is the lease coordinator. It starts and joins one goroutine for each of six loops:
// shard sync, clean-up, registration, stream tracker, StopAtTip and watchdog. Each lease has two
// more goroutines: the consumer, and the holder, which renews the lease.
package scheduler
