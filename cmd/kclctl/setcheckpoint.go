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
AT_TIMESTAMP@2026-03-04T05:06:07Z (what came at that time or later) or SHARD_END (the shard
is done). 4959...2/7 is the eighth user record of an aggregated record.

The time of LATEST is that of the table's service, or of Kinesis for a table in Redis, and
stands in the lease: it does not matter when a worker starts.

A sequence number that the shard cannot have is refused. Kinesis is asked for the shard's
range when the lease says of which stream it is, or -stream does; else the number must
have as many digits as those of Kinesis, or as the present checkpoint. -force writes any.

A worker that holds the lease would go on from where it is, so the lease is taken away
from it in the same write; its next owner starts at the new position. That the worker
renews, or goes on meanwhile, does not matter unless the move then means something else. A prepared
checkpoint is discarded. Moving back processes records again; moving forward skips
records, and nobody will process them.

Examples:
  kclctl leases set-checkpoint -table orders shardId-000000000002 TRIM_HORIZON
  kclctl leases set-checkpoint -table orders -dry-run shardId-000000000002 49590338271490256608559692538361571095921575989136588898`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var w writer
		w.register(flags)
		w.src.registerKinesis(flags)
		var number numberCheck
		number.register(flags)
		return func(ctx context.Context, t *terminal, args []string) error {
			if len(args) != 2 {
				return usagef("give the KEY of a lease and a POSITION")
			}
			position, at, err := parseStart(args[1])
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
			if err := number.check(ctx, t, &w.src, rows[0], position); err != nil {
				return err
			}
			if position.SequenceNumber == kcl.SentinelLatest {
				if at, err = w.src.serviceNow(ctx); err != nil {
					return err
				}
			}
			changes, err := w.finishedParents(ctx, store, rows[0], position)
			if err != nil {
				return err
			}
			return w.carryOut(ctx, t, store, append(changes, setCheckpoint(rows[0], position, at)))
		}
	},
}

// parseStart reads a position; at is the time that belongs to AT_TIMESTAMP.
func parseStart(s string) (position kcl.ExtendedSequenceNumber, at time.Time, err error) {
	kind, text, timed := strings.Cut(s, "@")
	if !strings.EqualFold(kind, kcl.SentinelAtTimestamp) {
		position, err = parsePosition(s)
		return position, at, err
	}
	at, err = time.Parse(time.RFC3339, strings.ToUpper(text))
	if !timed || err != nil || at.Unix() < 0 {
		return position, at, fmt.Errorf("POSITION %q needs a time in RFC 3339 from 1970 on, such as AT_TIMESTAMP@2026-03-04T05:06:07Z", s)
	}
	return kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelAtTimestamp}, at.UTC(), nil
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

// setCheckpoint moves a lease. at is the time that belongs to LATEST or AT_TIMESTAMP.
func setCheckpoint(l leases.Lease, position kcl.ExtendedSequenceNumber, at time.Time) change {
	to, moved := l.Moved(position, at)
	to.Pending, to.PendingState = kcl.ExtendedSequenceNumber{}, nil
	to.Owner, to.CheckpointOwner, to.OwnerSwitchesSinceCheckpoint = "", "", 0
	to.Counter++
	c := change{
		read: l, set: moved | leases.AttrPending | leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrOwnerSwitches | leases.AttrCounter,
		effect: fmt.Sprintf("checkpoint %s -> %s", l.Checkpoint, position),
	}
	if !to.PinnedAt.IsZero() {
		c.effect += "@" + to.PinnedAt.Format(time.RFC3339Nano)
	}
	if owner := l.ActualOwner(); owner != "" {
		c.effect += ", taken away from " + owner
	}
	c.to = to
	c.warning = direction(l.Checkpoint, position)
	c.again = func(now leases.Lease) (change, bool) {
		same := now.Same(leases.AttrOwner|leases.AttrCheckpointOwner, l) && direction(now.Checkpoint, position) == c.warning
		return setCheckpoint(now, position, at), same
	}
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
