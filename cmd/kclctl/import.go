package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

var importCommand = command{
	name: "import", summary: "take over the checkpoints of a table of vmware-go-kcl or a fork of it",
	help: `Reads a lease table of vmware-go-kcl (v1, v2) or a fork of it and creates the leases of
this library from it, in a table of its own, which it makes if need be. The old table is
only read. Tables of the Java KCL need no import: they are used as they are.

Stop the old workers first. While both run, every record is processed twice, and what the
old workers checkpoint after the import is lost on the new ones. So import refuses when a
lease of the old table has not expired yet (-force does it all the same), and looks at
the old table again at the end.

It can be repeated: leases that are there with the same checkpoint are left alone. When
one is there with another checkpoint, nothing at all is written. Everything written is
read back and compared.

With -stream, Kinesis is asked for hash keys, parents and creation time of the stream, so
that the table is as if this library had made it; shards that Kinesis does not list any
more are left out, and parents that the old workers had not come to yet get a lease. With -multi, too, the leases get the keys of an application that reads
several streams: import one old table after the other into the same one.

Examples:
  kclctl leases import -from orders-old -table orders -stream orders -application billing -dry-run
  kclctl leases import -from orders-old -table orders -stream orders -application billing -yes
  kclctl leases import -from orders-old -from-store redis -from-redis redis://10.0.0.7:6379 -table orders -json -yes`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var w writer
		var o importOptions
		w.register(flags)
		w.src.registerMarks(flags)
		w.src.registerKinesis(flags)
		o.from.register(flags, "from")
		flags.StringVar(&o.stream, "stream", "", "`name` or ARN of the stream; Kinesis is asked about its shards")
		flags.BoolVar(&o.multi, "multi", false, "for an application that reads several streams; needs -stream")
		flags.StringVar(&o.start, "no-checkpoint", kcl.SentinelTrimHorizon, "`position` of shards without a checkpoint: the initial position of the old application, TRIM_HORIZON, LATEST or AT_TIMESTAMP@TIME")
		flags.BoolVar(&o.force, "force", false, "even if old workers run")
		flags.BoolVar(&o.skipBad, "skip-bad", false, "leave rows out that cannot be read")
		return func(ctx context.Context, t *terminal, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: import works on the whole table", args[0])
			}
			if o.multi && o.stream == "" {
				return usagef("-multi needs -stream: the keys contain the stream")
			}
			position, at, err := parseStart(o.start)
			if err != nil || !position.IsSentinel() || position.IsShardEnd() {
				return usagef("-no-checkpoint %q: use TRIM_HORIZON, LATEST or AT_TIMESTAMP@2026-03-04T05:06:07Z", o.start)
			}
			o.position, o.at, o.application = position, at, w.src.application
			return runImport(ctx, t, &w, &o)
		}
	},
}

type importOptions struct {
	from           oldSource
	stream         string
	application    string
	multi          bool
	start          string
	position       kcl.ExtendedSequenceNumber
	at             time.Time // belongs to LATEST and AT_TIMESTAMP
	force, skipBad bool
}

func runImport(ctx context.Context, t *terminal, w *writer, o *importOptions) error {
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
	if o.position.SequenceNumber == kcl.SentinelLatest {
		if o.at, err = w.src.serviceNow(ctx); err != nil {
			return err
		}
	}
	known, err := w.src.ask(ctx, o.stream)
	if err != nil {
		return err
	}
	x := &transfers{From: o.from.String(), To: "table " + w.src.name(), Rows: []transfer{}, Refused: []string{}, Notes: []string{}, prepare: store.Init}
	x.damaged(bad, o.skipBad, "their shards are then read from TRIM_HORIZON, or not at all if their children have leases")
	planImport(x, rows, have, known, o, now)
	for i := range x.Rows {
		x.Rows[i].bind(store)
	}
	x.again = func(ctx context.Context) ([]string, error) {
		later, _, err := old.List(ctx)
		return moved(rows, later), err
	}
	return w.transfer(ctx, t, x)
}

// planned is the lease that a row of the old table becomes.
func (o *importOptions) lease(r gokcl.Row, known knownStream) leases.Lease {
	l := r.Lease(o.position)
	l, _ = l.Moved(l.Checkpoint, o.at)
	if !o.at.IsZero() { // TRIM_HORIZON is the default, and says nothing of the old application
		l.Origin = leases.Origin{Kind: o.position.SequenceNumber, At: o.at}
	}
	if known.shards == nil {
		l, _ = o.marks(known).Complete(l)
		return l
	}
	s := known.shards[r.ShardID]
	l.Parents, l.HashKeyRange, l.StreamCreated = s.Parents(), s.HashKeyRange, known.created.UTC()
	if l.Finished() {
		for _, child := range known.shards {
			if child.ParentID == s.ID || child.AdjacentParentID == s.ID {
				l.Children = append(l.Children, child.ID)
			}
		}
	}
	if o.multi {
		l.Stream, l.Key = known.id.String(), shardsync.LeaseKey(known.id, s.ID, true)
	}
	l, _ = o.marks(known).Complete(l)
	return l
}

// marks say whose the new leases are, as far as that is known.
func (o *importOptions) marks(known knownStream) leases.Marks {
	return leases.MarksOf(o.application, known.id, o.multi)
}

// planImport decides what becomes of each row. It is pure.
func planImport(x *transfers, rows []gokcl.Row, have leases.Listing, known knownStream, o *importOptions, now time.Time) {
	there := map[string]leases.Lease{}
	otherForm := false
	var foreign error
	for _, l := range have.Leases {
		if foreign == nil {
			foreign = o.marks(known).Check(l)
		}
		there[l.Key] = l
		otherForm = otherForm || (l.Stream != "") != o.multi
	}
	if foreign != nil {
		x.Refused = append(x.Refused, foreign.Error())
	}
	for _, e := range have.Bad {
		x.Refused = append(x.Refused, fmt.Sprintf("%s has a row that cannot be read: %v", x.To, e))
	}
	if otherForm {
		x.Refused = append(x.Refused, x.To+" is of an application with the other form of keys (one stream, or several): give another -table, or -multi")
	}
	add := func(r gokcl.Row, note string) {
		l := o.lease(r, known)
		row := transfer{Key: l.Key, Checkpoint: l.Checkpoint.String(), Action: actionCreate, Note: note, lease: l}
		if current, ok := there[l.Key]; ok {
			if row.Action = actionSame; !alike(current, l) {
				row.Action, row.Note = actionDiffer, "checkpoint there is "+current.Checkpoint.String()
			}
		}
		x.Rows = append(x.Rows, row)
	}
	var live, unlisted []string
	for _, r := range rows {
		if r.Live(now) {
			live = append(live, fmt.Sprintf("%s by %s until %s", r.ShardID, r.Owner, r.Until.Format(time.RFC3339)))
		}
		if _, listed := known.shards[r.ShardID]; known.shards != nil && !listed {
			unlisted = append(unlisted, r.ShardID)
			x.Rows = append(x.Rows, transfer{Key: r.ShardID, Checkpoint: r.Checkpoint, Action: actionLeave, Note: "Kinesis does not list the shard any more"})
			continue
		}
		note := ""
		if r.Checkpoint == "" {
			note = "had no checkpoint"
		}
		add(r, note)
	}
	for _, id := range forgotten(x, rows, known) {
		add(gokcl.Row{ShardID: id}, "had no row, although a descendant has")
	}
	if len(live) > 0 {
		text := "old workers hold leases of " + x.From + " (" + joined(live) + "): while both run every record is processed twice, and what they checkpoint from now on is lost"
		if o.force {
			x.Notes = append(x.Notes, text)
		} else {
			x.Refused = append(x.Refused, text+"; stop them, or give -force")
		}
	}
	if len(unlisted) > 0 && len(unlisted) == len(rows) {
		x.Refused = append(x.Refused, "Kinesis lists none of the shards of "+x.From+": it is a table of another stream")
	}
	if o.application == "" {
		x.Notes = append(x.Notes, "without -application the leases do not say whose they are: the first application that starts on the table takes them for its own")
	}
	if known.shards == nil {
		x.Notes = append(x.Notes, "without -stream the leases do not say which hash keys they cover, nor when the stream was created")
		if ids := forgotten(x, rows, known); len(ids) > 0 {
			x.Notes = append(x.Notes, "there are parents without a row ("+joined(ids)+"), which will not be read: give -stream, unless Kinesis does not list them any more")
		}
	}
}

// forgotten are the ancestors of rows that have none themselves. The old
// libraries take shards in any order, read a child whose parent has no row, and
// keep the rows of finished shards, so an ancestor is still to be read. A worker
// of this library would take it for finished.
func forgotten(x *transfers, rows []gokcl.Row, known knownStream) []string {
	has, parents := map[string]bool{}, map[string][]string{}
	for _, r := range rows {
		has[r.ShardID] = true
		if r.Parent != "" {
			parents[r.ShardID] = []string{r.Parent}
		}
	}
	for _, b := range x.Bad {
		has[b.Key] = true
	}
	return known.without(has, parents)
}

// alike tells whether the lease that is there goes on where the import would.
func alike(current, l leases.Lease) bool {
	return current.Same(leases.AttrCheckpoint|leases.AttrPending, l)
}

// bind says how the row is written and read back.
func (r *transfer) bind(store leases.Store) {
	l := r.lease
	r.create = func(ctx context.Context) error { return store.Create(ctx, l) }
	created := r.Action == actionCreate
	r.verify = func(ctx context.Context) error {
		current, err := store.Get(ctx, l.Key)
		switch {
		case err != nil:
			return fmt.Errorf("read back: %w", err)
		case !alike(current, l):
			return fmt.Errorf("read back: the checkpoint is %s, not %s: is a worker running already?", current.Checkpoint, l.Checkpoint)
		case created && !current.Same(leases.AttrParents|leases.AttrHashKeyRange|leases.AttrStreamCreated|leases.AttrApplication|leases.AttrStreamARN, l):
			return errors.New("read back: parents, hash keys, creation time or marks are not as written")
		}
		return nil
	}
}

// moved says which rows of the old table are not as they were.
func moved(before, after []gokcl.Row) []string {
	was := map[string]gokcl.Row{}
	for _, r := range before {
		was[r.ShardID] = r
	}
	var texts []string
	for _, r := range after {
		old, ok := was[r.ShardID]
		switch {
		case !ok:
			texts = append(texts, r.ShardID+" is new")
		case old.Checkpoint != r.Checkpoint:
			texts = append(texts, fmt.Sprintf("%s was checkpointed at %s by an old worker: stop the old workers, delete the imported leases and import again", r.ShardID, r.Checkpoint))
		case old.Owner != r.Owner || !old.Until.Equal(r.Until):
			texts = append(texts, fmt.Sprintf("%s was taken or renewed by the old worker %s: stop the old workers", r.ShardID, r.Owner))
		}
	}
	return texts
}
