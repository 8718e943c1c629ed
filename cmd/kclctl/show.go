package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// The states that list prints.
const (
	stateFree     = "free"
	stateHeld     = "held"
	stateHandOver = "hand-over pending"
	stateFinished = "finished"
	stateBad      = "bad"
)

func stateOf(l leases.Lease) string {
	switch {
	case l.Finished():
		return stateFinished
	case l.HandingOver():
		return stateHandOver
	case l.Owner != "":
		return stateHeld
	}
	return stateFree
}

// row is a lease in JSON.
type row struct {
	Key               string     `json:"key"`
	Stream            string     `json:"stream,omitempty"`
	ShardID           string     `json:"shardId"`
	State             string     `json:"state"`
	Owner             string     `json:"owner,omitempty"`
	NextOwner         string     `json:"nextOwner,omitempty"`
	Counter           int64      `json:"counter"`
	OwnerSwitches     int64      `json:"ownerSwitchesSinceCheckpoint"`
	Checkpoint        string     `json:"checkpoint"`
	SubSequenceNumber int64      `json:"subSequenceNumber"`
	Pending           string     `json:"pendingCheckpoint,omitempty"`
	PendingStateBytes int        `json:"pendingStateBytes,omitempty"`
	Parents           []string   `json:"parents,omitempty"`
	Children          []string   `json:"children,omitempty"`
	StartingHashKey   string     `json:"startingHashKey,omitempty"`
	EndingHashKey     string     `json:"endingHashKey,omitempty"`
	ThroughputKBps    *float64   `json:"throughputKBps,omitempty"`
	NativeOwner       string     `json:"nativeOwner,omitempty"`
	PinnedAt          *time.Time `json:"pinnedAt,omitempty"`
	StreamCreated     *time.Time `json:"streamCreated,omitempty"`
	Application       string     `json:"application,omitempty"`
	StreamARN         string     `json:"streamARN,omitempty"`
	Origin            string     `json:"origin,omitempty"`
	Paused            string     `json:"paused,omitempty"`
	Reset             string     `json:"reset,omitempty"`
	Reached           *time.Time `json:"reached,omitempty"`
	Abilities         int64      `json:"abilities,omitempty"`
	HandoverTo        string     `json:"handoverTo,omitempty"`
}

func rowOf(l leases.Lease) row {
	r := row{
		Key: l.Key, Stream: l.Stream, ShardID: l.ShardID, State: stateOf(l), Owner: l.ActualOwner(), Counter: l.Counter,
		OwnerSwitches: l.OwnerSwitchesSinceCheckpoint, Checkpoint: l.Checkpoint.SequenceNumber, SubSequenceNumber: l.Checkpoint.SubSequenceNumber,
		Pending: l.Pending.String(), PendingStateBytes: len(l.PendingState),
		Parents: slices.Sorted(slices.Values(l.Parents)), Children: slices.Sorted(slices.Values(l.Children)),
		StartingHashKey: l.HashKeyRange.Start, EndingHashKey: l.HashKeyRange.End, NativeOwner: l.NativeOwner,
		PinnedAt: timeOrNil(l.PinnedAt), StreamCreated: timeOrNil(l.StreamCreated),
		Application: l.Application, StreamARN: l.StreamARN, Origin: l.Origin.String(),
		Paused: l.Paused, Reset: l.Reset, Reached: timeOrNil(l.Reached), Abilities: l.Abilities, HandoverTo: l.HandoverTo,
	}
	if l.HandingOver() {
		r.NextOwner = l.Owner
	}
	if l.ThroughputKBps >= 0 {
		r.ThroughputKBps = &l.ThroughputKBps
	}
	return r
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// badRow is a row that cannot be read, in JSON.
type badRow struct {
	Key    string `json:"key"`
	State  string `json:"state"`
	Reason string `json:"reason"`
}

func badOf(e *leases.RowError) badRow {
	return badRow{Key: e.Key, State: stateBad, Reason: strings.ReplaceAll(e.Err.Error(), "\n", "; ")}
}

func sortListing(l leases.Listing) {
	slices.SortFunc(l.Leases, func(a, b leases.Lease) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Key, b.Key))
	})
	slices.SortFunc(l.Bad, func(a, b *leases.RowError) int { return cmp.Compare(a.Key, b.Key) })
}

func allWithoutKey(bad []*leases.RowError) bool {
	return !slices.ContainsFunc(bad, func(e *leases.RowError) bool { return e.Key != "" })
}

var listCommand = command{
	name: "list", summary: "print all leases",
	help: `Prints every lease of the table: its key, state, owner, checkpoint and counter.

The states:
  free               nobody reads the shard
  held               a worker's name is in the row. Whether that worker still lives
                     shows in the counter: list again after the failover time (10 s);
                     a counter that stood still means that the lease has expired
  hand-over pending  the owner finishes its work, then the next owner goes on
  finished           the shard was read to its end
  bad                the row cannot be read as a lease; workers leave it alone

It ends with status 1 when nothing is of the -owner or of the -stream.

Examples:
  kclctl leases list -table orders
  kclctl leases list -table orders -owner worker-1
  kclctl leases list -table orders -json | jq -r '.leases[] | select(.state == "free") | .key'`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var src source
		src.register(flags)
		owner := flags.String("owner", "", "only leases of the worker "+ownerUsage)
		stream := flags.String("stream", "", "only leases of this stream (`account:name:epoch`), where the table has several")
		return func(ctx context.Context, t *terminal, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: `kclctl leases show KEY` prints one lease", args[0])
			}
			return list(ctx, t, &src, *owner, *stream)
		}
	},
}

func list(ctx context.Context, t *terminal, src *source, owner, stream string) error {
	_, listing, err := src.read(ctx, t)
	if err != nil {
		return err
	}
	count := map[string]int{}
	rows, bad := []row{}, []badRow{}
	cells := [][]string{{"KEY", "STATE", "OWNER", "CHECKPOINT", "COUNTER"}}
	for _, l := range listing.Leases {
		if (owner != "" && !isOwner(owner, l.ActualOwner())) || (stream != "" && l.Stream != stream) {
			continue
		}
		r := rowOf(l)
		rows = append(rows, r)
		count[r.State]++
		cells = append(cells, []string{l.Key, r.State, ownerText(l), l.Checkpoint.String(), strconv.FormatInt(l.Counter, 10)})
	}
	for _, e := range listing.Bad {
		b := badOf(e)
		bad = append(bad, b)
		count[stateBad]++
		cells = append(cells, []string{cmp.Or(e.Key, "(no key)"), stateBad, b.Reason})
	}
	if src.json {
		err := t.json(struct {
			Table  string   `json:"table"`
			Leases []row    `json:"leases"`
			Bad    []badRow `json:"bad"`
		}{src.name(), rows, bad})
		if err != nil {
			return err
		}
	} else {
		t.table(cells)
		t.line("%s", summary(len(rows), count))
	}
	all, _ := owners(listing.Leases, "")
	switch {
	case len(rows) > 0:
	case stream != "":
		return noStream(stream, listing.Leases)
	case owner != "":
		return nobody(owner, all)
	case len(bad) == 0:
		t.note("note: table %s: %v", src.name(), errEmpty)
	}
	return nil
}

func summary(n int, count map[string]int) string {
	s := plural(n, "lease")
	sep := ": "
	for _, state := range []string{stateHeld, stateHandOver, stateFree, stateFinished} {
		if count[state] > 0 {
			s += fmt.Sprintf("%s%d %s", sep, count[state], state)
			sep = ", "
		}
	}
	if count[stateBad] > 0 {
		s += fmt.Sprintf("; %s cannot be read", plural(count[stateBad], "row"))
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ownerText names the owner, and the next one during a hand-over.
func ownerText(l leases.Lease) string {
	switch {
	case l.HandingOver():
		return l.CheckpointOwner + " -> " + l.Owner
	case l.Owner != "":
		return l.Owner
	}
	return "-"
}

var showCommand = command{
	name: "show", args: "KEY...", summary: "print everything about a lease",
	help: `Prints all attributes of the leases with these keys, as they are now.

Examples:
  kclctl leases show -table orders shardId-000000000002
  kclctl leases show -table orders -json shardId-000000000002`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var src source
		src.register(flags)
		return func(ctx context.Context, t *terminal, keys []string) error {
			if len(keys) == 0 {
				return usagef("a KEY is missing: `kclctl leases list` prints them")
			}
			return show(ctx, t, &src, keys)
		}
	},
}

func show(ctx context.Context, t *terminal, src *source, keys []string) error {
	store, err := src.open(ctx, t)
	if err != nil {
		return err
	}
	rows, bad, failed := []row{}, []badRow{}, false
	for i, key := range keys {
		l, err := store.Get(ctx, key)
		var e *leases.RowError
		switch {
		case errors.As(err, &e):
			bad = append(bad, badOf(e))
			failed = true
			t.note("kclctl: %v", err)
		case errors.Is(err, leases.ErrNotFound):
			failed = true
			t.note("kclctl: there is no lease \"%s\" in table %s", key, src.name())
		case err != nil:
			return src.explain(err)
		default:
			rows = append(rows, rowOf(l))
			if src.json {
				continue
			}
			if i > 0 {
				t.line("")
			}
			t.table(attributes(l))
		}
	}
	if src.json {
		err = t.json(struct {
			Table  string   `json:"table"`
			Leases []row    `json:"leases"`
			Bad    []badRow `json:"bad"`
		}{src.name(), rows, bad})
	}
	if err == nil && failed {
		err = errReported
	}
	return err
}

// attributes lists what a lease says, for people.
func attributes(l leases.Lease) [][]string {
	cells := [][]string{{"key", l.Key}}
	add := func(name, value string) {
		if value != "" {
			cells = append(cells, []string{name, value})
		}
	}
	moment := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	add("stream", l.Stream)
	add("shard", l.ShardID)
	add("state", stateOf(l))
	add("owner", ownerText(l))
	add("taken by worker", l.NativeOwner)
	add("counter", strconv.FormatInt(l.Counter, 10))
	add("owner switches since checkpoint", strconv.FormatInt(l.OwnerSwitchesSinceCheckpoint, 10))
	add("checkpoint", l.Checkpoint.String())
	if !l.Pending.IsZero() {
		add("pending checkpoint", fmt.Sprintf("%s (with %d bytes of state)", l.Pending, len(l.PendingState)))
	}
	add("parents", strings.Join(slices.Sorted(slices.Values(l.Parents)), " "))
	add("children", strings.Join(slices.Sorted(slices.Values(l.Children)), " "))
	if l.HashKeyRange != (kcl.HashKeyRange{}) {
		add("hash keys", l.HashKeyRange.Start+" to "+l.HashKeyRange.End)
	}
	if l.ThroughputKBps >= 0 {
		add("throughput", strconv.FormatFloat(l.ThroughputKBps, 'f', -1, 64)+" KB/s")
	}
	add("start pinned at", moment(l.PinnedAt))
	add("stream created", moment(l.StreamCreated))
	add("application", l.Application)
	add("stream ARN", l.StreamARN)
	add("application began at", l.Origin.String())
	add("paused", l.Paused)
	add("reset", l.Reset)
	add("reached", moment(l.Reached))
	return cells
}
