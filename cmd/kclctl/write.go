package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/families"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/leases"
)

// writer holds the flags of commands that write.
type writer struct {
	src    source
	yes    bool
	dryRun bool
}

func (w *writer) register(flags *flag.FlagSet) {
	w.src.register(flags)
	flags.BoolVar(&w.yes, "yes", false, "do not ask for confirmation")
	flags.BoolVar(&w.dryRun, "dry-run", false, "print what would be changed, and change nothing")
}

// selectRows reads the rows of a command: those with the keys, or without keys all that match.
func (w *writer) selectRows(
	ctx context.Context, store leases.Store, keys []string, match func(leases.Lease) bool,
) ([]leases.Lease, error) {
	if len(keys) == 0 {
		listing, err := w.src.list(ctx, store)
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(listing.Leases, func(l leases.Lease) bool { return !match(l) }), nil
	}
	var rows []leases.Lease
	for _, key := range unique(keys) {
		l, err := store.Get(ctx, key)
		if errors.Is(err, leases.ErrNotFound) {
			return nil, fmt.Errorf("there is no lease %q in table %s; nothing was changed", key, w.src.name())
		}
		if err != nil {
			return nil, w.src.explain(err)
		}
		rows = append(rows, l)
	}
	return rows, nil
}

// listNow reads all rows with a consistent read, and sorts them by stream and key.
func (w *writer) listNow(ctx context.Context, store leases.Store) ([]leases.Lease, error) {
	listing, err := store.ListNow(ctx)
	if err != nil {
		return nil, w.src.explain(err)
	}
	sortListing(listing)
	return listing.Leases, nil
}

// carryOut prints the changes, asks for confirmation, makes the changes one by one and prints the
// outcome of each. A row that cannot be deleted or made stops its family. No other failure stops
// anything.
func (w *writer) carryOut(ctx context.Context, t *terminal.Terminal, store leases.Store, changes []change) error {
	if len(changes) == 0 {
		w.say(t, "nothing to change in table %s", w.src.name())
		return w.report(t, []changed{})
	}
	if !w.src.json {
		t.Table(inCells(changes))
	}
	for _, text := range warnings(changes) {
		t.Note("note: %s", text)
	}
	if w.dryRun {
		w.say(t, "dry run: nothing was changed")
		return w.report(t, inJSON(changes))
	}
	if err := w.confirm(ctx, t, changes); err != nil {
		return err
	}
	out, failed := w.applyAll(ctx, t, store, changes)
	w.say(t, "%s changed, %d failed", view.Plural(len(changes)-failed, "lease"), failed)
	err := w.report(t, out)
	if err == nil && failed > 0 {
		return terminal.ErrReported
	}
	return err
}

// confirm asks whether to make the changes. With -json they have not been printed yet.
func (w *writer) confirm(ctx context.Context, t *terminal.Terminal, changes []change) error {
	if w.yes {
		return nil
	}
	if w.src.json {
		for _, c := range changes {
			t.Note("%s: %s", c.read.Key, c.effect)
		}
	}
	return t.Confirm(ctx, fmt.Sprintf("Change %s of table %s?", view.Plural(len(changes), "lease"), w.src.name()))
}

// applyAll makes the changes, and returns their outcomes and the number of failures.
func (w *writer) applyAll(
	ctx context.Context, t *terminal.Terminal, store leases.Store, changes []change,
) (out []changed, failed int) {
	out = inJSON(changes)
	failures := families.Failed{}
	for i, c := range changes {
		err := failures.Check(c.family)
		if err == nil {
			c, err = w.apply(ctx, store, c)
		}
		if err != nil {
			failed++
			if c.remove || c.create {
				failures.Add(c.family, c.read.Key)
			}
			out[i].Error, out[i].After = err.Error(), nil
			t.Note("kclctl: %s: %v", c.read.Key, err)
			continue
		}
		out[i] = c.inJSON()
		out[i].Done = true
		w.say(t, "%s: %s", c.read.Key, c.effect)
	}
	return out, failed
}

// say prints a line for people.
func (w *writer) say(t *terminal.Terminal, format string, args ...any) {
	if !w.src.json {
		t.Line(format, args...)
	}
}

// report prints the outcomes for programs.
func (w *writer) report(t *terminal.Terminal, out []changed) error {
	if !w.src.json {
		return nil
	}
	return t.JSON(struct {
		Table   string    `json:"table"`
		DryRun  bool      `json:"dryRun"`
		Changes []changed `json:"changes"`
	}{w.src.name(), w.dryRun, out})
}
