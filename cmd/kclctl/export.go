package main

import (
	"context"
	"errors"
	"flag"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/transfer"
	"github.com/kinesis-go/kcl/leases"
)

var exportCommand = command{
	name: "export", summary: "give the checkpoints back to vmware-go-kcl or a fork of it",
	help: `Writes the checkpoints of a lease table into a table with the layout of vmware-go-kcl and its
forks: the way back. It makes that table if need be, and only reads the lease table.

Stop the workers first: a worker that stops releases its leases. Export refuses while a lease
has an owner; -force exports it nevertheless, and ` + "`kclctl leases release -owner ID`" + `
clears up after a crash. The other layout cannot hold positions inside an aggregated record,
shards without a checkpoint, and second parents. Export names each such row, and goes on
only with -lossy.

This library deletes finished leases after a while. The other library reads a shard without
a row from its beginning. So parents without a lease are written as finished. With
-kinesis-stream, Kinesis is asked for all of them.

An export can be repeated. It never overwrites a row, and reads back every row that it wrote.

Examples:
  kclctl leases export -table orders -to orders-old -kinesis-stream orders -dry-run
  kclctl leases export -table orders -to orders-old -kinesis-stream orders -lossy -yes`,
	setup: func(flags *flag.FlagSet) action {
		var w writer
		var o exportOptions
		w.register(flags)
		w.src.registerKinesis(flags)
		o.to.register(flags, "to")
		flags.StringVar(&o.kinesisStream, "kinesis-stream", "",
			"`name` or ARN of the stream; Kinesis is asked about its shards")
		flags.StringVar(&o.stream, "stream", "", "the stream (`account:name:epoch`) to export, of a table with several")
		flags.BoolVar(&o.force, "force", false, "export even if leases have owners")
		flags.BoolVar(&o.lossy, "lossy", false, "export even if the other layout cannot hold everything")
		flags.BoolVar(&o.skipBad, "skip-bad", false, "leave out rows that cannot be read")
		return func(ctx context.Context, t *terminal.Terminal, args []string) error {
			if err := wholeTable("export", args); err != nil {
				return err
			}
			return runExport(ctx, t, &w, &o)
		}
	},
}

// exportOptions holds the flags of export.
type exportOptions struct {
	to                    oldSource
	stream, kinesisStream string
	force, lossy, skipBad bool
}

func runExport(ctx context.Context, t *terminal.Terminal, w *writer, o *exportOptions) error {
	store, err := w.src.open(ctx, t)
	if err != nil {
		return err
	}
	old, err := o.to.open(ctx, t, &w.src, "to")
	if err != nil {
		return err
	}
	listing, err := w.src.list(ctx, store)
	if err != nil {
		return err
	}
	rows, bad, err := old.List(ctx)
	if err != nil && !errors.Is(err, leases.ErrTableNotFound) {
		return err
	}
	known, err := w.src.ask(ctx, o.kinesisStream)
	if err != nil {
		return err
	}
	plan := transfer.Export{
		From: "table " + w.src.name(), To: o.to.String(), Leases: listing, Have: rows, HaveBad: bad, Known: known,
		Stream: o.stream, Force: o.force, Lossy: o.lossy, SkipBad: o.skipBad,
	}.Plan(store, old)
	return plan.CarryOut(ctx, t, w.transferOptions())
}
