package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

var adoptCommand = command{
	name: "adopt", summary: "write which application and stream a table belongs to",
	help: `Every lease remembers its application, its stream and when the stream was created. Workers
refuse a table whose leases belong to another application or stream. They also refuse leases
of a stream of the same name that was created at another time: sequence numbers of one
stream mean nothing in another.

With -application adopt writes the name of the application into all leases. Use it when the
application was renamed, or when a table without such names is refused. It watches the
table for -watch, and refuses if a worker renews a lease.

With -stream it writes the ARN and the creation time of the stream. Use that only if the
stream keeps the same records under the same sequence numbers: after the restart of an
emulator, for instance, that keeps its streams but not their creation time. The checkpoints
stay. If the stream was really deleted and created again, use another table instead, or, if
it owns all leases, ` + "`kclctl leases delete -all`" + `.

In a table with several streams the creation time is part of the keys. There -stream writes
the region into the leases of that stream.

Examples:
  kclctl leases adopt -table orders -application billing
  kclctl leases adopt -table orders -application billing -stream arn:aws:kinesis:us-east-1:123456789012:stream/orders
  kclctl leases adopt -table orders -stream orders -yes
  kclctl leases adopt -table orders -created 2026-01-31T08:00:00Z -dry-run`,
	setup: func(flags *flag.FlagSet) action {
		var w writer
		w.register(flags)
		w.src.registerMarks(flags)
		w.src.registerKinesis(flags)
		stream := flags.String("stream", "", "`name` or ARN of the stream; Kinesis is asked for its creation time")
		created := flags.String("created", "", "creation `time`, such as 2026-01-31T08:00:00Z, instead of asking Kinesis")
		watch := flags.Duration("watch", 15*time.Second,
			"how long nobody may renew a lease: longer than the FailoverTime of the workers")
		return func(ctx context.Context, t *terminal.Terminal, args []string) error {
			if err := wholeTable("adopt", args); err != nil {
				return err
			}
			switch {
			case *stream != "" && *created != "":
				return usagef("give -stream NAME, or -created TIME")
			case *stream == "" && *created == "" && w.src.application == "":
				return usagef("give -application NAME, -stream NAME, or -created TIME")
			}
			return w.adopt(ctx, t, *stream, *created, *watch)
		}
	},
}

func (w *writer) adopt(ctx context.Context, t *terminal.Terminal, stream, created string, watch time.Duration) error {
	store, err := w.src.open(ctx, t)
	if err != nil {
		return err
	}
	a := adoption{application: w.src.application}
	if created != "" {
		if a.created, err = time.Parse(time.RFC3339, created); err != nil {
			return usagef("-created %q is not a time such as 2026-01-31T08:00:00Z", created)
		}
	}
	if stream != "" {
		s, err := w.src.describe(ctx, stream)
		if err != nil {
			return err
		}
		a.stream, a.created = s.ID, s.Created
	}
	listing, err := w.src.list(ctx, store)
	if err != nil {
		return err
	}
	for _, e := range listing.Bad {
		t.Note("note: left alone: %v", e)
	}
	if a.application != "" {
		if listing, err = w.whenQuiet(ctx, t, store, listing, watch); err != nil {
			return err
		}
	}
	changes, err := a.plan(listing.Leases)
	if err != nil {
		return err
	}
	return w.carryOut(ctx, t, store, changes)
}

// whenQuiet lists the table again after a while, and returns an error if a lease was written
// meanwhile. It does not wait for a table whose leases have no owners.
func (w *writer) whenQuiet(
	ctx context.Context, t *terminal.Terminal, store leases.Store, before leases.Listing, watch time.Duration,
) (leases.Listing, error) {
	was, owned := map[string]leases.Lease{}, false
	for _, l := range before.Leases {
		was[l.Key], owned = l, owned || (l.ActualOwner() != "" && !l.Finished())
	}
	if !owned {
		return before, nil
	}
	t.Note("note: leases have owners: watching for %s whether a worker runs", watch)
	timer := time.NewTimer(watch)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return before, fmt.Errorf("nothing was changed: %w", context.Cause(ctx))
	}
	after, err := w.src.list(ctx, store)
	if err != nil {
		return after, err
	}
	for _, l := range after.Leases {
		if old, ok := was[l.Key]; !ok || !l.Same(fence, old) {
			return after, fmt.Errorf("lease %s is in use, by worker %s: "+
				"stop all workers of the table first, of every application; nothing was changed",
				l.Key, cmp.Or(l.ActualOwner(), old.ActualOwner(), "(none)"))
		}
	}
	return after, nil
}

// adoption is what leases are to say of their application and stream. A zero field stays as it is.
type adoption struct {
	application string
	stream      kcl.StreamIdentifier
	created     time.Time
}

// plan returns the changes of all leases that say something else.
func (a adoption) plan(rows []leases.Lease) ([]change, error) {
	var changes []change
	found := false
	for _, l := range rows {
		if l.Stream != "" && a.application == "" && a.stream.ARN == "" {
			return nil, fmt.Errorf("lease %s is of a table with several streams. Their keys contain the creation time, "+
				"so there is no creation time to adopt. Workers complete the leases of other libraries", l.Key)
		}
		id, selected := a.streamOf(l)
		found = found || selected
		if c := a.change(l, id, selected); c.set != 0 {
			changes = append(changes, c)
		}
	}
	if a.stream.ARN != "" && !found && len(rows) > 0 {
		return nil, fmt.Errorf("the table has no lease of stream %s; nothing was changed", a.stream.ARN)
	}
	return changes, nil
}

// streamOf returns the stream that a lease is to name, and whether -stream or -created select it.
func (a adoption) streamOf(l leases.Lease) (id kcl.StreamIdentifier, selected bool) {
	if l.Stream == "" {
		return a.stream, a.stream.ARN != "" || !a.created.IsZero()
	}
	id, err := kcl.ParseStreamIdentifier(l.Stream)
	selected = err == nil && id.Name == a.stream.Name && id.AccountID == a.stream.AccountID
	id.ARN = a.stream.ARN
	return id, selected
}

// change returns the change of one lease. It sets nothing if the lease is right already.
func (a adoption) change(l leases.Lease, id kcl.StreamIdentifier, selected bool) change {
	c := change{read: l, to: l, unfenced: true}
	var effects []string
	set := func(attr leases.Attr, name, from, to string) {
		c.set |= attr
		effects = append(effects, fmt.Sprintf("%s %s -> %s", name, cmp.Or(from, "not known"), to))
		c.effect = strings.Join(effects, ", ")
	}
	const mustMatch = "the checkpoints stay: they must be sequence numbers of this stream, and not of an earlier one"
	if a.application != "" && l.Application != a.application {
		c.to.Application = a.application
		set(leases.AttrApplication, "application", l.Application, a.application)
		c.unfenced = l.Application == "" // the other application may be running
	}
	if arn := shardsync.MarksOf("", id, l.Stream != "").StreamARN; selected && arn != "" && l.StreamARN != arn {
		c.to.StreamARN = arn
		set(leases.AttrStreamARN, "stream", l.StreamARN, arn)
		c.warning = mustMatch
	}
	known := !l.StreamCreated.IsZero()
	if selected && l.Stream == "" && (!known || l.StreamCreated.Unix() != a.created.Unix()) {
		was := ""
		if known {
			was = l.StreamCreated.UTC().Format(time.RFC3339)
		}
		c.to.StreamCreated = a.created.UTC()
		set(leases.AttrStreamCreated, "stream created", was, a.created.UTC().Format(time.RFC3339))
		c.warning = mustMatch
	}
	return c
}
