package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/leases"
)

var setCheckpointCommand = command{
	name: "set-checkpoint", args: "KEY POSITION", summary: "move a checkpoint",
	help: `Sets how far a shard has been read. POSITION is a sequence number that was processed, or

  TRIM_HORIZON                       all records that the stream still keeps are read
  LATEST                             only records from now on are read
  AT_TIMESTAMP@2026-03-04T05:06:07Z  records of that time or later are read
  SHARD_END                          the shard is finished
  4959...2/7                         the eighth user record of an aggregated record was processed

The time of LATEST is that of the table's service, or of Kinesis for a table in Redis. It is
written into the lease, so it does not matter when a worker starts.

A sequence number that the shard cannot have is refused. Kinesis is asked for the shard's
range when the lease or -stream names the stream. Otherwise the number must have as many
digits as the present checkpoint, or as those of Kinesis. -force writes any number.

A worker that holds the lease would go on from its own position. So the same write takes the
lease away from it, and the next owner starts at the new position. The worker may renew and
go on meanwhile, as long as the move still means the same. A prepared checkpoint is discarded.
A move back processes records again. A move forward skips records: nobody processes them.

Examples:
  kclctl leases set-checkpoint -table orders shardId-000000000002 TRIM_HORIZON
  kclctl leases set-checkpoint -table orders -dry-run shardId-000000000002 ` +
		`49590338271490256608559692538361571095921575989136588898`,
	setup: func(flags *flag.FlagSet) action {
		var w writer
		w.register(flags)
		w.src.registerKinesis(flags)
		var number numberCheck
		number.register(flags)
		return func(ctx context.Context, t *terminal.Terminal, args []string) error {
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
			rows, err := w.selectRows(ctx, store, args[:1], nil)
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
			changes, err := w.restoreParents(ctx, store, rows[0], position)
			if err != nil {
				return err
			}
			return w.carryOut(ctx, t, store, append(changes, setCheckpoint(rows[0], position, at)))
		}
	},
}

// parseStart reads a position. The time at belongs to AT_TIMESTAMP.
func parseStart(s string) (position kcl.ExtendedSequenceNumber, at time.Time, err error) {
	kind, text, timed := strings.Cut(s, "@")
	if !strings.EqualFold(kind, kcl.SentinelAtTimestamp) {
		position, err = parsePosition(s)
		return position, at, err
	}
	at, err = time.Parse(time.RFC3339, strings.ToUpper(text))
	if !timed || err != nil || at.Unix() < 0 {
		return position, at, fmt.Errorf(
			"POSITION %q needs a time in RFC 3339 from 1970 on, such as AT_TIMESTAMP@2026-03-04T05:06:07Z", s)
	}
	return kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelAtTimestamp}, at.UTC(), nil
}

// parsePosition reads a sequence number with or without a sub-sequence number, or a sentinel.
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
		return n, fmt.Errorf("POSITION %q is neither a sequence number, such as 49590338...898 or 49590338...898/7, "+
			"nor TRIM_HORIZON, LATEST, AT_TIMESTAMP or SHARD_END", s)
	}
	return n, nil
}

// setCheckpoint moves a lease. The time at belongs to LATEST or AT_TIMESTAMP.
func setCheckpoint(l leases.Lease, position kcl.ExtendedSequenceNumber, at time.Time) change {
	to, moved := l.Moved(position, at)
	to.Pending, to.PendingState = kcl.ExtendedSequenceNumber{}, nil
	to.Owner, to.CheckpointOwner, to.OwnerSwitchesSinceCheckpoint = "", "", 0
	to.Counter++
	c := change{
		read: l, to: to,
		set: moved | leases.AttrPending | leases.AttrOwner | leases.AttrCheckpointOwner |
			leases.AttrOwnerSwitches | leases.AttrCounter,
		effect:  fmt.Sprintf("checkpoint %s -> %s", l.Checkpoint, position),
		warning: consequence(l.Checkpoint, position),
	}
	if !to.PinnedAt.IsZero() {
		c.effect += "@" + to.PinnedAt.Format(time.RFC3339Nano)
	}
	if owner := l.ActualOwner(); owner != "" {
		c.effect += ", taken away from " + owner
	}
	c.redo = func(now leases.Lease) (change, bool) {
		same := now.Same(leases.AttrOwner|leases.AttrCheckpointOwner, l) &&
			consequence(now.Checkpoint, position) == c.warning
		return setCheckpoint(now, position, at), same
	}
	return c
}

// consequence says what a move does to the records between both positions.
func consequence(from, to kcl.ExtendedSequenceNumber) string {
	switch order := to.Compare(from); {
	case to.IsShardEnd() && from.IsShardEnd():
		return ""
	case to.IsShardEnd():
		return "the rest of the shard will not be processed, and its children start"
	case from.IsShardEnd():
		return "the finished shard will be processed again, and its children may be read already: " +
			"the order of records is lost"
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
