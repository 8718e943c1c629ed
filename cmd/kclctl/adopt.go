package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

var adoptCommand = command{
	name: "adopt", summary: "say whose a table is: its application and its stream",
	help: `Every lease remembers its application, its stream and when that was created. Workers refuse
a table whose leases are those of another application or stream, or of a stream of the same
name that was created at another time, because sequence numbers of one stream mean nothing
in another.

With -application adopt writes the name of the application into all leases: when the
application was renamed, or when a table without such names is refused. It works only while
nobody renews a lease: it watches the table for -watch, and refuses when a worker runs.

With -stream it writes the ARN and the creation time of the stream. Use that only when the
stream keeps the same records under the same sequence numbers, as after the restart of an
emulator that persists its streams but not their creation time. The checkpoints stay. When
the stream was really deleted and created again, use another table instead, or, if all
leases are its own, ` + "`kclctl leases delete -all`" + `.

With several streams in one table the creation time is part of the keys; -stream writes the
region into the leases of that stream.

Examples:
  kclctl leases adopt -table orders -application billing
  kclctl leases adopt -table orders -application billing -stream arn:aws:kinesis:us-east-1:123456789012:stream/orders
  kclctl leases adopt -table orders -stream orders -yes
  kclctl leases adopt -table orders -created 2026-01-31T08:00:00Z -dry-run`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var w writer
		w.register(flags)
		w.src.registerMarks(flags)
		w.src.registerKinesis(flags)
		stream := flags.String("stream", "", "`name` or ARN of the stream, which Kinesis is asked about")
		created := flags.String("created", "", "creation `time`, such as 2026-01-31T08:00:00Z, instead of asking Kinesis")
		watch := flags.Duration("watch", 15*time.Second, "for how long nobody may renew a lease: longer than FailoverTime of the workers")
		return func(ctx context.Context, t *terminal, args []string) error {
			a := adoption{application: w.src.application}
			switch {
			case len(args) > 0:
				return usagef("unexpected argument %q: adopt works on the whole table", args[0])
			case *stream != "" && *created != "":
				return usagef("give -stream NAME, or -created TIME")
			case *stream == "" && *created == "" && a.application == "":
				return usagef("give -application NAME, -stream NAME, or -created TIME")
			}
			store, err := w.src.open(ctx, t)
			if err != nil {
				return err
			}
			if *created != "" {
				if a.created, err = time.Parse(time.RFC3339, *created); err != nil {
					return usagef("-created %q is not a time such as 2026-01-31T08:00:00Z", *created)
				}
			}
			if *stream != "" {
				s, err := w.src.describe(ctx, *stream)
				if err != nil {
					return err
				}
				a.stream, a.created = s.id, s.created
			}
			listing, err := w.src.list(ctx, store)
			if err != nil {
				return err
			}
			for _, e := range listing.Bad {
				t.note("note: left alone: %v", e)
			}
			if a.application != "" {
				if listing, err = w.whenQuiet(ctx, t, store, listing, *watch); err != nil {
					return err
				}
			}
			changes, err := a.plan(listing.Leases)
			if err != nil {
				return err
			}
			return w.carryOut(ctx, t, store, changes)
		}
	},
}

// whenQuiet lists the table again after a while, and fails when somebody has
// written to a lease meanwhile. A table without owners needs no such look.
func (w *writer) whenQuiet(ctx context.Context, t *terminal, store leases.Store, before leases.Listing, watch time.Duration) (leases.Listing, error) {
	was, owned := map[string]leases.Lease{}, false
	for _, l := range before.Leases {
		was[l.Key], owned = l, owned || (l.ActualOwner() != "" && !l.Finished())
	}
	if !owned {
		return before, nil
	}
	t.note("note: leases have owners: watching for %s whether a worker runs", watch)
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
	const written = leases.AttrCounter | leases.AttrOwner | leases.AttrCheckpointOwner
	for _, l := range after.Leases {
		if old, ok := was[l.Key]; !ok || !l.Same(written, old) {
			return after, fmt.Errorf("lease %s is in use, by worker %s: stop all workers of the table first, of every application; nothing was changed",
				l.Key, cmp.Or(l.ActualOwner(), old.ActualOwner(), "(none)"))
		}
	}
	return after, nil
}

// adoption says whose leases are; what is zero stays as it is.
type adoption struct {
	application string
	stream      kcl.StreamIdentifier
	created     time.Time
}

// plan returns the writes to all leases that say something else.
func (a adoption) plan(rows []leases.Lease) ([]change, error) {
	var changes []change
	ofStream := false
	for _, l := range rows {
		c := change{read: l, to: l, apart: true}
		var effects []string
		set := func(attr leases.Attr, name, from, to string) {
			c.set |= attr
			c.apart = c.apart && (from == "" || attr != leases.AttrApplication) // another's application may be running
			effects = append(effects, fmt.Sprintf("%s %s -> %s", name, cmp.Or(from, "not known"), to))
		}
		mine := l.Stream == "" && (a.stream.ARN != "" || !a.created.IsZero())
		if l.Stream != "" {
			if a.application == "" && a.stream.ARN == "" {
				return nil, fmt.Errorf("lease %s is of a table with several streams, whose keys tell a stream from an earlier one: there is no creation time to adopt, and workers complete the leases of other libraries", l.Key)
			}
			id, err := kcl.ParseStreamIdentifier(l.Stream)
			mine = err == nil && id.Name == a.stream.Name && id.AccountID == a.stream.AccountID
		}
		ofStream = ofStream || mine
		if a.application != "" && l.Application != a.application {
			c.to.Application = a.application
			set(leases.AttrApplication, "application", l.Application, a.application)
		}
		id := a.stream
		if mine && l.Stream != "" {
			id, _ = kcl.ParseStreamIdentifier(l.Stream)
			id.ARN = a.stream.ARN
		}
		if arn := leases.MarksOf("", id, l.Stream != "").StreamARN; mine && arn != "" && l.StreamARN != arn {
			c.to.StreamARN = arn
			set(leases.AttrStreamARN, "stream", l.StreamARN, arn)
			c.warning = "the checkpoints stay: they must be sequence numbers of this very stream"
		}
		if mine && l.Stream == "" && (l.StreamCreated.IsZero() || l.StreamCreated.Unix() != a.created.Unix()) {
			was := ""
			if !l.StreamCreated.IsZero() {
				was = l.StreamCreated.UTC().Format(time.RFC3339)
			}
			c.to.StreamCreated = a.created.UTC()
			set(leases.AttrStreamCreated, "stream created", was, a.created.UTC().Format(time.RFC3339))
			c.warning = "the checkpoints stay: they must be sequence numbers of this very stream"
		}
		if c.set != 0 {
			c.effect = strings.Join(effects, ", ")
			changes = append(changes, c)
		}
	}
	if a.stream.ARN != "" && !ofStream && len(rows) > 0 {
		return nil, errors.New("the table has no lease of stream " + a.stream.ARN + "; nothing was changed")
	}
	return changes, nil
}
