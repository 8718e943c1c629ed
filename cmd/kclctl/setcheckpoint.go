package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

var setCheckpointCommand = command{
	name: "set-checkpoint", args: "KEY POSITION", summary: "move a checkpoint",
	help: `Sets how far a shard has been read. POSITION is a sequence number that was processed,
or TRIM_HORIZON (all that the stream still keeps), LATEST (only what comes from now on),
AT_TIMESTAMP (the time in the application's configuration) or SHARD_END (the shard is
done). 4959...2/7 is the eighth user record of an aggregated record.

A worker that holds the lease would go on from where it is, so the lease is taken away
from it in the same write; its next owner starts at the new position. A prepared
checkpoint is discarded. Moving back processes records again; moving forward skips
records, and nobody will process them.

Examples:
  kclctl leases set-checkpoint -table orders shardId-000000000002 TRIM_HORIZON
  kclctl leases set-checkpoint -table orders -dry-run shardId-000000000002 49590338271490256608559692538361571095921575989136588898`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var w writer
		w.register(flags)
		return func(ctx context.Context, t *terminal, args []string) error {
			if len(args) != 2 {
				return usagef("give the KEY of a lease and a POSITION")
			}
			position, err := parsePosition(args[1])
			if err != nil {
				return usageError{err}
			}
			store, err := w.src.open(ctx, t)
			if err != nil {
				return err
			}
			rows, err := w.pick(ctx, store, args[:1], nil)
			if err != nil {
				return err
			}
			return w.carryOut(ctx, t, store, []change{setCheckpoint(rows[0], position, time.Now())})
		}
	},
}

func parsePosition(s string) (kcl.ExtendedSequenceNumber, error) {
	number, sub, aggregated := strings.Cut(s, "/")
	n := kcl.ExtendedSequenceNumber{SequenceNumber: strings.ToUpper(number)}
	var err error
	if aggregated {
		n.SubSequenceNumber, err = strconv.ParseInt(sub, 10, 64)
	}
	if err == nil {
		err = n.Validate()
	}
	if err != nil || n.IsSentinel() && aggregated {
		return n, fmt.Errorf("POSITION %q is not a sequence number, such as 49590338...898 or 49590338...898/7, and not TRIM_HORIZON, LATEST, AT_TIMESTAMP or SHARD_END", s)
	}
	return n, nil
}

func setCheckpoint(l leases.Lease, position kcl.ExtendedSequenceNumber, now time.Time) change {
	to := l
	to.Checkpoint, to.Pending, to.PendingState = position, kcl.ExtendedSequenceNumber{}, nil
	to.Owner, to.CheckpointOwner, to.HandoverTo, to.OwnerSwitchesSinceCheckpoint = "", "", "", 0
	to.Counter++
	c := change{
		read: l, set: leases.AttrCheckpoint | leases.AttrPending | leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrHandoverTo | leases.AttrOwnerSwitches | leases.AttrCounter,
		effect: fmt.Sprintf("checkpoint %s -> %s", l.Checkpoint, position),
	}
	if position.SequenceNumber == kcl.SentinelLatest {
		// Workers start at this time, whenever they start. It is this machine's.
		to.PinnedAt = now.UTC().Truncate(time.Millisecond)
		c.set |= leases.AttrPinnedAt
	}
	if owner := l.ActualOwner(); owner != "" {
		c.effect += ", taken away from " + owner
	}
	c.to = to
	c.warning = direction(l.Checkpoint, position)
	return c
}

// direction says what a move does to the records in between.
func direction(from, to kcl.ExtendedSequenceNumber) string {
	switch order := to.Compare(from); {
	case to.IsShardEnd() && from.IsShardEnd():
		return ""
	case to.IsShardEnd():
		return "the rest of the shard will not be processed, and its children go on"
	case from.IsShardEnd():
		return "the shard was finished: it will be processed again while its children may be read already, so the order of records is lost"
	case to.SequenceNumber == kcl.SentinelLatest:
		return "records up to now that were not processed yet will be skipped"
	case order < 0 || to.IsSentinel():
		return "records after the new checkpoint will be processed again"
	case from.IsSentinel():
		return "records before the new checkpoint will be skipped"
	case order > 0:
		return "records between the two checkpoints will be skipped"
	}
	return ""
}
