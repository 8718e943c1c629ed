// Package processors helps to write a [kcl.Processor]. The KCL has no
// counterpart. Programs use it in the factory that they give to
// scheduler.New; no other package of the library imports it.
//
// [Func] and [Each] make a processor of one function and checkpoint by
// themselves. The others decorate a processor:
//
//	Retry       tries again, finds the record that fails, hands it to a dead-letter handler
//	Batch       collects records of several calls, up to a number, a size and an age
//	Concurrent  works on several partition keys at a time, each in order
//
// They nest in any order. What is inside decides what an error is about:
//
//	Concurrent(lane: Retry(Each(f)))   every lane retries its own record, the others go on
//	Retry(Concurrent(lane: Each(f)))   a failed record stops the shard until it is retried or dead-lettered
//	Batch(Retry(Func(f)))              f gets large batches; a bad record is found by bisecting them
//
// # Checkpoints
//
// A decorator gives what is inside a [kcl.Checkpointer] of its own, whose
// "everything delivered so far" is what was delivered to the inside: records
// that a Batch still holds, or that another lane has not finished, are not
// among it. After an error it does not include the records that failed. A
// record that a dead-letter handler has taken counts as processed: the next
// checkpoint passes it, and nothing else ever skips a record.
//
// Batch and Concurrent return before the records are processed. Leave
// scheduler.Config.CheckpointInterval at zero with them: the scheduler would
// take their return for the end of the work. Func and Concurrent checkpoint by
// themselves, see [Checkpoints].
//
// # Lifetime
//
// Batch, Concurrent and the automatic checkpoints work between the calls of the
// processor, on goroutines that exist only while there is something to do. They
// need the context that the calls get to live as long as the lease, as the
// scheduler's does, and end with it. Panics of the processor inside are
// contained wherever it does not run on the caller's goroutine, and in Retry,
// and become a [PanicError].
package processors
