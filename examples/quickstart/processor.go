package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kinesis-go/kcl"
)

// payload is what the producer puts into a record: the how-manieth of its key.
type payload struct {
	Key string `json:"key"`
	N   int    `json:"n"`
}

// processor handles the records of one shard. The library makes one for every
// lease that the worker gets, and calls its methods one at a time.
type processor struct {
	worker *worker
	shard  string
	audit  *Audit
	tenure *Tenure // this processor's time with the shard, for the audit
}

func (p *processor) Initialize(context.Context, kcl.InitializeInput) error {
	p.tenure = p.audit.Begin(p.worker.name, p.shard)
	return nil
}

// ProcessRecords does the work and then checkpoints: what is checkpointed is
// done, and what is done and not yet checkpointed comes again after a crash.
func (p *processor) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	for _, record := range in.Records {
		var data payload
		if err := json.Unmarshal(record.Data(), &data); err != nil {
			return fmt.Errorf("decode record %s: %w", record.Position(), err)
		}
		if !p.audit.Processed(p.tenure, data) {
			<-ctx.Done() // this worker was killed: a dead process computes nothing
			return context.Cause(ctx)
		}
	}
	return in.Checkpointer.Checkpoint(ctx)
}

// ShardEnded returns nil: all records are done, the children may start.
func (p *processor) ShardEnded(context.Context, kcl.ShardEndedInput) error { return nil }

// LeaseLost: another worker has the shard now.
func (p *processor) LeaseLost(context.Context, kcl.LeaseLostInput) { p.audit.End(p.tenure) }

// ShutdownRequested is the moment for a last checkpoint, before the shard goes
// to another worker.
func (p *processor) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	defer p.audit.End(p.tenure)
	return in.Checkpointer.Checkpoint(ctx)
}
