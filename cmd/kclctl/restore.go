package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

var restoreCommand = command{
	name: "restore", args: "KEY", summary: "make a lease again whose row was lost",
	help: `Makes the row of a shard that has none: it was deleted by hand, by a time to live or by a
partial restore of the table, or the shard was missed when the first rows were made. Workers
do not guess how far such a shard was read. Its children wait, and Healthy names this
command. Say it:

  -finished     it was read to its end; its children may start
  -at POSITION  it was read up to there: a sequence number, TRIM_HORIZON for all that the
                stream still keeps, or LATEST@TIME or AT_TIMESTAMP@TIME, as in goOrigin

Too early a position costs repetitions only; a sequence number that the shard cannot have
is refused, as by set-checkpoint. Whose the row is (application, stream), where the
application began, and a pause of the stream or application, are taken over from the other
rows of the stream. A row that is there is left alone: use set-checkpoint.

Examples:
  kclctl leases restore -table orders -finished shardId-000000000000
  kclctl leases restore -table orders -at TRIM_HORIZON shardId-000000000000
  kclctl leases restore -table orders -at LATEST@2026-01-31T08:00:00Z -dry-run shardId-000000000000`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var w writer
		w.register(flags)
		w.src.registerKinesis(flags)
		var number numberCheck
		number.register(flags)
		finished := flags.Bool("finished", false, "the shard was read to its end")
		at := flags.String("at", "", "`position` up to which the shard was read")
		return func(ctx context.Context, t *terminal, keys []string) error {
			if len(keys) != 1 || *finished == (*at != "") {
				return usagef("give the KEY of one lease, and either -finished or -at POSITION")
			}
			start := leases.Lease{Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}}
			if !*finished {
				var err error
				if start, err = parseLost(*at); err != nil {
					return usageError{err}
				}
			}
			store, err := w.src.open(ctx, t)
			if err != nil {
				return err
			}
			switch _, err := store.Get(ctx, keys[0]); {
			case err == nil:
				return fmt.Errorf("lease %q is there: move it with `kclctl leases set-checkpoint`; nothing was changed", keys[0])
			case !errors.Is(err, leases.ErrNotFound):
				return w.src.explain(err)
			}
			listing, err := store.ListNow(ctx)
			if err != nil {
				return w.src.explain(err)
			}
			c := restoration(keys[0], start, listing.Leases)
			lost := c.to
			lost.Checkpoint = kcl.ExtendedSequenceNumber{} // nothing to compare with
			if err := number.check(ctx, t, &w.src, lost, start.Checkpoint); err != nil {
				return err
			}
			return w.carryOut(ctx, t, store, []change{c})
		}
	},
}

// finishedParents makes the rows of a shard's parents again that were cleaned up
// after the shard had begun, when it is to begin once more at TRIM_HORIZON: without
// them, workers could not tell that they were read.
func (w *writer) finishedParents(ctx context.Context, store leases.Store, l leases.Lease, to kcl.ExtendedSequenceNumber) ([]change, error) {
	if !l.Started() || to.SequenceNumber != kcl.SentinelTrimHorizon || len(l.Parents) == 0 {
		return nil, nil
	}
	listing, err := store.ListNow(ctx)
	if err != nil {
		return nil, w.src.explain(err)
	}
	has := map[string]bool{}
	for _, row := range listing.Leases {
		has[row.Key] = true
	}
	var changes []change
	for _, id := range l.Parents {
		key := id
		if l.Stream != "" {
			key = l.Stream + ":" + id
		}
		if !has[key] {
			end := leases.Lease{Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}}
			c := restoration(key, end, listing.Leases)
			c.effect, c.warning = "made, as finished: its row was removed when "+l.Key+" had begun", ""
			changes = append(changes, c)
		}
	}
	return changes, nil
}

// parseLost reads a position at which a lost row can begin: Checkpoint and PinnedAt.
func parseLost(s string) (leases.Lease, error) {
	if kind, _, timed := strings.Cut(s, "@"); timed {
		origin, err := leases.ParseOrigin(strings.ToUpper(s))
		if err != nil || origin.At.IsZero() {
			return leases.Lease{}, fmt.Errorf("-at %q: want a time such as %s@2026-01-31T08:00:00Z", s, strings.ToUpper(kind))
		}
		return leases.Lease{Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: origin.Kind}, PinnedAt: origin.At}, nil
	}
	position, err := parsePosition(s)
	switch {
	case err != nil:
		return leases.Lease{}, err
	case position.SequenceNumber == kcl.SentinelLatest || position.SequenceNumber == kcl.SentinelAtTimestamp:
		return leases.Lease{}, fmt.Errorf("-at %s says no time: give it, such as %s@2026-01-31T08:00:00Z", position, position)
	case position.IsShardEnd():
		return leases.Lease{}, errors.New("-at SHARD_END: give -finished")
	}
	return leases.Lease{Checkpoint: position}, nil
}

// restoration is the row of key, at the checkpoint of start, as the other rows of its
// stream tell whose it is.
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
		c.warning = "the table has no other row of the stream: the lease will not say whose it is"
	case l.Finished():
		c.warning = "what was not read of the shard is not read any more, and its children go on"
	}
	return c
}
