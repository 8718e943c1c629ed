package scheduler

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/kpl"
)

// Aggregates says how the library delivers records that the Kinesis Producer Library aggregated
// (AggregatorUtil in the KCL). A record that looks like an aggregate and is not valid is delivered
// unchanged, and counted.
type Aggregates int

// The ways to deliver aggregates.
const (
	// SplitAggregates delivers all user records of an aggregate. The SubSequenceNumber of a user
	// record is its index in the aggregate. A batch with aggregates and more than a mebibyte of data
	// is delivered in several calls of ProcessRecords. During a reshard a record can reach another
	// shard than the Kinesis Producer Library predicted. The library writes such a record again, and
	// the record is delivered twice.
	SplitAggregates Aggregates = iota
	// SplitAggregatesInRange drops the user records whose hash key does not belong to the shard, and
	// counts them. That hides the duplicates of a reshard. It loses records of producers that
	// aggregate without regard to shards. The KCL drops by default, and drops the whole aggregate for
	// one such record. A stream that distributes records automatically (AUTO) does not place records
	// by key, so nothing is dropped there. The library notices a change to AUTO within a minute. Use
	// SplitAggregates before such a change. After a change back, use SplitAggregates until the last
	// AUTO record has expired.
	SplitAggregatesInRange
	// KeepAggregates delivers aggregates unchanged. A checkpoint inside an aggregate can exist from
	// before the change to KeepAggregates. Reading still resumes inside that aggregate. The exception
	// is a checkpoint at the first user record: it then counts for the whole aggregate. Checkpoint
	// whole batches before the change.
	KeepAggregates
)

// String returns the name of the constant.
func (a Aggregates) String() string {
	switch a {
	case SplitAggregates:
		return "SplitAggregates"
	case SplitAggregatesInRange:
		return "SplitAggregatesInRange"
	case KeepAggregates:
		return "KeepAggregates"
	}
	return fmt.Sprintf("Aggregates(%d)", int(a))
}

// MarshalText implements [encoding.TextMarshaler] with [Aggregates.String].
func (a Aggregates) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

const (
	pieceBytes = 1 << 20        // the size of a piece of a batch with aggregates
	placingAge = time.Minute    // the maximal age of a known record distribution of a stream
	placingTry = placingAge / 6 // the wait after a failed call for it
)

// pieces cuts a batch with aggregates into smaller batches, which are delivered one after the
// other. Small user records take many times the memory of their aggregate, and a batch can have ten
// mebibytes.
func (d *delivery) pieces(batch kcl.Batch) iter.Seq[kcl.Batch] {
	return func(yield func(kcl.Batch) bool) {
		records, size, aggregates := batch.Records, 0, false
		start := 0
		for i := range records {
			n := len(records[i].Data())
			if aggregates && i > start && size+n > pieceBytes {
				piece := batch
				piece.Records, piece.End = records[start:i:i], nil
				if !yield(piece) {
					return
				}
				start, size = i, 0
			}
			size += n
			aggregates = aggregates || kpl.HasMagic(records[i].Data()) && d.cfg.aggregates != KeepAggregates
		}
		batch.Records = records[start:]
		yield(batch)
	}
}

// expand turns Kinesis records into user records. Callers before expand count Kinesis records, and
// callees after it count user records.
func (d *delivery) expand(ctx context.Context, records []kcl.Record) []kcl.Record {
	var opt kpl.Options
	switch d.cfg.aggregates {
	case KeepAggregates:
		return d.expandResumed(records)
	case SplitAggregatesInRange:
		opt.HashKeyRange = d.shard.HashKeyRange
	}
	out, report := kpl.Deaggregate(records, opt)
	if report == (kpl.Report{}) {
		return out
	}
	if report.Dropped > 0 && d.cfg.control.placedByService(ctx, d.stream) {
		out, report = kpl.Deaggregate(records, kpl.Options{})
	}
	d.metrics.RecordsDropped(report.Dropped)
	d.metrics.AggregatesCorrupt(report.Corrupt)
	if count, due := d.corrupt.add(report.Corrupt); due {
		d.log.WarnContext(ctx,
			"aggregate of the Kinesis Producer Library is not valid, delivering the record unchanged",
			"position", report.At, "err", report.Err, "count", count)
	}
	return out
}

// expandResumed splits only the aggregate that contains the checkpoint. A whole aggregate would
// count as processed, and its remaining user records would be lost.
func (d *delivery) expandResumed(records []kcl.Record) []kcl.Record {
	if _, splits := d.cfg.decoder.(kcl.Splitter); splits || d.last.SubSequenceNumber == 0 {
		return records // the sub-sequence number is the Splitter's, not that of an aggregate
	}
	i := slices.IndexFunc(records, func(r kcl.Record) bool { return r.SequenceNumber() == d.last.SequenceNumber })
	if i < 0 {
		return records
	}
	remaining, _ := kpl.Deaggregate(records[i:i+1], kpl.Options{})
	return slices.Concat(records[:i], remaining, records[i+1:])
}

// skip moves the delivery past a batch without records to deliver. The position of the last record
// can then be checkpointed. Otherwise the checkpoint of a shard with only such batches would never
// move.
func (d *delivery) skip(pos kcl.ExtendedSequenceNumber) {
	if pos.Compare(d.last) <= 0 {
		return
	}
	d.last, d.processed = pos, pos
	d.checkpointer.Delivered(pos)
	d.progress.batchSkipped()
}

// batchSkipped records progress after a batch without records to deliver.
func (p *progress) batchSkipped() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved = time.Now()
	p.progressed = p.moved
}

// placing remembers whether the service or the partition key places the records of a stream.
type placing struct {
	mu        sync.Mutex // guards the fields below
	byService bool       // AUTO; never reset, because AUTO records stay in the stream
	asked     time.Time

	shared *retry.Shared // the shards of the stream ask together
}

func (p *placing) update(d *types.StreamDescriptionSummary, asked time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = asked
	p.byService = p.byService || d.RecordDistributionStrategy == types.RecordDistributionStrategyAuto
}

func (p *placing) known(now time.Time) (byService, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byService, p.byService || now.Sub(p.asked) < placingAge
}
