package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

var deleteCommand = command{
	name: "delete", args: "KEY... | -all", summary: "delete leases",
	help: `Deletes leases, and with them the checkpoints: the remedy for a stream that was deleted
and created again under its name (-all), and for a row that cannot be read (-force).
While workers run, one of them makes a missing lease again, and the shard is read from
TRIM_HORIZON, or from where the initial position says if no lease is left; a shard whose
descendants have leases is not read again.

A lease that has an owner is deleted only with -force, and only when nobody has renewed it
for 12 s: a running worker makes it again where it stood, so stop the worker first. A row
that cannot be read is deleted only by its key and with -force, and whatever it holds.
Children go before their parents, and a failure keeps all that are related to the row: what
is left must not look as if a parent had been read to its end.

Examples:
  kclctl leases delete -table orders shardId-000000000000
  kclctl leases delete -table orders -all -dry-run
  kclctl leases delete -table orders -force -yes shardId-000000000007`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var w writer
		w.register(flags)
		all := flags.Bool("all", false, "all leases of the table, or of -stream; rows that cannot be read stay")
		stream := flags.String("stream", "", "with -all: only leases of this stream (`account:name:epoch`), where the table has several")
		force := flags.Bool("force", false, "also leases that a worker holds, and rows that cannot be read")
		return func(ctx context.Context, t *terminal, keys []string) error {
			if (len(keys) > 0) == *all {
				return usagef("give the KEYs of leases, or -all")
			}
			if *stream != "" && !*all {
				return usagef("-stream belongs to -all")
			}
			store, err := w.src.open(ctx, t)
			if err != nil {
				return err
			}
			changes, err := w.deletions(ctx, store, keys, *stream, *force)
			if err != nil {
				return err
			}
			changes = childrenFirst(changes)
			if err := unrenewed(ctx, store, changes); err != nil {
				return w.src.explain(err)
			}
			return w.carryOut(ctx, t, store, changes)
		}
	},
}

func (w *writer) deletions(ctx context.Context, store leases.Store, keys []string, stream string, force bool) ([]change, error) {
	var changes []change
	if len(keys) == 0 {
		rows, err := w.pick(ctx, store, nil, func(l leases.Lease) bool { return stream == "" || l.Stream == stream })
		if err != nil {
			return nil, err
		}
		if stream != "" && len(rows) == 0 {
			listing, err := w.src.list(ctx, store)
			if err != nil {
				return nil, err
			}
			return nil, noStream(stream, listing.Leases)
		}
		for _, l := range rows {
			changes = append(changes, deletion(l))
		}
	}
	for _, key := range unique(keys) {
		rows, err := w.pick(ctx, store, []string{key}, nil)
		var bad *leases.RowError
		switch {
		case errors.As(err, &bad) && force:
			changes = append(changes, change{read: leases.Lease{Key: key}, remove: true, unread: true, effect: "deleted, whatever it holds"})
		case errors.As(err, &bad):
			return nil, fmt.Errorf("nothing was changed; -force deletes it: %w", err)
		case err != nil:
			return nil, err
		default:
			changes = append(changes, deletion(rows[0]))
		}
	}
	if len(keys) > 0 {
		if err := w.orphans(ctx, store, changes); err != nil {
			return nil, err
		}
	}
	for _, c := range changes {
		if !c.unread && c.read.ActualOwner() != "" && !c.read.Finished() && !force {
			return nil, fmt.Errorf("worker %s holds %s: stop it, or take the lease away with `kclctl leases release`, or give -force; nothing was changed", c.read.ActualOwner(), c.read.Key)
		}
	}
	return changes, nil
}

// orphans warns of children that stay and have not begun: they wait for their parents.
func (w *writer) orphans(ctx context.Context, store leases.Store, changes []change) error {
	listing, err := store.ListNow(ctx)
	if err != nil {
		return w.src.explain(err)
	}
	sortListing(listing)
	for i, c := range changes {
		for _, l := range listing.Leases {
			stays := !slices.ContainsFunc(changes, func(other change) bool { return other.read.Key == l.Key })
			if stays && !l.Started() && l.Stream == c.read.Stream && slices.Contains(l.Parents, c.read.ShardID) {
				changes[i].warning = l.Key + " has not begun, and waits for it until `kclctl leases restore` makes it again"
				break
			}
		}
	}
	return nil
}

// renewalTime is for how long a lease that has an owner is watched: more than
// FailoverTime, a third of which is between two renewals.
var renewalTime = 12 * time.Second

// unrenewed makes sure that no running worker holds the leases.
func unrenewed(ctx context.Context, store leases.Store, changes []change) error {
	watched := false
	for _, c := range changes {
		watched = watched || (c.read.ActualOwner() != "" && !c.read.Finished())
	}
	if !watched {
		return nil
	}
	if err := retry.Sleep(ctx, renewalTime); err != nil {
		return err
	}
	for _, c := range changes {
		if c.read.ActualOwner() == "" || c.read.Finished() {
			continue
		}
		now, err := store.Get(ctx, c.read.Key)
		switch {
		case errors.Is(err, leases.ErrNotFound):
		case err != nil:
			return err
		case now.Counter != c.read.Counter:
			return fmt.Errorf("nothing was changed: lease %s of %s: %w", c.read.Key, now.ActualOwner(), errRenewed)
		}
	}
	return nil
}

// childrenFirst brings deletions into the order in which they are safe.
func childrenFirst(changes []change) []change {
	rows := make([]leases.Lease, len(changes))
	for i, c := range changes {
		rows[i] = c.read
	}
	order, of := families(rows)
	sorted := make([]change, 0, len(changes))
	for _, i := range slices.Backward(order) {
		c := changes[i]
		c.family = of[i]
		sorted = append(sorted, c)
	}
	return sorted
}

func deletion(l leases.Lease) change {
	c := change{read: l, remove: true, effect: "deleted, with checkpoint " + l.Checkpoint.String()}
	if !l.Finished() {
		c.warning = "the checkpoint is gone for good: what was processed may be processed again"
	}
	return c
}
