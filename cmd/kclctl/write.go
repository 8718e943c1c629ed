package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kinesis-go/kcl/leases"
)

// fence is what a write expects to be as it was shown: the owners, and the
// counter, which every write of an owner raises.
const fence = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter

// change is one conditional write, decided but not made.
type change struct {
	read leases.Lease
	to   leases.Lease
	set  leases.Attr
	// remove deletes the row instead, and create makes it.
	remove, create bool
	// family are the rows that a failure stops; see families.
	family int
	// unread says that the row cannot be read, so that there is nothing to
	// expect of it but its key.
	unread bool
	// addition says that the row has no such attributes yet, and that neither its
	// owner nor its position matter to it.
	addition bool
	// effect says what it does, for people; warning what to mind.
	effect  string
	warning string
}

// expects is what the write depends on: the fence, and what is overwritten.
func (c change) expects() leases.Attr {
	switch {
	case c.unread:
		return 0
	case c.remove:
		return fence | leases.AttrCheckpoint
	}
	return c.fence() | c.set
}

// fence is what must be as it was read besides what is changed.
func (c change) fence() leases.Attr {
	if c.addition {
		return 0
	}
	return fence
}

// changed is a change in JSON.
type changed struct {
	Key    string `json:"key"`
	Effect string `json:"effect"`
	// Done is false in a dry run, and when Error says why.
	Done   bool   `json:"done"`
	Error  string `json:"error,omitempty"`
	Before *row   `json:"before,omitempty"`
	After  *row   `json:"after,omitempty"`
}

// writer are the flags of commands that write.
type writer struct {
	src    source
	yes    bool
	dryRun bool
}

func (w *writer) register(flags *flag.FlagSet) {
	w.src.register(flags)
	flags.BoolVar(&w.yes, "yes", false, "do not ask")
	flags.BoolVar(&w.dryRun, "dry-run", false, "print what would be changed, and change nothing")
}

// select reads the rows that a command works on: those with keys, or all that
// match.
func (w *writer) pick(ctx context.Context, store leases.Store, keys []string, match func(leases.Lease) bool) ([]leases.Lease, error) {
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

func unique(keys []string) []string {
	var out []string
	for _, k := range keys {
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// carryOut shows the changes, asks, makes them one by one and tells what
// became of each. A deletion that fails stops those of its family, and nothing else
// does.
func (w *writer) carryOut(ctx context.Context, t *terminal, store leases.Store, changes []change) error {
	if len(changes) == 0 {
		if w.src.json {
			return w.report(t, nil)
		}
		t.line("nothing to change in table %s", w.src.name())
		return nil
	}
	if !w.src.json {
		t.table(planned(changes))
	}
	for _, text := range warnings(changes) {
		t.note("note: %s", text)
	}
	if w.dryRun {
		if !w.src.json {
			t.line("dry run: nothing was changed")
		}
		return w.report(t, outcomes(changes))
	}
	if !w.yes {
		if w.src.json {
			for _, c := range changes {
				t.note("%s: %s", c.read.Key, c.effect)
			}
		}
		if err := t.confirm(ctx, fmt.Sprintf("Change %s of table %s?", plural(len(changes), "lease"), w.src.name())); err != nil {
			return err
		}
	}
	out, failed := outcomes(changes), 0
	stopped := halted{}
	for i, c := range changes {
		err := stopped.err(c.family)
		var after leases.Lease
		if err == nil {
			after, err = w.apply(ctx, store, c)
		}
		if err != nil {
			failed++
			if c.remove {
				stopped.by(c.family, c.read.Key)
			}
			out[i].Error, out[i].After = err.Error(), nil
			t.note("kclctl: %s: %v", c.read.Key, err)
			continue
		}
		out[i].Done = true
		if !c.remove {
			r := rowOf(after)
			out[i].After = &r
		}
		if !w.src.json {
			t.line("%s: %s", c.read.Key, c.effect)
		}
	}
	if !w.src.json {
		t.line("%s changed, %d failed", plural(len(changes)-failed, "lease"), failed)
	}
	err := w.report(t, out)
	if err == nil && failed > 0 {
		return errReported
	}
	return err
}

func (w *writer) report(t *terminal, out []changed) error {
	if !w.src.json {
		return nil
	}
	if out == nil {
		out = []changed{}
	}
	return t.json(struct {
		Table   string    `json:"table"`
		DryRun  bool      `json:"dryRun"`
		Changes []changed `json:"changes"`
	}{w.src.name(), w.dryRun, out})
}

func outcomes(changes []change) []changed {
	var out []changed
	for _, c := range changes {
		o := changed{Key: c.read.Key, Effect: c.effect}
		if !c.unread && !c.create {
			before := rowOf(c.read)
			o.Before = &before
		}
		if c.create {
			after := rowOf(c.to)
			o.After = &after
		} else if !c.remove {
			after := rowOf(c.read.With(c.set, c.to))
			o.After = &after
		}
		out = append(out, o)
	}
	return out
}

func planned(changes []change) [][]string {
	cells := [][]string{{"KEY", "STATE", "OWNER", "CHECKPOINT", "COUNTER", "CHANGE"}}
	for _, c := range changes {
		if c.unread {
			cells = append(cells, []string{c.read.Key, stateBad, "?", "?", "?", c.effect})
			continue
		}
		if c.create {
			cells = append(cells, []string{c.read.Key, "none", "-", "-", "-", c.effect})
			continue
		}
		cells = append(cells, []string{c.read.Key, stateOf(c.read), ownerText(c.read), c.read.Checkpoint.String(), strconv.FormatInt(c.read.Counter, 10), c.effect})
	}
	return cells
}

// warnings returns each warning once, with the keys it is about.
func warnings(changes []change) []string {
	var texts []string
	keys := map[string][]string{}
	for _, c := range changes {
		if c.warning == "" {
			continue
		}
		if keys[c.warning] == nil {
			texts = append(texts, c.warning)
		}
		keys[c.warning] = append(keys[c.warning], c.read.Key)
	}
	for i, text := range texts {
		names := keys[text]
		if len(names) > 3 {
			names = append(names[:3:3], fmt.Sprintf("and %d more", len(names)-3))
		}
		texts[i] = strings.Join(names, ", ") + ": " + text
	}
	return texts
}

// apply makes one write, once. When its answer is lost, the row tells whether
// it took effect.
func (w *writer) apply(ctx context.Context, store leases.Store, c change) (leases.Lease, error) {
	to := c.read.With(c.set, c.to)
	if ctx.Err() != nil {
		return to, fmt.Errorf("not changed: %w", context.Cause(ctx))
	}
	var err error
	switch {
	case c.create:
		to = c.to
		err = store.Create(ctx, c.to)
	case c.remove:
		err = store.Delete(ctx, c.read, c.expects())
	default:
		err = store.Update(ctx, leases.Update{Read: c.read, Expect: c.expects(), To: c.to, Set: c.set})
	}
	var conflict *leases.ConflictError
	switch {
	case err == nil:
		return to, nil
	case errors.As(err, &conflict) && c.create:
		return to, errors.New("not made: there is a row by now")
	case errors.As(err, &conflict):
		return to, refused(conflict)
	}
	current, found := store.Get(ctx, c.read.Key)
	switch {
	case c.remove && errors.Is(found, leases.ErrNotFound):
		return to, nil
	case c.create && found == nil && current.Same(leases.AttrAll, to):
		return to, nil
	case c.create && errors.Is(found, leases.ErrNotFound):
		return to, fmt.Errorf("not made: %w", w.src.explain(err))
	case !c.remove && !c.create && found == nil && current.Same(c.fence()|c.set, to):
		return to, nil
	case found == nil && !c.unread && current.Same(c.expects(), c.read):
		return to, fmt.Errorf("not changed: %w", w.src.explain(err))
	}
	return to, fmt.Errorf("it is not known whether it was changed, see `kclctl leases show`: %w", w.src.explain(err))
}

func refused(c *leases.ConflictError) error {
	if c.Current == nil {
		return errors.New("not changed: the lease does not exist any more")
	}
	return fmt.Errorf("not changed, as the lease is not as shown any more: now %s, owner %s, checkpoint %s, counter %d; "+
		"a worker that holds a lease renews it every few seconds: look again, or give -yes to read and write at once",
		stateOf(*c.Current), ownerText(*c.Current), c.Current.Checkpoint, c.Current.Counter)
}
