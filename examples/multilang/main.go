// Command multilang is a record processor that a MultiLangDaemon runs, one process for each shard:
// cmd/multilangd, or the one of Java. Its path is the executableName of the properties file. It
// prints one line for each record. What it prints does not reach the daemon as a message: it goes
// to standard error, which the daemon logs.
//
//	make run_sample
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang"
)

func main() {
	if err := multilang.Serve(context.Background(), &printer{}, multilang.Options{}); err != nil {
		slog.Error("the processor failed", "err", err)
		os.Exit(1)
	}
}

// printer prints the records of one shard, and checkpoints after each batch.
type printer struct{ shard string }

func (p *printer) Initialize(_ context.Context, in kcl.InitializeInput) error {
	p.shard = in.Shard.ID
	fmt.Printf("%s: start after %v\n", p.shard, in.Checkpoint)
	return nil
}

func (p *printer) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	for _, record := range in.Records {
		fmt.Printf("%s: record %q\n", p.shard, record.Data())
	}
	return in.Checkpointer.Checkpoint(ctx)
}

func (p *printer) LeaseLost(context.Context, kcl.LeaseLostInput) {
	fmt.Printf("%s: another worker has the shard\n", p.shard)
}

func (p *printer) ShardEnded(context.Context, kcl.ShardEndedInput) error {
	fmt.Printf("%s: end of the shard\n", p.shard)
	return nil
}

func (p *printer) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	fmt.Printf("%s: stop\n", p.shard)
	return in.Checkpointer.Checkpoint(ctx)
}
