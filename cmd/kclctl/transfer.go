package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/leases"
)

// What becomes of a row of the other table.
const (
	actionCreate = "create"
	actionSame   = "already there"
	actionDiffer = "differs"
	actionLeave  = "left out"
)

// transfer is one row on its way from one table to another, in JSON too.
type transfer struct {
	Key        string `json:"key"`
	Checkpoint string `json:"checkpoint"`
	Action     string `json:"action"`
	Note       string `json:"note,omitempty"`
	// Done says that the row was created or was there, and was read back as it
	// should be.
	Done  bool   `json:"done"`
	Error string `json:"error,omitempty"`

	// lease or row is what is written.
	lease  leases.Lease
	row    gokcl.Row
	create func(context.Context) error
	verify func(context.Context) error
}

// transfers is all that a command is going to do.
type transfers struct {
	From string     `json:"from"`
	To   string     `json:"to"`
	Rows []transfer `json:"rows"`
	Bad  []badRow   `json:"bad"`
	// Refused says why nothing may be written.
	Refused []string `json:"refused"`
	Notes   []string `json:"notes"`
	DryRun  bool     `json:"dryRun"`

	// prepare makes the table that is written.
	prepare func(context.Context) error
	// again looks at the source a second time, after everything was written,
	// and says what has changed.
	again func(context.Context) ([]string, error)
}

func (x *transfers) count(action string) int {
	n := 0
	for _, r := range x.Rows {
		if r.Action == action {
			n++
		}
	}
	return n
}

// carryOut shows the transfers, asks, makes them, reads everything back and
// tells.
func (w *writer) transfer(ctx context.Context, t *terminal, x *transfers) error {
	x.DryRun = w.dryRun
	if x.Bad == nil {
		x.Bad = []badRow{}
	}
	slices.SortFunc(x.Rows, func(a, b transfer) int { return cmp.Compare(a.Key, b.Key) })
	if n := x.count(actionDiffer); n > 0 {
		x.Refused = append(x.Refused, fmt.Sprintf("%s of %s not as they would be written: the table is in use, and is not overwritten", plural(n, "row"), x.To))
	}
	if !w.src.json {
		x.print(t)
	}
	for _, text := range x.Notes {
		t.note("note: %s", text)
	}
	for _, text := range x.Refused {
		t.note("kclctl: refused: %s", text)
	}
	err := w.make(ctx, t, x)
	if w.src.json {
		if jsonErr := t.json(x); jsonErr != nil {
			return jsonErr
		}
	}
	return err
}

func (x *transfers) print(t *terminal) {
	cells := [][]string{{"KEY", "CHECKPOINT", "ACTION", "NOTE"}}
	for _, r := range x.Rows {
		cells = append(cells, []string{r.Key, r.Checkpoint, r.Action, r.Note})
	}
	for _, b := range x.Bad {
		cells = append(cells, []string{cmp.Or(b.Key, "(no key)"), "?", stateBad, b.Reason})
	}
	t.table(cells)
}

func (w *writer) make(ctx context.Context, t *terminal, x *transfers) error {
	say := func(format string, args ...any) {
		if !w.src.json {
			t.line(format, args...)
		}
	}
	creations := x.count(actionCreate)
	switch {
	case len(x.Refused) > 0:
		say("nothing was changed")
		return errReported
	case w.dryRun:
		say("dry run: nothing was changed; %s would be created in %s, %d are there already", plural(creations, "row"), x.To, x.count(actionSame))
		return nil
	case creations > 0 && !w.yes:
		if err := t.confirm(ctx, fmt.Sprintf("Create %s in %s?", plural(creations, "row"), x.To)); err != nil {
			return err
		}
	}
	if creations > 0 {
		if err := x.prepare(ctx); err != nil {
			return err
		}
	}
	created, verified, failed := 0, 0, 0
	rows := make([]leases.Lease, len(x.Rows))
	for i, r := range x.Rows {
		if rows[i] = r.lease; r.row.ShardID != "" { // of an export
			rows[i] = leases.Lease{ShardID: r.row.ShardID, Parents: []string{r.row.Parent}}
		}
	}
	order, of := families(rows)
	stopped := halted{}
	for _, i := range order { // parents first
		r := &x.Rows[i]
		if r.Action == actionLeave {
			continue
		}
		err := stopped.err(of[i])
		if err != nil {
			failed++
			r.Error = err.Error()
			t.note("kclctl: %s: %s", r.Key, r.Error)
			continue
		}
		if r.Action == actionCreate {
			if err = r.create(ctx); err == nil {
				created++
			}
		}
		// What was written, or may have been, is read back.
		if found := r.verify(ctx); found != nil {
			failed++
			stopped.by(of[i], r.Key)
			r.Error = cmp.Or(err, found).Error()
			t.note("kclctl: %s: %s", r.Key, r.Error)
			continue
		}
		r.Done = true
		verified++
	}
	say("%s created in %s, %d there already; %d read back and found right, %d failed", plural(created, "row"), x.To, x.count(actionSame), verified, failed)
	changed, err := x.again(ctx)
	if err != nil {
		return fmt.Errorf("look again at %s: %w", x.From, err)
	}
	for _, text := range changed {
		t.note("kclctl: %s changed while it was read: %s", x.From, text)
	}
	if failed > 0 || len(changed) > 0 {
		return errReported
	}
	return nil
}

// oldTable is a table of go-kcl, in any store.
type oldTable interface {
	Init(ctx context.Context) error
	List(ctx context.Context) ([]gokcl.Row, []*leases.RowError, error)
	Get(ctx context.Context, shardID string) (gokcl.Row, error)
	Create(ctx context.Context, r gokcl.Row) (existing *gokcl.Row, err error)
}

var (
	_ oldTable = (*gokcl.DynamoDBTable)(nil)
	_ oldTable = (*gokcl.RedisTable)(nil)
)

// oldSource says where a table of go-kcl is.
type oldSource struct {
	table string
	store string
	redis redisSource
}

func (o *oldSource) register(flags *flag.FlagSet, direction string) {
	flags.StringVar(&o.table, direction, "", "`name` of the table of go-kcl")
	flags.StringVar(&o.store, direction+"-store", "dynamodb", "`kind` of store that table is in: dynamodb or redis")
	o.redis.register(flags, direction+"-redis", "REDIS_URL")
}

func (o *oldSource) open(ctx context.Context, t *terminal, src *source, direction string) (oldTable, error) {
	if o.table == "" {
		return nil, usagef("-%s is missing: give the name of the table of go-kcl", direction)
	}
	switch o.store {
	case "dynamodb":
		client, err := src.dynamo(ctx)
		if err != nil {
			return nil, err
		}
		cfg := src.dynamoConfig(t, client, o.table)
		if cfg.Validate() != nil {
			return nil, usagef("-%s %q: a name has 3 to 255 letters, digits, '_', '.' or '-'", direction, o.table)
		}
		if src.kind() == "dynamodb" && o.table == src.name() {
			return nil, usagef("-%s and -table are the same table: the layouts cannot share one", direction)
		}
		return gokcl.NewDynamoDBTable(client, o.table, cfg.RequestTimeout), nil
	case "redis":
		cfg, err := o.redis.config(t, direction+"-redis", o.table)
		if err != nil {
			return nil, err
		}
		return gokcl.NewRedisTable(cfg.Client, cfg.KeyPrefix, o.table, cfg.RequestTimeout), nil
	}
	return nil, usagef("-%s-store %q: use dynamodb or redis", direction, o.store)
}

func (o *oldSource) String() string { return "table " + o.table }

// damaged lists bad rows for a report, and refuses unless they may be skipped.
func (x *transfers) damaged(bad []*leases.RowError, skip bool, consequence string) {
	slices.SortFunc(bad, func(a, b *leases.RowError) int { return cmp.Compare(a.Key, b.Key) })
	for _, e := range bad {
		x.Bad = append(x.Bad, badOf(e))
	}
	if len(bad) > 0 && !skip {
		x.Refused = append(x.Refused, fmt.Sprintf("%s of %s cannot be read: correct them, or give -skip-bad to leave them out; %s", plural(len(bad), "row"), x.From, consequence))
	}
}

func joined(keys []string) string {
	slices.Sort(keys)
	if len(keys) > 5 {
		keys = append(keys[:5:5], fmt.Sprintf("and %d more", len(keys)-5))
	}
	return strings.Join(keys, ", ")
}
