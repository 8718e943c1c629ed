package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/integration/chaos/journal"
)

// minCheckpointInterval is the least time between two checkpoints of a processor.
const minCheckpointInterval = 200 * time.Millisecond

// processors makes the processors of a worker.
type processors struct {
	file        *journal.Writer
	checkpoints bool // made by the processor
}

// processor is a [kcl.ProcessorFactory].
func (p processors) processor(_ kcl.StreamIdentifier, shard kcl.Shard) kcl.Processor {
	return &processor{processors: p, shard: shard.ID}
}

// processor notes the records of one shard in the journal of the worker.
type processor struct {
	processors
	shard string
	last  time.Time // of the last checkpoint
}

func (p *processor) Initialize(context.Context, kcl.InitializeInput) error { return nil }

// ProcessRecords checkpoints only what is in the journal. Each fourth batch has a checkpoint in its
// middle.
func (p *processor) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	rest := in.Records
	if half := len(rest) / 2; p.checkpoints && half > 0 && rand.N(4) == 0 {
		if err := p.acknowledge(rest[:half]); err != nil {
			return err
		}
		if err := in.Checkpointer.CheckpointAt(ctx, rest[half-1].Position()); err != nil {
			return err
		}
		rest = rest[half:]
	}
	if err := p.acknowledge(rest); err != nil {
		return err
	}
	if !p.checkpoints || time.Since(p.last) < minCheckpointInterval {
		return nil
	}
	if err := in.Checkpointer.Checkpoint(ctx); err != nil {
		return err
	}
	p.last = time.Now()
	return nil
}

// acknowledge writes records to the journal.
func (p *processor) acknowledge(records []kcl.Record) error {
	began := journal.Now()
	entries := make([]journal.Entry, len(records))
	for i, r := range records {
		key, _ := r.PartitionKey()
		counter, _, _ := strings.Cut(string(r.Data()), " ")
		n, err := strconv.Atoi(counter)
		if err != nil {
			return fmt.Errorf("record %s has no counter: %w", r.Position(), err)
		}
		entries[i] = journal.Entry{
			Sequence: r.SequenceNumber(), Sub: r.SubSequenceNumber(), Key: key, Counter: n,
		}
	}
	return p.file.Acknowledge(p.shard, began, entries)
}

func (p *processor) ShardEnded(context.Context, kcl.ShardEndedInput) error { return nil }

func (p *processor) LeaseLost(context.Context, kcl.LeaseLostInput) {}

func (p *processor) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	return in.Checkpointer.Checkpoint(ctx)
}
