package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

var adoptCommand = command{
	name: "adopt", summary: "say that a table belongs to a stream created at another time",
	help: `Every lease remembers when its stream was created. Workers refuse a table whose leases
were made for a stream of the same name that was created at another time, because
sequence numbers of one stream mean nothing in another.

Use adopt only when the stream keeps the same records under the same sequence numbers, as
after the restart of an emulator that persists its streams but not their creation time.
It writes the new creation time into the leases and keeps their checkpoints. When the
stream was really deleted and created again, use ` + "`kclctl leases delete -all`" + ` instead.

With several streams in one table the creation time is part of the keys, and there is
nothing to adopt.

Examples:
  kclctl leases adopt -table orders -stream orders
  kclctl leases adopt -table orders -stream arn:aws:kinesis:us-east-1:123456789012:stream/orders -yes
  kclctl leases adopt -table orders -created 2026-01-31T08:00:00Z -dry-run`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var w writer
		w.register(flags)
		w.src.registerKinesis(flags)
		stream := flags.String("stream", "", "`name` or ARN of the stream, which Kinesis is asked about")
		created := flags.String("created", "", "creation `time`, such as 2026-01-31T08:00:00Z, instead of asking Kinesis")
		return func(ctx context.Context, t *terminal, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: adopt works on the whole table", args[0])
			}
			if (*stream == "") == (*created == "") {
				return usagef("give -stream NAME, or -created TIME")
			}
			store, err := w.src.open(ctx, t)
			if err != nil {
				return err
			}
			at, err := time.Parse(time.RFC3339, *created)
			if *created != "" && err != nil {
				return usagef("-created %q is not a time such as 2026-01-31T08:00:00Z", *created)
			}
			if *stream != "" {
				s, err := w.src.describe(ctx, *stream)
				if err != nil {
					return err
				}
				at = s.created
			}
			listing, err := w.src.list(ctx, store)
			if err != nil {
				return err
			}
			for _, e := range listing.Bad {
				t.note("note: left alone: %v", e)
			}
			changes, err := adoption(listing.Leases, at)
			if err != nil {
				return err
			}
			return w.carryOut(ctx, t, store, changes)
		}
	},
}

// adoption plans to write a creation time into all rows that have another one.
func adoption(rows []leases.Lease, at time.Time) ([]change, error) {
	var changes []change
	for _, l := range rows {
		if l.Stream != "" {
			return nil, fmt.Errorf("lease %s is of a table with several streams, whose keys tell a stream from an earlier one: there is nothing to adopt, and workers complete the leases of other libraries; only when the stream was deleted and created again, delete its old leases with `kclctl leases delete -all -stream %s`", l.Key, l.Stream)
		}
		if !l.StreamCreated.IsZero() && l.StreamCreated.Unix() == at.Unix() {
			continue
		}
		to := l
		to.StreamCreated = at.UTC()
		was := "not known"
		if !l.StreamCreated.IsZero() {
			was = l.StreamCreated.UTC().Format(time.RFC3339)
		}
		changes = append(changes, change{
			read: l, to: to, set: leases.AttrStreamCreated, addition: l.StreamCreated.IsZero(),
			effect:  fmt.Sprintf("stream created %s -> %s", was, at.UTC().Format(time.RFC3339)),
			warning: "the checkpoints stay: they must be sequence numbers of this very stream",
		})
	}
	return changes, nil
}
