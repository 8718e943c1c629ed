// Package processors helps to write a [kcl.Processor]. The KCL has no counterpart. Programs use it
// in the factory that they give to scheduler.New. No other package of the library imports it.
//
// [Func] and [Each] make a processor of one function, and checkpoint automatically. The others
// decorate a processor:
//
//	Retry       tries again, finds the record that fails, hands it to a dead-letter handler
//	Batch       collects records of several calls, up to a number, a size and an age
//	Concurrent  works on several partition keys at a time, each in order
//
// They nest in any order. The processor inside decides what an error is about:
//
//	Concurrent(lane: Retry(Each(f)))   every lane retries its own record, the others go on
//	Retry(Concurrent(lane: Each(f)))   a failed record stops the shard until Retry is done
//	Batch(Retry(Func(f)))              f gets large batches; a bad record is found by bisecting them
//
// # Checkpoints
//
// A decorator gives the processor inside a [kcl.Checkpointer] of its own. There a checkpoint of
// "everything delivered so far" covers the records that the processor inside got. It does not cover
// records that a Batch still holds, that another lane has not finished, or that failed. A record
// that a dead-letter handler has accepted counts as processed, and the next checkpoint covers it.
// No other record is ever skipped.
//
// Batch and Concurrent return before the records are processed. So leave
// scheduler.Config.CheckpointInterval at zero with them: the scheduler would checkpoint records
// that are not processed. Func and Concurrent checkpoint automatically, see [Checkpoints].
//
// # Lifetime
//
// Batch, Concurrent and the automatic checkpoints also work between the calls of the processor.
// Their goroutines exist only while there is work. They end with the context of the calls, which
// must live as long as the lease. The scheduler's context does. Panics of the processor inside
// become a [PanicError] in Retry, and wherever the processor does not run on the caller's
// goroutine.
package processors
