package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/transfer"
	"github.com/kinesis-go/kcl/leases"
)

var importCommand = command{
	name: "import", summary: "take over the checkpoints of a table of vmware-go-kcl or a fork of it",
	help: `Reads a lease table of vmware-go-kcl (v1, v2) or a fork of it, and creates the leases of this
library in another table. It makes that table if need be, and only reads the old table.
Tables of the Java KCL need no import: they are used as they are.

Stop the old workers first. While old and new workers run, every record is processed twice,
and checkpoints of the old workers after the import are lost on the new ones. So import
refuses while a lease of the old table has not expired; -force imports it nevertheless. At
the end import looks at the old table again.

An import can be repeated. Leases that exist with the same checkpoint are left alone. If one
exists with another checkpoint, nothing at all is written. Every lease that is written is
read back and compared.

A parent without a row gets a lease: the old workers had not read it yet.

With -stream, Kinesis is asked for hash keys, parents and creation time of the stream. The
table is then as if this library had made it. Shards that Kinesis does not list any more are
left out. With -multi the leases get the keys of an application that reads several streams:
import one old table after the other into the same new one.

Examples:
  kclctl leases import -from orders-old -table orders -stream orders -application billing -dry-run
  kclctl leases import -from orders-old -table orders -stream orders -application billing -yes
  kclctl leases import -from orders-old -from-store redis -from-redis redis://10.0.0.7:6379 -table orders -json -yes`,
	setup: func(flags *flag.FlagSet) action {
		var w writer
		var o importOptions
		w.register(flags)
		w.src.registerMarks(flags)
		w.src.registerKinesis(flags)
		o.from.register(flags, "from")
		flags.StringVar(&o.stream, "stream", "", "`name` or ARN of the stream; Kinesis is asked about its shards")
		flags.BoolVar(&o.multi, "multi", false, "for an application that reads several streams; needs -stream")
		flags.StringVar(&o.start, "no-checkpoint", kcl.SentinelTrimHorizon,
			"`position` of shards without a checkpoint: the initial position of the old application, "+
				"TRIM_HORIZON, LATEST or AT_TIMESTAMP@TIME")
		flags.BoolVar(&o.force, "force", false, "import even if old workers run")
		flags.BoolVar(&o.skipBad, "skip-bad", false, "leave out rows that cannot be read")
		return func(ctx context.Context, t *terminal.Terminal, args []string) error {
			if err := wholeTable("import", args); err != nil {
				return err
			}
			if o.multi && o.stream == "" {
				return usagef("-multi needs -stream: the keys contain the stream")
			}
			return runImport(ctx, t, &w, &o)
		}
	},
}

// importOptions holds the flags of import.
type importOptions struct {
	from           oldSource
	stream         string
	multi          bool
	start          string
	force, skipBad bool
}

func runImport(ctx context.Context, t *terminal.Terminal, w *writer, o *importOptions) error {
	position, at, err := parseStart(o.start)
	if err != nil || !position.IsSentinel() || position.IsShardEnd() {
		return usagef("-no-checkpoint %q: use TRIM_HORIZON, LATEST or AT_TIMESTAMP@2026-03-04T05:06:07Z", o.start)
	}
	store, err := w.src.open(ctx, t)
	if err != nil {
		return err
	}
	old, err := o.from.open(ctx, t, &w.src, "from")
	if err != nil {
		return err
	}
	rows, bad, err := old.List(ctx)
	if errors.Is(err, leases.ErrTableNotFound) {
		return fmt.Errorf("there is no table %s here: check -from, and where it is: %w", o.from.table, err)
	}
	if err != nil {
		return err
	}
	have, err := store.List(ctx)
	if err != nil && !errors.Is(err, leases.ErrTableNotFound) {
		return err
	}
	now := time.Now()
	if position.SequenceNumber == kcl.SentinelLatest {
		if at, err = w.src.serviceNow(ctx); err != nil {
			return err
		}
	}
	known, err := w.src.ask(ctx, o.stream)
	if err != nil {
		return err
	}
	plan := transfer.Import{
		From: o.from.String(), To: "table " + w.src.name(), Rows: rows, Bad: bad, Have: have, Stream: known,
		Application: w.src.application, Multi: o.multi, Position: position, At: at,
		Now: now, Force: o.force, SkipBad: o.skipBad,
	}.Plan(old, store)
	return plan.CarryOut(ctx, t, w.transferOptions())
}
