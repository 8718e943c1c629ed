package kcl

import (
	"context"
	"time"
)

// Processor handles the records of one shard (ShardRecordProcessor in the KCL). The library makes
// one with the [ProcessorFactory] for every lease that the worker gets. It never calls two methods
// of one processor at a time:
//
//	Initialize ProcessRecords* ShutdownRequested? (LeaseLost | ShardEnded)?
//
// A ShardEnded that has failed is repeated. If the worker stops meanwhile, ShutdownRequested
// follows it. No call follows a ShardEnded that succeeded. LeaseLost is called when the lease was
// lost, when the shutdown took too long, or when the processor returned [ErrRestart]. It waits
// until the running method has returned.
//
// All methods except LeaseLost get the same context. Work on other goroutines may use it between
// the calls and after them. It has the values of Run's context, but does not end with Run's
// context. It also goes on when the worker shall stop, when the shard is handed over, and when its
// end is reached. So work on other goroutines can be finished in ShutdownRequested and in
// ShardEnded. The context ends
//
//   - with the cause [ErrLeaseLost], when the shard belongs to another worker. A
//     running method must return then;
//   - with the cause [ErrShutdownTimeout], when a stop or a hand-over has taken longer
//     than scheduler.Config.ShutdownTimeout, counted from its beginning. A running
//     method must return within a second: after that the library goes on
//     without it and says so;
//   - with the cause [ErrLeaseLost], when ShutdownRequested has returned, or ShardEnded
//     has succeeded and SHARD_END is written: the lease is given back;
//   - with a cause that wraps [ErrRestart], when this instance is replaced.
//
// LeaseLost gets a context of its own, with the same values, that lasts for ShutdownTimeout.
//
// A panic in a method is contained and treated like an error, and so is a runtime.Goexit, which
// require and t.FailNow call. Each call runs on a goroutine of its own.
type Processor interface {
	// Initialize is called once, before any record. An error is logged, and the call is repeated
	// after a backoff.
	Initialize(ctx context.Context, in InitializeInput) error

	// ProcessRecords is called with one batch after the other. It may block for any time: the lease
	// is renewed meanwhile. Returning nil means that the batch is processed. It does not
	// checkpoint. After an error the same batch is delivered again, after a backoff: no record is
	// skipped. [ErrRestart] asks for a new instance.
	ProcessRecords(ctx context.Context, in ProcessRecordsInput) error

	// LeaseLost says that this instance gets no more calls and cannot checkpoint any more. Another
	// worker has the shard, a shutdown took too long, or the instance is replaced after
	// [ErrRestart]. LeaseLost must not return before all work on the shard has ended, because the
	// worker may read the shard again after it. It is not called after a ShutdownRequested that
	// returned in time.
	LeaseLost(ctx context.Context, in LeaseLostInput)

	// ShardEnded says that every record of the shard was delivered. Returning nil means that all of
	// them are processed. Then the library writes the SHARD_END checkpoint, and the shard's
	// children can start. Records that were delivered and not checkpointed are named in a warning;
	// the KCL refuses such an end. After an error it is called again, after a backoff.
	ShardEnded(ctx context.Context, in ShardEndedInput) error

	// ShutdownRequested asks the processor to finish. The worker stops, hands the shard over, or
	// has read it as far as scheduler.Config.StopAtTip asks. The checkpointer still accepts a last
	// checkpoint. An error is logged.
	ShutdownRequested(ctx context.Context, in ShutdownRequestedInput) error
}

// IdleChecker is a [Processor] that can fail between two calls, such as one with a child process.
type IdleChecker interface {
	// CheckIdle is called between two calls of ProcessRecords, after each read of the shard that has
	// brought no records: about once a second by polling, and once in five by enhanced fan-out. It
	// should return at once. [ErrRestart] asks for a new instance. After any other error it is called
	// again, after a backoff. Its context is that of ProcessRecords. A decorator without CheckIdle
	// hides it.
	CheckIdle(ctx context.Context) error
}

// ProcessorFactory makes the processor for a shard (ShardRecordProcessorFactory in the KCL). It
// must return a new processor for each call and must not block. Several goroutines may call it at
// the same time.
type ProcessorFactory func(stream StreamIdentifier, shard Shard) Processor

// InitializeInput comes with [Processor.Initialize].
type InitializeInput struct {
	// Stream that the shard belongs to, with its ARN.
	Stream StreamIdentifier
	// Shard that the processor is for.
	Shard Shard
	// Checkpoint is where reading starts: the last checkpoint, or a sentinel.
	Checkpoint ExtendedSequenceNumber
	// Pending is the position of a checkpoint that was prepared and not committed, or zero.
	Pending ExtendedSequenceNumber
	// PendingState is the state of the prepared checkpoint, up to 1 KiB; nil without one.
	PendingState []byte
}

// ProcessRecordsInput comes with [Processor.ProcessRecords].
type ProcessRecordsInput struct {
	// Records are in ascending order and may be kept. There is at least one.
	Records []Record
	// BehindLatest is how far the batch is behind the tip of the shard (millisBehindLatest).
	BehindLatest time.Duration
	// LagUnknown says that the service did not send BehindLatest, which is 0 then. The batch may be
	// at any distance from the tip.
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
	// Children are the shards that continue this one: two after a split, one after a merge.
	Children []ChildShard
	// Checkpointer still accepts positions of records. The library writes SHARD_END itself, after
	// ShardEnded has returned nil.
	Checkpointer Checkpointer
}

// ShutdownRequestedInput comes with [Processor.ShutdownRequested].
type ShutdownRequestedInput struct {
	// Checkpointer accepts positions until ShutdownRequested has returned. Then the lease is
	// released.
	Checkpointer Checkpointer
}

// Checkpointer records how far a shard has been processed (RecordProcessorCheckpointer in the KCL).
// Another worker that takes the shard over starts right after the last checkpoint. Every write is
// conditional on the lease, so a worker that has lost the lease cannot move the checkpoint. The
// methods are safe for concurrent use. They block until the lease store has answered.
//
// They return [ErrLeaseLost] when the lease is lost. They return [ErrInvalidCheckpoint] for a
// position that was not delivered or lies before the last checkpoint. They return the context's
// cause when ctx ends first. Any other error is that of the store, and the call can be repeated.
type Checkpointer interface {
	// Checkpoint records everything that was delivered so far, also the batch of a running
	// ProcessRecords. It leaves out a batch with which ProcessRecords failed, until that is
	// delivered again.
	Checkpoint(ctx context.Context) error

	// CheckpointAt records everything up to and including position.
	CheckpointAt(ctx context.Context, position ExtendedSequenceNumber) error

	// Prepare writes position as a pending checkpoint, with up to 1 KiB of application state. If the
	// checkpoint is never committed, the next owner of the shard gets both in [InitializeInput].
	// The zero position means everything delivered so far.
	Prepare(ctx context.Context, position ExtendedSequenceNumber, state []byte) (PreparedCheckpointer, error)
}

// PreparedCheckpointer commits a checkpoint of [Checkpointer.Prepare].
type PreparedCheckpointer interface {
	// Pending returns the prepared position.
	Pending() ExtendedSequenceNumber
	// Commit makes the pending checkpoint the checkpoint. Its errors are those of Checkpointer.
	Commit(ctx context.Context) error
}
