package kcl

import (
	"context"

	"github.com/kinesis-go/kcl"
)

// adapter is a processor of this API as one of package github.com/kinesis-go/kcl.
type adapter struct {
	processor RecordProcessor
	requested bool // ShutdownRequested was called, and LeaseLost was not
}

var _ kcl.Processor = (*adapter)(nil)

func (a *adapter) Initialize(_ context.Context, in kcl.InitializeInput) error {
	a.processor.Initialize(&InitializationInput{
		ShardID: in.Shard.ID, SequenceNumber: in.Checkpoint.SequenceNumber,
		SubSequenceNumber: in.Checkpoint.SubSequenceNumber, StreamName: in.Stream.Name, StreamARN: in.Stream.ARN,
	})
	return nil
}

func (a *adapter) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	input := &ProcessRecordsInput{
		Records:    make([]Record, len(in.Records)),
		Checkpoint: checkpoint(ctx, in.Checkpointer),
		CheckpointAt: func(sequenceNumber string, subSequenceNumber int64) error {
			return in.Checkpointer.CheckpointAt(ctx, kcl.ExtendedSequenceNumber{
				SequenceNumber: sequenceNumber, SubSequenceNumber: subSequenceNumber,
			})
		},
		MillisBehindLatest: in.BehindLatest.Milliseconds(),
	}
	if in.LagUnknown {
		input.MillisBehindLatest = -1
	}
	for i, r := range in.Records {
		key, _ := r.PartitionKey()
		input.Records[i] = Record{
			Data: r.Data(), PartitionKey: key, SequenceNumber: r.SequenceNumber(),
			SubSequenceNumber: r.SubSequenceNumber(), ApproximateArrivalTimestamp: r.ApproximateArrival(),
		}
	}
	if p, ok := a.processor.(ErrorProcessor); ok {
		return p.TryProcessRecords(input)
	}
	a.processor.ProcessRecords(input)
	return nil
}

func (a *adapter) LeaseLost(context.Context, kcl.LeaseLostInput) {
	a.requested = false
	a.processor.LeaseLost(&LeaseLostInput{})
}

func (a *adapter) ShardEnded(ctx context.Context, in kcl.ShardEndedInput) error {
	a.requested = false
	a.processor.ShardEnded(&ShardEndedInput{Checkpoint: checkpoint(ctx, in.Checkpointer)})
	return nil
}

func (a *adapter) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	a.requested = true
	a.processor.ShutdownRequested(&ShutdownRequestedInput{Checkpoint: checkpoint(ctx, in.Checkpointer)})
	return nil
}

// checkpoint returns the function that checkpoints with c.
func checkpoint(ctx context.Context, c kcl.Checkpointer) CheckpointFunc {
	return func(sequenceNumber *string) error {
		if sequenceNumber == nil {
			return c.Checkpoint(ctx)
		}
		return c.CheckpointAt(ctx, kcl.ExtendedSequenceNumber{SequenceNumber: *sequenceNumber})
	}
}
