package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/leases"
)

var exportCommand = command{
	name: "export", summary: "give the checkpoints back to vmware-go-kcl or a fork of it",
	help: `Writes the checkpoints of a lease table into a table of the layout of vmware-go-kcl and
its forks, which it makes if need be: the way back. Your table is only read.

Stop the workers first; a worker that stops releases its leases, and export refuses while
one is owned (-force does it all the same; ` + "`kclctl leases release -owner ID`" + ` clears up after
a crash). What the other layout cannot hold is said row by row, and must be accepted with
-lossy: positions inside an aggregated record, shards without a checkpoint, second parents.

Finished leases are deleted here after a while, and the other library reads a shard
without a row from its beginning. So parents without a lease are written as finished;
with -kinesis-stream, Kinesis is asked for all of them.

It can be repeated, never overwrites a row, and reads back what it wrote.

Examples:
  kclctl leases export -table orders -to orders-old -kinesis-stream orders -dry-run
  kclctl leases export -table orders -to orders-old -kinesis-stream orders -lossy -yes`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var w writer
		var o exportOptions
		w.register(flags)
		w.src.registerKinesis(flags)
		o.to.register(flags, "to")
		flags.StringVar(&o.kinesisStream, "kinesis-stream", "", "`name` or ARN of the stream; Kinesis is asked about its shards")
		flags.StringVar(&o.stream, "stream", "", "the stream (`account:name:epoch`) to export, where the table has several")
		flags.BoolVar(&o.force, "force", false, "even if leases are owned")
		flags.BoolVar(&o.lossy, "lossy", false, "even if the other layout cannot hold everything")
		flags.BoolVar(&o.skipBad, "skip-bad", false, "leave rows out that cannot be read")
		return func(ctx context.Context, t *terminal, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: export works on the whole table", args[0])
			}
			return runExport(ctx, t, &w, &o)
		}
	},
}

type exportOptions struct {
	to                    oldSource
	stream, kinesisStream string
	force, lossy, skipBad bool
}

func runExport(ctx context.Context, t *terminal, w *writer, o *exportOptions) error {
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
	x := &transfers{From: "table " + w.src.name(), To: o.to.String(), Rows: []transfer{}, Refused: []string{}, Notes: []string{}, prepare: old.Init}
	x.damaged(listing.Bad, o.skipBad, "the other library then reads their shards from its initial position")
	for _, e := range bad {
		x.Refused = append(x.Refused, fmt.Sprintf("%s has a row that cannot be read: %v", x.To, e))
	}
	planExport(x, listing.Leases, rows, known, o)
	for i := range x.Rows {
		x.Rows[i].bindOld(old)
	}
	x.again = func(ctx context.Context) ([]string, error) {
		later, err := store.List(ctx)
		return advanced(listing.Leases, later.Leases), err
	}
	return w.transfer(ctx, t, x)
}

// planExport decides what becomes of each lease. It is pure.
func planExport(x *transfers, rows []leases.Lease, have []gokcl.Row, known knownStream, o *exportOptions) {
	there := map[string]gokcl.Row{}
	for _, r := range have {
		there[r.ShardID] = r
	}
	add := func(r gokcl.Row, note string) {
		row := transfer{Key: r.ShardID, Checkpoint: r.Checkpoint, Action: actionCreate, Note: note, row: r}
		if current, ok := there[r.ShardID]; ok {
			if row.Action = actionSame; current.Checkpoint != r.Checkpoint {
				row.Action, row.Note = actionDiffer, "checkpoint there is "+current.Checkpoint
			}
		}
		x.Rows = append(x.Rows, row)
	}
	has, parents := map[string]bool{}, map[string][]string{}
	for _, b := range x.Bad {
		has[strings.TrimPrefix(b.Key, o.stream+":")] = true
	}
	var owned, lossy []string
	streams := map[string]bool{}
	for _, l := range rows {
		streams[l.Stream] = true
		if l.Stream != o.stream {
			continue
		}
		r, losses := gokcl.FromLease(l)
		if l.ActualOwner() != "" && !l.Finished() {
			owned = append(owned, l.Key+" by "+l.ActualOwner())
		}
		if len(losses) > 0 {
			lossy = append(lossy, l.Key)
		}
		has[l.ShardID], parents[l.ShardID] = true, l.Parents
		add(r, strings.Join(losses, "; "))
	}
	gone := known.without(has, parents)
	for _, id := range gone {
		add(gokcl.Row{ShardID: id, Checkpoint: kcl.SentinelShardEnd}, "was finished, and its lease deleted")
	}
	if known.shards != nil && len(has) > 0 && !slices.ContainsFunc(slices.Collect(maps.Keys(has)), func(id string) bool { _, ok := known.shards[id]; return ok }) {
		x.Refused = append(x.Refused, "Kinesis lists none of the shards of "+x.From+": -kinesis-stream is another stream")
	}
	if len(gone) > 0 && known.shards == nil {
		x.Notes = append(x.Notes, "without -kinesis-stream only the parents that leases name are written as finished: the other library reads their own parents again, while Kinesis has them")
	}
	if len(x.Rows) == 0 && len(rows) > 0 {
		var names []string
		for name := range streams {
			names = append(names, name)
		}
		x.Refused = append(x.Refused, fmt.Sprintf("no lease is of -stream %q; the table has %s", o.stream, joined(names)))
	}
	if len(owned) > 0 {
		text := "workers own leases of " + x.From + " (" + joined(owned) + "): what they checkpoint from now on is lost on the other library"
		if o.force {
			x.Notes = append(x.Notes, text)
		} else {
			x.Refused = append(x.Refused, text+"; stop them, or give -force")
		}
	}
	if len(lossy) > 0 && !o.lossy {
		x.Refused = append(x.Refused, "the other layout cannot hold everything ("+joined(lossy)+"): see the notes, and give -lossy to accept that")
	}
}

// bindOld says how the row is written and read back.
func (r *transfer) bindOld(old oldTable) {
	row := r.row
	r.create = func(ctx context.Context) error {
		_, err := old.Create(ctx, row)
		return err // an existing one is judged by verify
	}
	r.verify = func(ctx context.Context) error {
		current, err := old.Get(ctx, row.ShardID)
		switch {
		case err != nil:
			return fmt.Errorf("read back: %w", err)
		case current.Checkpoint != row.Checkpoint:
			return fmt.Errorf("read back: the checkpoint is %q, not %q: is a worker running already?", current.Checkpoint, row.Checkpoint)
		}
		return nil
	}
}

// advanced says which leases are not as they were.
func advanced(before, after []leases.Lease) []string {
	was := map[string]leases.Lease{}
	for _, l := range before {
		was[l.Key] = l
	}
	var texts []string
	for _, l := range after {
		old, ok := was[l.Key]
		switch {
		case !ok:
			texts = append(texts, l.Key+" is new")
		case !l.Same(fence|leases.AttrCheckpoint, old):
			texts = append(texts, fmt.Sprintf("%s was written by worker %s: stop the workers, and export again into an empty table", l.Key, ownerText(l)))
		}
	}
	return texts
}
