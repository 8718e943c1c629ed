package kcl

import (
	"context"
	"time"
)

// Processor handles the records of one shard (ShardRecordProcessor in the
// KCL). The library makes one for every lease that the worker gets, by the
// [ProcessorFactory], and never calls two methods of one processor at a time:
//
//	Initialize ProcessRecords* ShutdownRequested? (LeaseLost | ShardEnded)?
//
// A ShardEnded that has failed is repeated, unless the worker stops meanwhile:
// then ShutdownRequested follows it. Nothing follows one that succeeded. LeaseLost
// follows once the method that runs has returned, when the lease was lost, when
// the shutdown took too long, or when the processor returned [ErrRestart].
//
// One context is given to all methods but LeaseLost, and work that they hand to
// other goroutines may use it between the calls and after them. It has the values
// of Run's context. It does not end because Run's context does, nor because the
// worker is asked to stop, the shard is handed over or its end is reached: what was
// handed on can be finished in ShutdownRequested and in ShardEnded. It ends
//
//   - with the cause [ErrLeaseLost], when the shard belongs to another worker. A
//     running method must return then;
//   - with the cause [ErrShutdownTimeout], when a stop or a hand-over has taken longer
//     than scheduler.Config.ShutdownTimeout, counted from its beginning. A running
//     method must return then, within a second: after that Run leaves it behind and
//     says so;
//   - with the cause [ErrLeaseLost], when ShutdownRequested has returned, or ShardEnded
//     has succeeded and SHARD_END is written: the lease is given back;
//   - with a cause that wraps [ErrRestart], when this instance is replaced.
//
// LeaseLost gets a context of its own, with the same values, that lasts for
// ShutdownTimeout.
//
// A panic in a method, or a runtime.Goexit (require and t.FailNow call it), is
// contained and treated like an error. Each call runs on a goroutine of its own.
type Processor interface {
	// Initialize is called once, before any record. An error is logged, and
	// the call repeated after a backoff.
	Initialize(ctx context.Context, in InitializeInput) error

	// ProcessRecords is called with one batch after the other. It may block
	// for as long as it needs: the lease is renewed all the while. Returning
	// nil means that the batch is done; it does not checkpoint. After an error
	// the same batch is delivered again, after a backoff: no record is skipped.
	// [ErrRestart] asks for a fresh instance instead.
	ProcessRecords(ctx context.Context, in ProcessRecordsInput) error

	// LeaseLost says that this instance gets no more calls and can checkpoint
	// nothing any more: another worker has the shard, or a shutdown took too
	// long, or the instance is replaced after [ErrRestart]. It must return only
	// when no work on the shard goes on: the worker may read the shard again
	// after it. It is not called after a ShutdownRequested that returned in time.
	LeaseLost(ctx context.Context, in LeaseLostInput)

	// ShardEnded says that every record of the shard was delivered. Returning
	// nil means that all of them are processed: the library then writes the
	// SHARD_END checkpoint itself, and the shard's children can start. Records that
	// were delivered and not checkpointed are then named in a warning: the KCL
	// refuses such an end. After an error it is called again, after a backoff.
	ShardEnded(ctx context.Context, in ShardEndedInput) error

	// ShutdownRequested asks to finish: the worker stops, hands the shard over, or
	// has read it as far as scheduler.Config.StopAtTip asks. It is the moment for a last checkpoint, which the checkpointer
	// still takes. An error is logged.
	ShutdownRequested(ctx context.Context, in ShutdownRequestedInput) error
}

// ProcessorFactory makes the processor for a shard (ShardRecordProcessorFactory
// in the KCL). It must return a new processor for each call, must not block,
// and may be called from several goroutines at the same time.
type ProcessorFactory func(stream StreamIdentifier, shard Shard) Processor

// InitializeInput comes with [Processor.Initialize].
type InitializeInput struct {
	// Stream that the shard belongs to, with its ARN.
	Stream StreamIdentifier
	// Shard that the processor is for.
	Shard Shard
	// Checkpoint is where reading starts: the last checkpoint, or a sentinel.
	Checkpoint ExtendedSequenceNumber
	// Pending is the position of a checkpoint that was prepared and not
	// committed, or the zero value.
	Pending ExtendedSequenceNumber
	// PendingState is what was prepared with it, up to 1 KiB; nil without one.
	PendingState []byte
}

// ProcessRecordsInput comes with [Processor.ProcessRecords].
type ProcessRecordsInput struct {
	// Records are never empty, in ascending order, and may be kept.
	Records []Record
	// BehindLatest is how far the batch is behind the tip of the shard
	// (millisBehindLatest).
	BehindLatest time.Duration
	// LagUnknown says that the service did not tell BehindLatest, which is 0
	// then. The batch may be anywhere.
	LagUnknown bool
	// AtShardEnd says that no batch follows.
	AtShardEnd bool
	// Children are the shards that continue this one, when AtShardEnd.
	Children []ChildShard
	// ReceivedAt and DeliveredAt are when the batch arrived and when it was
	// handed to the processor (cacheEntryTime and cacheExitTime).
	ReceivedAt, DeliveredAt time.Time
	// Checkpointer records progress; it may be kept and used from other
	// goroutines until the lease is lost or released.
	Checkpointer Checkpointer
}

// LeaseLostInput comes with [Processor.LeaseLost].
type LeaseLostInput struct{}

// ShardEndedInput comes with [Processor.ShardEnded].
type ShardEndedInput struct {
	// Children are the shards that continue this one, as the service named
	// them: two after a split, one after a merge.
	Children []ChildShard
	// Checkpointer still takes positions of records. SHARD_END is none of them:
	// the library writes it once ShardEnded has returned nil.
	Checkpointer Checkpointer
}

// ShutdownRequestedInput comes with [Processor.ShutdownRequested].
type ShutdownRequestedInput struct {
	// Checkpointer takes positions until ShutdownRequested has returned; then
	// the lease is released.
	Checkpointer Checkpointer
}

// Checkpointer records how far a shard has been processed
// (RecordProcessorCheckpointer in the KCL). Another worker that takes the
// shard over starts right after the last checkpoint. Every write is
// conditional on the lease: a worker that has lost it cannot move the
// checkpoint. The methods are safe for concurrent use; they block until the
// lease store has answered.
//
// They return [ErrLeaseLost] when the lease is gone, [ErrInvalidCheckpoint]
// for a position that was not delivered or lies before the last checkpoint,
// the context's cause when ctx ends first, and otherwise the store's error,
// after which the call can be repeated.
type Checkpointer interface {
	// Checkpoint records everything that was delivered so far, the batch of a
	// running ProcessRecords included. A batch that ProcessRecords failed with
	// is left out until it is delivered again.
	Checkpoint(ctx context.Context) error

	// CheckpointAt records everything up to and including position.
	CheckpointAt(ctx context.Context, position ExtendedSequenceNumber) error

	// Prepare writes position as a pending checkpoint, with up to 1 KiB of
	// application state; the shard's owner gets both in [InitializeInput] if
	// the checkpoint is never committed. The zero position means everything
	// delivered so far.
	Prepare(ctx context.Context, position ExtendedSequenceNumber, state []byte) (PreparedCheckpointer, error)
}

// PreparedCheckpointer commits what [Checkpointer.Prepare] wrote.
type PreparedCheckpointer interface {
	// Pending returns the prepared position.
	Pending() ExtendedSequenceNumber
	// Commit makes the pending checkpoint the checkpoint. Errors are those of
	// Checkpointer.
	Commit(ctx context.Context) error
}
