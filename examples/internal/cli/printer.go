package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
)

// Printer writes records as lines of JSON. Processors of several shards share it.
type Printer struct {
	mu  sync.Mutex // guards out
	out io.Writer
}

// NewPrinter returns a Printer. out must not buffer: a record counts as processed when Write
// returns.
func NewPrinter(out io.Writer) *Printer { return &Printer{out: out} }

// Processor is a [kcl.ProcessorFactory].
func (p *Printer) Processor(stream kcl.StreamIdentifier, shard kcl.Shard) kcl.Processor {
	return &processor{printer: p, stream: stream.Name, shard: shard.ID}
}

// line is a printed record.
type line struct {
	Stream             string    `json:"stream"`
	Shard              string    `json:"shard"`
	SequenceNumber     string    `json:"sequenceNumber"`
	SubSequenceNumber  int64     `json:"subSequenceNumber"`
	PartitionKey       *string   `json:"partitionKey"` // null when the record has none
	ApproximateArrival time.Time `json:"approximateArrival"`
	Data               []byte    `json:"data"` // base64
}

// print writes all records in one call: the lines of two shards do not mix, and none stays in a
// buffer.
func (p *Printer) print(stream, shard string, records []kcl.Record) error {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	for _, r := range records {
		l := line{
			Stream: stream, Shard: shard,
			SequenceNumber: r.SequenceNumber(), SubSequenceNumber: r.SubSequenceNumber(),
			ApproximateArrival: r.ApproximateArrival().UTC(), Data: r.Data(),
		}
		if key, ok := r.PartitionKey(); ok {
			l.PartitionKey = &key
		}
		if err := encoder.Encode(l); err != nil {
			return fmt.Errorf("encode record %s: %w", r.Position(), err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.out.Write(buf.Bytes()); err != nil {
		return fmt.Errorf("print records: %w", err)
	}
	return nil
}

// processor prints the records of one shard.
type processor struct {
	printer       *Printer
	stream, shard string
}

func (p *processor) Initialize(context.Context, kcl.InitializeInput) error { return nil }

// ProcessRecords checkpoints records after it has printed them. After a crash the last batch may be
// printed twice, and no record is missing.
func (p *processor) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	if err := p.printer.print(p.stream, p.shard, in.Records); err != nil {
		return err
	}
	return in.Checkpointer.Checkpoint(ctx)
}

// ShardEnded need not checkpoint: nil means that all records are processed.
func (p *processor) ShardEnded(context.Context, kcl.ShardEndedInput) error { return nil }

func (p *processor) LeaseLost(context.Context, kcl.LeaseLostInput) {}

// ShutdownRequested need not checkpoint: every batch was checkpointed.
func (p *processor) ShutdownRequested(context.Context, kcl.ShutdownRequestedInput) error { return nil }
