package transfer

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/families"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/leases"
)

// Options says how a plan is carried out.
type Options struct {
	Yes    bool // do not ask for confirmation
	DryRun bool // write nothing
	JSON   bool // print JSON
}

// CarryOut prints the plan, asks for confirmation, creates the rows, reads them back and prints the
// outcome. It returns terminal.ErrReported if the plan is refused, if a row failed, or if the
// source has changed meanwhile.
func (p *Plan) CarryOut(ctx context.Context, t *terminal.Terminal, o Options) error {
	p.DryRun = o.DryRun
	slices.SortFunc(p.Rows, func(a, b Row) int { return cmp.Compare(a.Key, b.Key) })
	if n := p.count(actionDiffer); n > 0 {
		p.refuse("%s of %s with another checkpoint: nothing is overwritten, because the table is in use",
			view.Plural(n, "row"), p.To)
	}
	say := func(format string, args ...any) {
		if !o.JSON {
			t.Line(format, args...)
		}
	}
	if !o.JSON {
		t.Table(p.cells())
	}
	for _, text := range p.Notes {
		t.Note("note: %s", text)
	}
	for _, text := range p.Refused {
		t.Note("kclctl: refused: %s", text)
	}
	err := p.write(ctx, t, o, say)
	if o.JSON {
		if jsonErr := t.JSON(p); jsonErr != nil {
			return jsonErr
		}
	}
	return err
}

func (p *Plan) cells() [][]string {
	cells := [][]string{{"KEY", "CHECKPOINT", "ACTION", "NOTE"}}
	for _, r := range p.Rows {
		cells = append(cells, []string{r.Key, r.Checkpoint, r.Action, r.Note})
	}
	for _, b := range p.Bad {
		cells = append(cells, []string{b.Name(), "?", b.State, b.Reason})
	}
	return cells
}

// write carries out what is not refused.
func (p *Plan) write(ctx context.Context, t *terminal.Terminal, o Options, say func(string, ...any)) error {
	creations := p.count(actionCreate)
	switch {
	case len(p.Refused) > 0:
		say("nothing was changed")
		return terminal.ErrReported
	case o.DryRun:
		say("dry run: nothing was changed; %s would be created in %s, %d are there already",
			view.Plural(creations, "row"), p.To, p.count(actionSame))
		return nil
	case creations > 0 && !o.Yes:
		if err := t.Confirm(ctx, fmt.Sprintf("Create %s in %s?", view.Plural(creations, "row"), p.To)); err != nil {
			return err
		}
	}
	if creations > 0 {
		if err := p.prepare(ctx); err != nil {
			return err
		}
	}
	failed := p.writeRows(ctx, t, say)
	changed, err := p.changes(ctx)
	if err != nil {
		return fmt.Errorf("read %s again: %w", p.From, err)
	}
	for _, text := range changed {
		t.Note("kclctl: %s changed while it was read: %s", p.From, text)
	}
	if failed > 0 || len(changed) > 0 {
		return terminal.ErrReported
	}
	return nil
}

// writeRows creates the rows, parents before children, and reads them back. It returns how many
// failed.
func (p *Plan) writeRows(ctx context.Context, t *terminal.Terminal, say func(string, ...any)) int {
	shards := make([]leases.Lease, len(p.Rows))
	for i, r := range p.Rows {
		if shards[i] = r.lease; r.row.ShardID != "" { // an export
			shards[i] = leases.Lease{ShardID: r.row.ShardID, Parents: []string{r.row.Parent}}
		}
	}
	order, family := families.Order(shards)
	failures := families.Failed{}
	created, verified, failed := 0, 0, 0
	for _, i := range order {
		r := &p.Rows[i]
		if r.Action == actionLeave {
			continue
		}
		err := failures.Check(family[i])
		if err == nil {
			wrote, writeErr := r.write(ctx)
			if err = writeErr; err != nil {
				failures.Add(family[i], r.Key)
			}
			if wrote {
				created++
			}
		}
		if err != nil {
			failed++
			r.Error = err.Error()
			t.Note("kclctl: %s: %s", r.Key, r.Error)
			continue
		}
		r.Done = true
		verified++
	}
	say("%s created in %s, %d there already; %d read back and found right, %d failed",
		view.Plural(created, "row"), p.To, p.count(actionSame), verified, failed)
	return failed
}

// write creates the row if need be, and reads it back also after an error: the row may have been
// written. It tells whether the row was created without an error.
func (r *Row) write(ctx context.Context) (created bool, err error) {
	if r.Action == actionCreate {
		err = r.create(ctx)
		created = err == nil
	}
	if difference := r.verify(ctx); difference != nil {
		return created, cmp.Or(err, difference)
	}
	return created, nil
}
