package kcl

import "time"

// CheckpointFunc checkpoints up to and including the record with a sequence number. nil means
// everything that was delivered so far. It may be called from any goroutine, until the lease is
// lost. It blocks until the daemon has answered.
type CheckpointFunc = func(sequenceNumber *string) error

// CheckpointAtFunc checkpoints up to and including one user record of an aggregate. It may be
// called from any goroutine, until the lease is lost. It blocks until the daemon has answered.
type CheckpointAtFunc = func(sequenceNumber string, subSequenceNumber int64) error

// InitializationInput comes with [RecordProcessor].Initialize. As JSON it has the fields of
// goguardian-go-kcl only, as have the other inputs and Record.
type InitializationInput struct {
	// ShardID is the shard that the process is for.
	ShardID string

	// SequenceNumber and SubSequenceNumber are the last checkpoint, or a sentinel such as
	// TRIM_HORIZON. goguardian-go-kcl does not have them.
	SequenceNumber    string `json:"-"`
	SubSequenceNumber int64  `json:"-"`
	// StreamName and StreamARN name the stream, if the daemon is cmd/multilangd. They are empty
	// under the Java daemon. goguardian-go-kcl does not have them.
	StreamName, StreamARN string `json:"-"`
}

// ProcessRecordsInput comes with [RecordProcessor].ProcessRecords.
type ProcessRecordsInput struct {
	// Records are in ascending order. There is at least one.
	Records []Record
	// Checkpoint records progress.
	Checkpoint CheckpointFunc `json:"-"`

	// CheckpointAt records progress inside an aggregate. goguardian-go-kcl does not have it.
	CheckpointAt CheckpointAtFunc `json:"-"`
	// MillisBehindLatest is how far the batch is behind the tip of the shard in milliseconds, or -1
	// if that is not known. goguardian-go-kcl does not have it.
	MillisBehindLatest int64 `json:"-"`
}

// LeaseLostInput comes with [RecordProcessor].LeaseLost.
type LeaseLostInput struct{}

// ShardEndedInput comes with [RecordProcessor].ShardEnded.
type ShardEndedInput struct {
	// Checkpoint must get nil. After ShardEnded the end of the shard is checkpointed anyway.
	Checkpoint CheckpointFunc `json:"-"`
}

// ShutdownRequestedInput comes with [RecordProcessor].ShutdownRequested.
type ShutdownRequestedInput struct {
	// Checkpoint records progress until ShutdownRequested has returned.
	Checkpoint CheckpointFunc `json:"-"`
}

// Record is one record of a shard.
type Record struct {
	// Data is what the producer has put. It belongs to the processor.
	Data []byte `json:"data"`
	// PartitionKey is empty if the record has none.
	PartitionKey string `json:"partitionKey"`
	// SequenceNumber is the decimal number that Kinesis gave the record.
	SequenceNumber string `json:"sequenceNumber"`

	// SubSequenceNumber is the place of the record in an aggregate, from 0. goguardian-go-kcl does
	// not have it.
	SubSequenceNumber int64 `json:"-"`
	// ApproximateArrivalTimestamp is when Kinesis got the record. It is zero if the daemon did not
	// say. goguardian-go-kcl does not have it.
	ApproximateArrivalTimestamp time.Time `json:"-"`
}
