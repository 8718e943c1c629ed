package main

import (
	"context"
	"flag"
	"slices"

	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/leases"
)

var releaseCommand = command{
	name: "release", args: "KEY... | -owner ID", summary: "take leases away from their owner",
	help: `Takes leases away from the worker that owns them, so that another worker takes them at
once. Use it after a crash, to avoid the wait until the lease expires, or to move a shard
away from a worker that is stuck.

An owner that is alive notices it at its next renewal, and stops. The next owner processes
again what was processed since the last checkpoint. The old owner may well take the lease
again. A pending hand-over is completed: the next owner gets the lease now.

-owner takes the id of a worker, or the part before its random suffix: worker-1 means
worker-1:k3v7q2m9xa and every other worker-1. The exit status is 1 if no such worker holds
a lease.

The owner may renew the lease and go on between the question and the answer. If the lease
gets another owner meanwhile, it is not released.

Examples:
  kclctl leases release -table orders shardId-000000000002
  kclctl leases release -table orders -owner worker-1 -dry-run
  kclctl leases release -table orders -owner worker-1 -yes`,
	setup: func(flags *flag.FlagSet) action {
		var w writer
		w.register(flags)
		owner := flags.String("owner", "", "all unfinished leases of the worker "+ownerUsage)
		return func(ctx context.Context, t *terminal.Terminal, keys []string) error {
			if (len(keys) > 0) == (*owner != "") {
				return usagef("give the KEYs of leases, or -owner ID for all of a worker")
			}
			store, err := w.src.open(ctx, t)
			if err != nil {
				return err
			}
			rows, err := w.selectRows(ctx, store, keys, func(leases.Lease) bool { return true })
			if err != nil {
				return err
			}
			if *owner != "" {
				if rows, err = selectOwned(t, rows, *owner); err != nil {
					return err
				}
			}
			var changes []change
			for _, l := range rows {
				if c, ok := release(l); ok {
					changes = append(changes, c)
				} else {
					t.Note("note: %s is free already", l.Key)
				}
			}
			return w.carryOut(ctx, t, store, changes)
		}
	},
}

// selectOwned returns the unfinished leases of the worker or workers that owner names.
func selectOwned(t *terminal.Terminal, rows []leases.Lease, owner string) ([]leases.Lease, error) {
	all, named := owners(rows, owner)
	if len(named) == 0 {
		return nil, errNoOwner(owner, all)
	}
	if len(named) > 1 {
		t.Note("note: -owner %s is more than one worker: %s", owner, view.Join(named))
	}
	return slices.DeleteFunc(rows, func(l leases.Lease) bool {
		return l.Finished() || !isOwner(owner, l.ActualOwner())
	}), nil
}

// release frees a lease as its owner would. It returns false for a free lease.
func release(l leases.Lease) (change, bool) {
	to := l
	to.Counter++
	c := change{
		read:    l,
		warning: "an owner that is alive stops at its next renewal; records after the checkpoint are processed again",
		redo: func(now leases.Lease) (change, bool) {
			const owners = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrHandoverTo
			if now.Finished() != l.Finished() || !now.Same(owners, l) {
				return change{}, false
			}
			return release(now)
		},
	}
	switch {
	case l.HandingOver():
		to.CheckpointOwner, to.HandoverTo = "", ""
		c.set = leases.AttrCheckpointOwner | leases.AttrHandoverTo | leases.AttrCounter
		c.effect = "hand-over from " + l.CheckpointOwner + " to " + l.Owner + " completed"
	case l.Owner != "":
		// Another library may have taken the lease during a hand-over: the rest of that ends here.
		to.Owner, to.CheckpointOwner, to.HandoverTo = "", "", ""
		c.set = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrHandoverTo | leases.AttrCounter
		c.effect = "taken away from " + l.Owner
	default:
		return change{}, false
	}
	c.to = to
	return c, true
}
