package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/terminal"
	"github.com/kinesis-go/kcl/leases"
)

// shardEnd is the checkpoint of a finished lease.
var shardEnd = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}

var restoreCommand = command{
	name: "restore", args: "KEY", summary: "make the lost row of a lease again",
	help: `Makes the row of a shard that has none. The row was deleted by hand, by a time to live or
by a partial restore of the table, or the shard was missed when the first rows were made.
Workers do not guess how far such a shard was read. Its children wait, and Healthy names
this command. Say how far it was read:

  -finished     to its end; its children may start
  -at POSITION  up to a sequence number, TRIM_HORIZON for all that the stream still keeps,
                or LATEST@TIME or AT_TIMESTAMP@TIME, as in goOrigin

If the position is too early, records are processed again. A sequence number that the shard
cannot have is refused, as by set-checkpoint. The other rows of the stream give the row its
application and stream, the place where the application began, and a pause of the stream or
application. A row that exists is left alone: use set-checkpoint.

Examples:
  kclctl leases restore -table orders -finished shardId-000000000000
  kclctl leases restore -table orders -at TRIM_HORIZON shardId-000000000000
  kclctl leases restore -table orders -at LATEST@2026-01-31T08:00:00Z -dry-run shardId-000000000000`,
	setup: func(flags *flag.FlagSet) action {
		var w writer
		w.register(flags)
		w.src.registerKinesis(flags)
		var number numberCheck
		number.register(flags)
		finished := flags.Bool("finished", false, "the shard was read to its end")
		at := flags.String("at", "", "`position` up to which the shard was read")
		return func(ctx context.Context, t *terminal.Terminal, keys []string) error {
			if len(keys) != 1 || *finished == (*at != "") {
				return usagef("give the KEY of one lease, and either -finished or -at POSITION")
			}
			start := leases.Lease{Checkpoint: shardEnd}
			if !*finished {
				var err error
				if start, err = parseRestart(*at); err != nil {
					return usageError{err}
				}
			}
			return w.restore(ctx, t, keys[0], start, &number)
		}
	},
}

func (w *writer) restore(
	ctx context.Context, t *terminal.Terminal, key string, start leases.Lease, number *numberCheck,
) error {
	store, err := w.src.open(ctx, t)
	if err != nil {
		return err
	}
	switch _, err := store.Get(ctx, key); {
	case err == nil:
		return fmt.Errorf("lease %q exists: move it with `kclctl leases set-checkpoint`; nothing was changed", key)
	case !errors.Is(err, leases.ErrNotFound):
		return w.src.explain(err)
	}
	rows, err := w.listNow(ctx, store)
	if err != nil {
		return err
	}
	c := restoration(key, start, rows)
	lost := c.to
	lost.Checkpoint = kcl.ExtendedSequenceNumber{} // the lost row has none to compare with
	if err := number.check(ctx, t, &w.src, lost, start.Checkpoint); err != nil {
		return err
	}
	return w.carryOut(ctx, t, store, []change{c})
}

// restoreParents makes the missing rows of a shard's parents when the shard is moved back to
// TRIM_HORIZON. The rows were cleaned up after the shard had been started. Without them workers
// could not tell that the parents were read.
func (w *writer) restoreParents(
	ctx context.Context, store leases.Store, l leases.Lease, to kcl.ExtendedSequenceNumber,
) ([]change, error) {
	if !l.Started() || to.SequenceNumber != kcl.SentinelTrimHorizon || len(l.Parents) == 0 {
		return nil, nil
	}
	rows, err := w.listNow(ctx, store)
	if err != nil {
		return nil, err
	}
	var changes []change
	for _, id := range l.Parents {
		key := streamKey(l, id)
		if slices.ContainsFunc(rows, func(row leases.Lease) bool { return row.Key == key }) {
			continue
		}
		c := restoration(key, leases.Lease{Checkpoint: shardEnd}, rows)
		c.effect, c.warning = "made, as finished: its row was removed when "+l.Key+" had been started", ""
		changes = append(changes, c)
	}
	return changes, nil
}

// parseRestart reads a position at which a lost row can start. It returns Checkpoint and PinnedAt.
func parseRestart(s string) (leases.Lease, error) {
	if kind, _, timed := strings.Cut(s, "@"); timed {
		var origin leases.Origin
		err := origin.UnmarshalText([]byte(strings.ToUpper(s)))
		if err != nil || origin.At.IsZero() {
			return leases.Lease{}, fmt.Errorf("-at %q: want a time such as %s@2026-01-31T08:00:00Z", s, strings.ToUpper(kind))
		}
		return leases.Lease{
			Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: origin.Kind},
			Extension:  leases.Extension{PinnedAt: origin.At},
		}, nil
	}
	position, err := parsePosition(s)
	switch {
	case err != nil:
		return leases.Lease{}, err
	case position.SequenceNumber == kcl.SentinelLatest || position.SequenceNumber == kcl.SentinelAtTimestamp:
		return leases.Lease{}, fmt.Errorf("-at %s has no time: give one, such as %s@2026-01-31T08:00:00Z", position, position)
	case position.IsShardEnd():
		return leases.Lease{}, errors.New("-at SHARD_END: give -finished")
	}
	return leases.Lease{Checkpoint: position}, nil
}

// restoration makes the row of key at the checkpoint of start. The other rows of its stream give it
// its application and stream.
func restoration(key string, start leases.Lease, rows []leases.Lease) change {
	l := start
	l.Key, l.ShardID, l.ThroughputKBps = key, key, -1
	if i := strings.LastIndex(key, ":"); i >= 0 {
		l.Stream, l.ShardID = key[:i], key[i+1:]
	}
	known := false
	for _, row := range rows {
		if row.Stream != l.Stream {
			continue
		}
		known = true
		if l.StreamCreated.IsZero() {
			l.StreamCreated = row.StreamCreated
		}
		if l.Application == "" {
			l.Application, l.StreamARN = row.Application, row.StreamARN
		}
		if l.Origin.IsZero() || row.Origin.Before(l.Origin) {
			l.Origin = row.Origin
		}
		if scope, _, _ := strings.Cut(row.Paused, " "); l.Paused == "" && (scope == "stream" || scope == "application") {
			l.Paused = row.Paused
		}
		if l.Finished() && slices.Contains(row.Parents, l.ShardID) {
			l.Children = append(l.Children, row.ShardID)
		}
	}
	c := change{read: leases.Lease{Key: key}, to: l, create: true, effect: "made, at " + l.Checkpoint.String()}
	if !l.PinnedAt.IsZero() {
		c.effect += " of " + l.PinnedAt.UTC().Format("2006-01-02T15:04:05.999Z")
	}
	switch {
	case !known:
		c.warning = "the table has no other row of the stream: the lease will name neither application nor stream"
	case l.Finished():
		c.warning = "records of the shard that were not read are skipped, and its children start"
	}
	return c
}
