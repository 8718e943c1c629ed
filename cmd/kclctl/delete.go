package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"time"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/families"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

var deleteCommand = command{
	name: "delete", args: "KEY... | -all", summary: "delete leases",
	help: `Deletes leases, and with them the checkpoints. Use it with -all for a stream that was
deleted and created again under its name, and with -force for a row that cannot be read.

Running workers make a missing lease again. The shard is then read from TRIM_HORIZON, or
from the initial position if the table has no lease left. A shard whose descendants have
leases is not read again.

A lease with an owner is deleted only with -force, and only if nobody renews it for 12 s.
A running worker would make it again at its position, so stop the worker first. A row that
cannot be read is deleted only by its key and with -force. Nothing of its content counts.

Children are deleted before their parents, and a failure keeps all relatives of the row:
workers would take a parent without a row for read to its end.

Examples:
  kclctl leases delete -table orders shardId-000000000000
  kclctl leases delete -table orders -all -dry-run
  kclctl leases delete -table orders -force -yes shardId-000000000007`,
	setup: func(flags *flag.FlagSet) action {
		var w writer
		w.register(flags)
		all := flags.Bool("all", false, "all leases of the table, or of -stream; rows that cannot be read stay")
		stream := flags.String("stream", "",
			"with -all: only leases of this stream (`account:name:epoch`), in a table with several")
		force := flags.Bool("force", false, "also leases with an owner, and rows that cannot be read")
		return func(ctx context.Context, t *terminal.Terminal, keys []string) error {
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
			var changes []change
			if *all {
				changes, err = w.deleteAll(ctx, store, *stream)
			} else {
				changes, err = w.deleteKeys(ctx, store, keys, *force)
			}
			if err != nil {
				return err
			}
			if err := refuseOwned(changes, *force); err != nil {
				return err
			}
			changes = childrenFirst(changes)
			if err := refuseRenewed(ctx, store, changes); err != nil {
				return w.src.explain(err)
			}
			return w.carryOut(ctx, t, store, changes)
		}
	},
}

// deleteAll deletes all leases, or those of a stream.
func (w *writer) deleteAll(ctx context.Context, store leases.Store, stream string) ([]change, error) {
	listing, err := w.src.list(ctx, store)
	if err != nil {
		return nil, err
	}
	var changes []change
	for _, l := range listing.Leases {
		if stream == "" || l.Stream == stream {
			changes = append(changes, deletion(l))
		}
	}
	if stream != "" && len(changes) == 0 {
		return nil, errNoStream(stream, listing.Leases)
	}
	return changes, nil
}

// deleteKeys deletes the leases with these keys. With force it also deletes rows that cannot be
// read.
func (w *writer) deleteKeys(ctx context.Context, store leases.Store, keys []string, force bool) ([]change, error) {
	var changes []change
	for _, key := range unique(keys) {
		rows, err := w.selectRows(ctx, store, []string{key}, nil)
		var bad *leases.RowError
		switch {
		case errors.As(err, &bad) && force:
			changes = append(changes, change{
				read: leases.Lease{Key: key}, remove: true, unread: true, effect: "deleted, although it cannot be read",
			})
		case errors.As(err, &bad):
			return nil, fmt.Errorf("nothing was changed; -force deletes it: %w", err)
		case err != nil:
			return nil, err
		default:
			changes = append(changes, deletion(rows[0]))
		}
	}
	rows, err := w.listNow(ctx, store)
	if err != nil {
		return nil, err
	}
	warnOfOrphans(changes, rows)
	return changes, nil
}

func deletion(l leases.Lease) change {
	c := change{read: l, remove: true, effect: "deleted, with checkpoint " + l.Checkpoint.String()}
	if !l.Finished() {
		c.warning = "the checkpoint is lost for good: records before it may be processed again"
	}
	return c
}

// warnOfOrphans warns of children that stay and have not been started: they wait for their parents.
func warnOfOrphans(changes []change, rows []leases.Lease) {
	for i, c := range changes {
		for _, l := range rows {
			stays := !slices.ContainsFunc(changes, func(other change) bool { return other.read.Key == l.Key })
			if stays && !l.Started() && l.Stream == c.read.Stream && slices.Contains(l.Parents, c.read.ShardID) {
				changes[i].warning = l.Key + " has not been started, " +
					"and waits for this lease until `kclctl leases restore` makes it again"
				break
			}
		}
	}
}

// isOwned tells whether a worker may hold the lease of a change.
func (c change) isOwned() bool { return c.read.ActualOwner() != "" && !c.read.Finished() }

// refuseOwned refuses to delete leases that have an owner, unless it is forced.
func refuseOwned(changes []change, force bool) error {
	for _, c := range changes {
		if !c.unread && c.isOwned() && !force {
			return fmt.Errorf("worker %s holds %s: stop it, or take the lease away with `kclctl leases release`, "+
				"or give -force; nothing was changed", c.read.ActualOwner(), c.read.Key)
		}
	}
	return nil
}

// renewalTime is how long leases with an owner are watched. It is more than the default
// FailoverTime, and workers renew three times in a FailoverTime.
var renewalTime = 12 * time.Second

var errRenewed = errors.New("a running worker renews the lease and would make it again: stop the worker first")

// refuseRenewed watches the leases, and returns an error if a worker renews one.
func refuseRenewed(ctx context.Context, store leases.Store, changes []change) error {
	if !slices.ContainsFunc(changes, change.isOwned) {
		return nil
	}
	if err := retry.Sleep(ctx, renewalTime); err != nil {
		return err
	}
	for _, c := range changes {
		if !c.isOwned() {
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

// childrenFirst sorts deletions: children before their parents.
func childrenFirst(changes []change) []change {
	rows := make([]leases.Lease, len(changes))
	for i, c := range changes {
		rows[i] = c.read
	}
	order, family := families.Order(rows)
	sorted := make([]change, 0, len(changes))
	for _, i := range slices.Backward(order) {
		c := changes[i]
		c.family = family[i]
		sorted = append(sorted, c)
	}
	return sorted
}
