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

// Aggregates is what becomes of records that the Kinesis Producer Library
// aggregated (AggregatorUtil in the KCL). Whatever looks like an aggregate and
// is none is delivered as it is, and counted.
type Aggregates int

// What becomes of aggregates.
const (
	// SplitAggregates delivers all their user records, each with its place as
	// SubSequenceNumber. A batch with aggregates and more than a mebibyte of data
	// comes in several calls of ProcessRecords. Around a reshard the Kinesis Producer Library writes
	// records again that came to another shard than foreseen: these come twice.
	SplitAggregates Aggregates = iota
	// SplitAggregatesInRange drops the user records whose hash key does not belong to the shard, and
	// counts them. That hides those duplicates. It loses records of producers that aggregate without
	// regard to shards. The KCL does it by default, and drops the whole aggregate for one such record.
	// On a stream that distributes records automatically (AUTO), keys say nothing about the shard:
	// nothing is dropped there. A change to AUTO is noticed within a minute, so change to
	// SplitAggregates before; the same holds for the way back, until the last record from before has
	// expired.
	SplitAggregatesInRange
	// KeepAggregates delivers them as they are. A checkpoint inside an aggregate, from before this was
	// set, still resumes inside it; only one at its first user record means the whole aggregate from
	// now on. Checkpoint whole batches before such a change.
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
	pieceBytes = 1 << 20        // of a batch with aggregates are split at a time
	placingAge = time.Minute    // how old the answer to how a stream places its records may be
	placingTry = placingAge / 6 // how old the lack of an answer may be
)

// pieces cuts a batch with aggregates into batches that are delivered one after the other: small
// user records take many times the memory of their carriers, and a batch can have ten mebibytes.
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

// expand turns Kinesis records into user records. Code before it counts Kinesis records,
// code after it user records.
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
			"record looks like an aggregate of the Kinesis Producer Library and is none, it is delivered as it is",
			"position", report.At, "err", report.Err, "count", count)
	}
	return out
}

// expandResumed splits only the aggregate that the checkpoint stands in. Kept whole, it
// would count as processed, and its remaining user records would be lost.
func (d *delivery) expandResumed(records []kcl.Record) []kcl.Record {
	if _, splits := d.cfg.decoder.(kcl.Splitter); splits || d.last.SubSequenceNumber == 0 {
		return records // parts of a whole record are the Splitter's
	}
	i := slices.IndexFunc(records, func(r kcl.Record) bool { return r.SequenceNumber() == d.last.SequenceNumber })
	if i < 0 {
		return records
	}
	remaining, _ := kpl.Deaggregate(records[i:i+1], kpl.Options{})
	return slices.Concat(records[:i], remaining, records[i+1:])
}

// skip makes progress past a batch that has nothing left to deliver, up to its last
// record. That position can be checkpointed. Otherwise a shard with only such batches
// would be read from further back each time.
func (d *delivery) skip(pos kcl.ExtendedSequenceNumber) {
	if pos.Compare(d.last) <= 0 {
		return
	}
	d.last, d.processed = pos, pos
	d.checkpointer.Delivered(pos)
	d.progress.batchSkipped()
}

// batchSkipped records that a batch had nothing to deliver.
func (p *progress) batchSkipped() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved = time.Now()
	p.progressed = p.moved
}

// placing is what is known of how a stream places its records.
type placing struct {
	mu        sync.Mutex // guards the fields below
	byService bool       // AUTO; once seen it stays, because such records stay in the stream
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
