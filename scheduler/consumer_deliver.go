package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl"
)

const autoCheckpointIn = 10 * time.Second // how long a checkpoint that the library makes may take

// deliver hands one batch to the processor, as often as it takes.
func (c *consumer) deliver(ctx context.Context, batch kcl.Batch) outcome {
	expanded := c.expand(ctx, batch.Records)
	records := c.fresh(ctx, expanded)
	if len(records) == 0 {
		if len(expanded) == 0 && len(batch.Records) > 0 {
			c.passOver(batch.Records[len(batch.Records)-1].Position())
		}
		c.progress.processed(0, c.processed, batch.BehindLatest)
		c.checkpointInTime(ctx) // the shard may bring nothing for a while
		return done
	}
	c.last = records[len(records)-1].Position()
	in := kcl.ProcessRecordsInput{
		Records: records, BehindLatest: batch.BehindLatest, LagUnknown: batch.LagUnknown, AtShardEnd: batch.End != nil,
		ReceivedAt: batch.ReceivedAt, Checkpointer: c.checkpointer,
	}
	if batch.End != nil {
		in.Children = batch.End.Children
	}
	out := c.repeat(ctx, "process_records", func() error {
		in.DeliveredAt = time.Now()
		c.checkpointer.Delivered(c.last)
		failed := true // also when the processor panics
		defer func() {
			c.metrics.Processed(time.Since(in.DeliveredAt))
			if failed {
				c.checkpointer.Failed()
			}
		}()
		err := c.processor.ProcessRecords(ctx, in)
		failed = err != nil
		return err
	})
	if out != done {
		return out
	}
	c.processed = c.last
	size := 0
	for i := range records {
		size += len(records[i].Data())
	}
	c.holder.Delivered(size)
	c.metrics.Done(len(records))
	c.progress.processed(len(records), c.processed, batch.BehindLatest)
	c.checkpointInTime(ctx)
	return done
}

// fresh drops the records up to the checkpoint, or up to the last one that was
// delivered should the source bring one twice. It decodes the others.
func (c *consumer) fresh(ctx context.Context, records []kcl.Record) []kcl.Record {
	if _, splits := c.s.cfg.Decoder.(kcl.Splitter); !splits {
		return c.decode(ctx, after(records, c.last))
	}
	// The record that the checkpoint stands in is split again: it may have more parts.
	whole := c.last
	whole.SubSequenceNumber = whole.SubSequenceNumber/kcl.MaxSplit - 1
	return after(c.decode(ctx, after(records, whole)), c.last)
}

// after returns the records behind a position.
func after(records []kcl.Record, pos kcl.ExtendedSequenceNumber) []kcl.Record {
	for i := range records {
		if records[i].Position().Compare(pos) > 0 {
			return records[i:]
		}
	}
	return nil
}

// checkpointInTime makes the checkpoint that is due, if the library makes any.
func (c *consumer) checkpointInTime(ctx context.Context) {
	if every := c.s.cfg.CheckpointInterval; every > 0 && time.Since(c.tried) >= every {
		c.autoCheckpoint(ctx)
	}
}

// autoCheckpoint records what was processed, unless the processor itself has
// recorded more.
func (c *consumer) autoCheckpoint(ctx context.Context) {
	c.tried = time.Now()
	if c.processed.Compare(c.checkpointer.Report().Last) <= 0 || c.processed.IsSentinel() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, autoCheckpointIn)
	defer cancel()
	err := c.checkpointer.CheckpointAt(ctx, c.processed)
	if err != nil && !errors.Is(err, kcl.ErrInvalidCheckpoint) && !errors.Is(err, kcl.ErrLeaseLost) {
		c.log.WarnContext(ctx, "checkpoint failed, it is tried again after a later batch", "err", err)
	}
}
