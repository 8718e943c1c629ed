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

// fence is what a write depends on: the owners, and the counter, which every write
// of an owner raises. When only what does not matter has changed, see change.again.
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
	// apart says that neither the owner nor the position matter to what is changed.
	apart bool
	// again decides once more on a row that was written since it was read: workers
	// renew every few seconds. It is false when the change would not be what was
	// confirmed. nil means that nothing may have changed.
	again func(now leases.Lease) (change, bool)
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
	if c.apart {
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
// became of each. A row that is not deleted or not made stops those of its family, and
// nothing else does.
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
		if err == nil {
			c, err = w.apply(ctx, store, c)
		}
		if err != nil {
			failed++
			if c.remove || c.create {
				stopped.by(c.family, c.read.Key)
			}
			out[i].Error, out[i].After = err.Error(), nil
			t.note("kclctl: %s: %v", c.read.Key, err)
			continue
		}
		out[i] = outcome(c)
		out[i].Done = true
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
		out = append(out, outcome(c))
	}
	return out
}

func outcome(c change) changed {
	o := changed{Key: c.read.Key, Effect: c.effect}
	if !c.unread && !c.create {
		before := rowOf(c.read)
		o.Before = &before
	}
	if !c.remove {
		after := rowOf(c.after())
		o.After = &after
	}
	return o
}

// written are the attributes that tell whether the change was made.
func (c change) written() leases.Attr {
	if c.create {
		return leases.AttrAll
	}
	return c.fence() | c.set
}

// after is the row as the change makes it.
func (c change) after() leases.Lease {
	if c.create {
		return c.to
	}
	return c.read.With(c.set, c.to)
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

// rereads is how often a change is decided anew because the row was written meanwhile.
const rereads = 10

// apply makes one write, and returns it. A row that was written since it was read is
// judged again.
func (w *writer) apply(ctx context.Context, store leases.Store, c change) (change, error) {
	for i := 0; ; i++ {
		err := w.write(ctx, store, c)
		conflict, ok := errors.AsType[*leases.ConflictError](err)
		switch {
		case !ok:
			return c, err
		case c.create:
			return c, errors.New("not made: there is a row by now")
		case conflict.Current == nil || c.again == nil || i == rereads:
			return c, refused(c, conflict)
		}
		next, ok := c.again(*conflict.Current)
		if !ok {
			return c, refused(c, conflict)
		}
		next.family = c.family
		c = next
	}
}

// write makes one write, once. When its answer is lost, the row tells whether
// it took effect.
func (w *writer) write(ctx context.Context, store leases.Store, c change) error {
	to := c.after()
	if ctx.Err() != nil {
		return fmt.Errorf("not changed: %w", context.Cause(ctx))
	}
	var err error
	switch {
	case c.create:
		err = store.Create(ctx, c.to)
	case c.remove:
		err = store.Delete(ctx, c.read, c.expects())
	default:
		err = store.Update(ctx, leases.Update{Read: c.read, Expect: c.expects(), To: c.to, Set: c.set})
	}
	conflict, refused := errors.AsType[*leases.ConflictError](err)
	switch {
	case refused && !c.remove && conflict.Current != nil && conflict.Current.Same(c.written(), to):
		return nil // the client has sent it twice
	case err == nil || refused && (conflict.Current != nil || !c.remove):
		return err
	}
	current, found := store.Get(ctx, c.read.Key)
	switch {
	case c.remove && errors.Is(found, leases.ErrNotFound): // also when the client has sent it twice
		return nil
	case refused:
		return err
	case c.create && errors.Is(found, leases.ErrNotFound):
		return fmt.Errorf("not made: %w", w.src.explain(err))
	case !c.remove && found == nil && current.Same(c.written(), to):
		return nil
	case found == nil && !c.unread && current.Same(c.expects(), c.read):
		return fmt.Errorf("not changed: %w", w.src.explain(err))
	}
	return fmt.Errorf("it is not known whether it was changed, see `kclctl leases show`: %w", w.src.explain(err))
}

func refused(c change, conflict *leases.ConflictError) error {
	now := conflict.Current
	switch {
	case now == nil:
		return errors.New("not changed: the lease does not exist any more")
	case c.remove && now.Counter != c.read.Counter && now.Same(leases.AttrOwner|leases.AttrCheckpointOwner, c.read):
		return fmt.Errorf("not changed, as the lease is not as shown any more: %w", errRenewed)
	}
	return fmt.Errorf("not changed, as the lease is not as shown any more: now %s, owner %s, checkpoint %s, counter %d: look again",
		stateOf(*now), ownerText(*now), now.Checkpoint, now.Counter)
}
