package scheduler

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
)

const autoCheckpointIn = 10 * time.Second // the limit of a checkpoint that the library makes

// delivery calls the processor of a shard, and remembers the delivered records. Status and the
// watchdog may call report. Everything else belongs to the consumer's goroutine.
type delivery struct {
	*shardLease
	processor kcl.Processor
	last      kcl.ExtendedSequenceNumber // position of the last delivered record
	processed kcl.ExtendedSequenceNumber // position of the last processed record
	tried     time.Time                  // when the library last tried a checkpoint by itself
	corrupt   logLimiter                 // corrupt aggregates
	undecoded logLimiter                 // records that could not be decoded

	mu           sync.Mutex // guards checkpointer, which is nil until the parents have ended
	checkpointer *checkpoint.Checkpointer
}

// begin prepares the delivery for another processor, which starts at the checkpoint.
func (d *delivery) begin() {
	ck := checkpoint.New(d.holder, d.start.Checkpoint, d.metrics)
	d.mu.Lock()
	d.checkpointer = ck
	d.mu.Unlock()
	d.last, d.processed = d.start.Checkpoint, d.start.Checkpoint
	d.tried = time.Now()
}

// initialize makes the processor and calls Initialize until it succeeds.
func (d *delivery) initialize(ctx context.Context) outcome {
	in := kcl.InitializeInput{
		Stream: d.stream.id, Shard: d.shard, Checkpoint: d.start.Checkpoint,
		Pending: d.start.Pending, PendingState: d.start.PendingState,
	}
	return d.repeat(ctx, "initialize", func() error {
		if d.processor == nil {
			if d.processor = d.cfg.factory(d.stream.id, d.shard); d.processor == nil {
				return errors.New("the processor factory returned nil")
			}
		}
		return d.processor.Initialize(ctx, in)
	})
}

// deliver calls the processor with one batch until it succeeds.
func (d *delivery) deliver(ctx context.Context, batch kcl.Batch) outcome {
	expanded := d.expand(ctx, batch.Records)
	records := d.fresh(ctx, expanded)
	if len(records) == 0 {
		if len(expanded) == 0 && len(batch.Records) > 0 {
			d.skip(batch.Records[len(batch.Records)-1].Position())
		}
		d.progress.recordsProcessed(0, d.processed, batch.BehindLatest)
		d.checkpointInTime(ctx) // the next record may come late
		if p, ok := d.processor.(kcl.IdleChecker); ok {
			return d.repeat(ctx, "check_idle", func() error { return p.CheckIdle(ctx) })
		}
		return done
	}
	d.last = records[len(records)-1].Position()
	in := kcl.ProcessRecordsInput{
		Records: records, BehindLatest: batch.BehindLatest, LagUnknown: batch.LagUnknown, AtShardEnd: batch.End != nil,
		ReceivedAt: batch.ReceivedAt, Checkpointer: d.checkpointer,
	}
	if batch.End != nil {
		in.Children = batch.End.Children
	}
	out := d.repeat(ctx, "process_records", func() error {
		in.DeliveredAt = time.Now()
		d.checkpointer.Delivered(d.last)
		failed := true // also when the processor panics
		defer func() {
			d.metrics.Processed(time.Since(in.DeliveredAt))
			if failed {
				d.checkpointer.Failed()
			}
		}()
		err := d.processor.ProcessRecords(ctx, in)
		failed = err != nil
		return err
	})
	if out != done {
		return out
	}
	d.processed = d.last
	size := 0
	for i := range records {
		size += len(records[i].Data())
	}
	d.holder.Delivered(size)
	d.metrics.Done(len(records))
	d.progress.recordsProcessed(len(records), d.processed, batch.BehindLatest)
	d.checkpointInTime(ctx)
	return done
}

// fresh drops the records up to the checkpoint, and records that the source brings twice. It
// decodes the other records.
func (d *delivery) fresh(ctx context.Context, records []kcl.Record) []kcl.Record {
	if _, splits := d.cfg.decoder.(kcl.Splitter); !splits {
		return d.decode(ctx, after(records, d.last))
	}
	// Split the record that contains the checkpoint again, because it may have more parts.
	whole := d.last
	whole.SubSequenceNumber = whole.SubSequenceNumber/kcl.MaxSplit - 1
	return after(d.decode(ctx, after(records, whole)), d.last)
}

// after returns the records after a position.
func after(records []kcl.Record, pos kcl.ExtendedSequenceNumber) []kcl.Record {
	for i := range records {
		if records[i].Position().Compare(pos) > 0 {
			return records[i:]
		}
	}
	return nil
}

// checkpointInTime makes a checkpoint if CheckpointInterval is set and has passed.
func (d *delivery) checkpointInTime(ctx context.Context) {
	if every := d.cfg.checkpointInterval; every > 0 && time.Since(d.tried) >= every {
		d.autoCheckpoint(ctx)
	}
}

// autoCheckpoint makes a checkpoint at the last processed record, unless the processor has made a
// later one.
func (d *delivery) autoCheckpoint(ctx context.Context) {
	d.tried = time.Now()
	if d.processed.Compare(d.checkpointer.Report().Last) <= 0 || d.processed.IsSentinel() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, autoCheckpointIn)
	defer cancel()
	err := d.checkpointer.CheckpointAt(ctx, d.processed)
	if err != nil && !errors.Is(err, kcl.ErrInvalidCheckpoint) && !errors.Is(err, kcl.ErrLeaseLost) {
		d.log.WarnContext(ctx, "checkpoint failed, it is tried again after a later batch", "err", err)
	}
}

func (d *delivery) report() checkpoint.Report {
	d.mu.Lock()
	ck := d.checkpointer
	d.mu.Unlock()
	if ck == nil {
		return checkpoint.Report{}
	}
	return ck.Report()
}
