package main

import (
	"context"
	"flag"
	"strconv"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
)

var listCommand = command{
	name: "list", summary: "print all leases",
	help: `Prints every lease of the table: its key, state, owner, checkpoint and counter.

The states:
  free               nobody reads the shard
  held               the row names a worker. Whether that worker is alive shows in the
                     counter: list again after the failover time (10 s). If the counter
                     has not changed, the lease has expired
  hand-over pending  the owner finishes its work, then the next owner goes on
  finished           the shard was read to its end
  bad                the row cannot be read as a lease; workers leave it alone

The exit status is 1 if -owner or -stream select no lease.

Examples:
  kclctl leases list -table orders
  kclctl leases list -table orders -owner worker-1
  kclctl leases list -table orders -json | jq -r '.leases[] | select(.state == "free") | .key'`,
	setup: func(flags *flag.FlagSet) action {
		var src source
		src.register(flags)
		owner := flags.String("owner", "", "only leases of the worker "+ownerUsage)
		stream := flags.String("stream", "", "only leases of this stream (`account:name:epoch`), in a table with several")
		return func(ctx context.Context, t *terminal.Terminal, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: `kclctl leases show KEY` prints one lease", args[0])
			}
			return list(ctx, t, &src, *owner, *stream)
		}
	},
}

// leaseReport is what list and show print, in JSON.
type leaseReport struct {
	Table  string        `json:"table"`
	Leases []view.Row    `json:"leases"`
	Bad    []view.BadRow `json:"bad"`
}

func newLeaseReport(src *source) leaseReport {
	return leaseReport{Table: src.name(), Leases: []view.Row{}, Bad: []view.BadRow{}}
}

func list(ctx context.Context, t *terminal.Terminal, src *source, owner, stream string) error {
	_, listing, err := src.read(ctx, t)
	if err != nil {
		return err
	}
	report := newLeaseReport(src)
	cells := [][]string{{"KEY", "STATE", "OWNER", "CHECKPOINT", "COUNTER"}}
	for _, l := range listing.Leases {
		if (owner != "" && !isOwner(owner, l.ActualOwner())) || (stream != "" && l.Stream != stream) {
			continue
		}
		report.Leases = append(report.Leases, view.RowOf(l))
		cells = append(cells, []string{
			l.Key, view.State(l), view.Owner(l), l.Checkpoint.String(), strconv.FormatInt(l.Counter, 10),
		})
	}
	for _, e := range listing.Bad {
		b := view.BadOf(e)
		report.Bad = append(report.Bad, b)
		cells = append(cells, []string{b.Name(), b.State, b.Reason})
	}
	if src.json {
		if err := t.JSON(report); err != nil {
			return err
		}
	} else {
		t.Table(cells)
		t.Line("%s", view.Summary(report.Leases, report.Bad))
	}
	switch {
	case len(report.Leases) > 0:
	case stream != "":
		return errNoStream(stream, listing.Leases)
	case owner != "":
		all, _ := owners(listing.Leases, "")
		return errNoOwner(owner, all)
	case len(report.Bad) == 0:
		t.Note("note: table %s: %v", src.name(), errEmpty)
	}
	return nil
}
