package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kinesis-go/kcl"
)

// payload is the data of a record: its key, and its number among the records of the key.
type payload struct {
	Key string `json:"key"`
	N   int    `json:"n"`
}

// processor processes the records of one shard. The library makes one for every lease that the
// worker gets, and calls its methods one at a time.
type processor struct {
	worker *worker
	shard  string
	audit  *Audit
	tenure *Tenure // for the audit: the time in which this processor has the shard
}

func (p *processor) Initialize(context.Context, kcl.InitializeInput) error {
	p.tenure = p.audit.Begin(p.worker.name, p.shard)
	return nil
}

// ProcessRecords processes the records and then checkpoints. Records after the last checkpoint come
// again after a crash.
func (p *processor) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	for _, record := range in.Records {
		var data payload
		if err := json.Unmarshal(record.Data(), &data); err != nil {
			return fmt.Errorf("decode record %s: %w", record.Position(), err)
		}
		if !p.audit.Processed(p.tenure, data) {
			<-ctx.Done() // this worker was killed: a dead process does nothing
			return context.Cause(ctx)
		}
	}
	return in.Checkpointer.Checkpoint(ctx)
}

// ShardEnded returns nil: all records are processed, and the children may start.
func (p *processor) ShardEnded(context.Context, kcl.ShardEndedInput) error { return nil }

// LeaseLost is called when another worker has the shard.
func (p *processor) LeaseLost(context.Context, kcl.LeaseLostInput) { p.audit.End(p.tenure) }

// ShutdownRequested makes a last checkpoint, before the shard goes to another worker.
func (p *processor) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	defer p.audit.End(p.tenure)
	return in.Checkpointer.Checkpoint(ctx)
}
