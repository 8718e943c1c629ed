// Package scheduler assembles the library: it finds the shards of the streams, keeps a lease for
// each, reads every shard whose lease this worker holds and drives a [kcl.Processor] through its
// life. It is the KCL's Scheduler together with its ShardConsumer, and what a program calls:
//
//	s := scheduler.New(cfg, factory) // cannot fail, dials nothing, starts nothing
//	err := s.Run(ctx)                // validates, works, blocks; nil after a requested stop
//
// # Life of a shard's consumer
//
//	WAITING_ON_PARENT_SHARDS -> INITIALIZING -> PROCESSING -+-> SHUTDOWN_REQUESTED -> SHUTDOWN_COMPLETE
//	                                                        +-> SHUTTING_DOWN ------> SHUTDOWN_COMPLETE
//
// The consumer of a shard is one goroutine and straight-line code, one function per state. It runs
// from the moment the lease is taken until it is finished, lost or released:
//
//   - A shard starts once the lease row of each of its parents says SHARD_END.
//   - A processor that fails or panics gets the same batch again, after a
//     backoff. No record is ever skipped.
//   - Before each delivery the lease is asked whether it is still valid.
//   - At the end of a shard the leases of its children are made first, then
//     SHARD_END is written.
//   - When the worker stops, the batch in hand is finished, the processor may
//     checkpoint, and the lease is released.
//
// # Goroutines
//
// Run itself is the lease coordinator. It starts, and joins, one goroutine for each of six loops:
// shard sync, clean-up, registration, list of streams, StopAtTip and watchdog. Each lease has two
// more: the consumer above, and the holder, which renews.
package scheduler
