package main

import (
	"context"
	"flag"
	"slices"

	"github.com/kinesis-go/kcl/leases"
)

var releaseCommand = command{
	name: "release", args: "KEY... | -owner ID", summary: "take leases away from their owner",
	help: `Takes leases away from the worker that owns them, so that another one takes them at
once: after a crash, without waiting for the lease to expire, or to move a shard away
from a worker that is stuck. The owner, if it lives, notices at its next renewal and
stops; what it processed since its last checkpoint is processed again by the next owner.
It may well be the one to take the lease again. A hand-over that is pending is completed:
the next owner gets the lease now.

-owner takes the id of a worker, or what comes before its random suffix: worker-1 is
worker-1:k3v7q2m9xa and every other worker-1. It ends with status 1 when nobody of that
name holds a lease.

That the owner renews a lease, or goes on, between the question and the answer does not
matter; that the lease has another owner by then does.

Examples:
  kclctl leases release -table orders shardId-000000000002
  kclctl leases release -table orders -owner worker-1 -dry-run
  kclctl leases release -table orders -owner worker-1 -yes`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var w writer
		w.register(flags)
		owner := flags.String("owner", "", "all leases of the worker "+ownerUsage+"; finished leases apart")
		return func(ctx context.Context, t *terminal, keys []string) error {
			if (len(keys) > 0) == (*owner != "") {
				return usagef("give the KEYs of leases, or -owner ID for all of a worker")
			}
			store, err := w.src.open(ctx, t)
			if err != nil {
				return err
			}
			rows, err := w.pick(ctx, store, keys, func(leases.Lease) bool { return true })
			if err != nil {
				return err
			}
			if *owner != "" {
				all, named := owners(rows, *owner)
				switch len(named) {
				case 0:
					return nobody(*owner, all)
				case 1:
				default:
					t.note("note: -owner %s is more than one worker: %s", *owner, joined(named))
				}
				rows = slices.DeleteFunc(rows, func(l leases.Lease) bool { return l.Finished() || !isOwner(*owner, l.ActualOwner()) })
			}
			var changes []change
			for _, l := range rows {
				if c, ok := release(l); ok {
					changes = append(changes, c)
				} else {
					t.note("note: %s is free already", l.Key)
				}
			}
			return w.carryOut(ctx, t, store, changes)
		}
	},
}

// release gives a lease up in its owner's name, as the owner itself would.
func release(l leases.Lease) (change, bool) {
	to := l
	to.Counter++
	c := change{read: l, again: func(now leases.Lease) (change, bool) {
		if now.Finished() != l.Finished() || !now.Same(leases.AttrOwner|leases.AttrCheckpointOwner|leases.AttrHandoverTo, l) {
			return change{}, false
		}
		return release(now)
	}, warning: "if the owner lives, it stops at its next renewal; records after the checkpoint are processed again"}
	switch {
	case l.HandingOver():
		to.CheckpointOwner, to.HandoverTo = "", ""
		c.set = leases.AttrCheckpointOwner | leases.AttrHandoverTo | leases.AttrCounter
		c.effect = "hand-over from " + l.CheckpointOwner + " to " + l.Owner + " completed"
	case l.Owner != "":
		// A hand-over that another library has overtaken ends with it.
		to.Owner, to.CheckpointOwner, to.HandoverTo = "", "", ""
		c.set = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrHandoverTo | leases.AttrCounter
		c.effect = "taken away from " + l.Owner
	default:
		return change{}, false
	}
	c.to = to
	return c, true
}
