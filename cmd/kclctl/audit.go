package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

var auditCommand = command{
	name: "audit", summary: "look for holes, overlaps and damaged rows",
	help: `Checks the table as a whole, and writes nothing:

  bad-row         a row cannot be read
  hole            no unfinished lease covers a part of the hash keys: records there are
                  read by nobody, unless a reshard is being noticed right now
  overlap         two unfinished leases, none of them waiting for its parents, cover the
                  same hash keys
  missing-child   a finished lease names a child that has no lease
  order           a child has been read although its parent is not finished
  stream-mix      leases of one stream and of several, or of different creation times
  hand-over       a lease is being handed over from a worker to itself
  empty           there is not a single row

Kinesis is asked when the leases say of which stream they are, or -stream does. When it was
not asked, or did not answer, a note says so (not-asked). With its answer audit also finds:

  stream-gone     there is no such stream
  re-created      the leases are of an earlier stream of the same name
  other-stream    Kinesis lists none of the shards
  not-listed      a lease is unfinished, and its shard was trimmed
  not-ended       a lease is finished, and its shard is open
  out-of-range    a checkpoint is not of the shard
  missing-lease   a shard has no lease, and nothing to wait for
  missing-parent  a lease that has not been read waits for a shard without a lease

These are worth knowing, and normal in many tables; they do not count as findings:

  missing-parent  a lease that has not been read names a parent that has no lease, and
                  Kinesis was not asked: it was trimmed, or deleted by hand before it was read
  no-hash-keys    it is not known what a lease covers, so holes cannot be seen
  no-stream       leases do not say when their stream was created (other libraries do
                  not write it), so a stream that was created again is not noticed

It ends with status 1 when there are findings.

Examples:
  kclctl leases audit -table orders
  kclctl leases audit -table orders -stream orders
  kclctl leases audit -table orders -json | jq -r '.findings[].kind'`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var src source
		src.register(flags)
		src.registerKinesis(flags)
		stream := flags.String("stream", "", "`name` or ARN of the stream, if the leases do not say it")
		return func(ctx context.Context, t *terminal, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: audit works on the whole table", args[0])
			}
			_, listing, err := src.read(ctx, t)
			if err != nil {
				return err
			}
			told, err := src.askAll(ctx, listing.Leases, *stream)
			if err != nil {
				return err
			}
			return printAudit(t, &src, listing, told)
		}
	},
}

func printAudit(t *terminal, src *source, listing leases.Listing, told asked) error {
	findings, notes := audit(listing, told)
	rows := len(listing.Leases) + len(listing.Bad)
	if rows == 0 {
		findings = append(findings, finding{Kind: "empty", Keys: []string{}, Text: errEmpty.Error()})
	}
	if src.json {
		err := t.json(struct {
			Table    string    `json:"table"`
			Leases   int       `json:"leases"`
			Asked    []string  `json:"asked"` // the streams that Kinesis told about
			Findings []finding `json:"findings"`
			Notes    []finding `json:"notes"`
		}{src.name(), len(listing.Leases), append([]string{}, told.names...), append([]finding{}, findings...), append([]finding{}, notes...)})
		if err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			t.line("%s: %s", f.Kind, f.Text)
		}
		for _, f := range notes {
			t.line("note: %s: %s", f.Kind, f.Text)
		}
		with := ""
		switch {
		case len(told.names) == 0:
			with = ", without Kinesis"
		case len(told.silent) == 0:
			with = " with Kinesis"
		}
		t.line("%s audited%s: %s", plural(rows, "row"), with, plural(len(findings), "finding"))
	}
	if len(findings) > 0 {
		return errReported
	}
	return nil
}

// finding is one thing that audit found.
type finding struct {
	Kind string `json:"kind"`
	// Stream is empty where the table has one stream only.
	Stream string   `json:"stream,omitempty"`
	Keys   []string `json:"keys"`
	Text   string   `json:"text"`
}

// audit judges a table. It is pure; the order of its rows does not matter.
func audit(listing leases.Listing, told asked) (findings, notes []finding) {
	streams := map[string][]leases.Lease{}
	for _, l := range listing.Leases {
		streams[l.Stream] = append(streams[l.Stream], l)
	}
	for _, e := range listing.Bad {
		findings = append(findings, finding{Kind: "bad-row", Keys: []string{e.Key}, Text: fmt.Sprintf("%q: %s", e.Key, badOf(e).Reason)})
	}
	if len(streams) > 1 && streams[""] != nil {
		findings = append(findings, finding{
			Kind: "stream-mix", Keys: keysOf(streams[""]),
			Text: fmt.Sprintf("%s have plain shard ids as keys, the others account:stream:epoch:shardId: two applications share the table", plural(len(streams[""]), "lease")),
		})
	}
	names := make([]string, 0, len(streams))
	for name := range streams {
		names = append(names, name)
	}
	slices.Sort(names)
	bad := map[string]bool{}
	for _, e := range listing.Bad {
		bad[e.Key] = true
	}
	for _, name := range names {
		a := newAuditor(name, streams[name])
		for key := range bad {
			a.bad[strings.TrimPrefix(key, name+":")] = true
		}
		if why, ok := told.silent[name]; ok {
			a.note("not-asked", []string{}, "Kinesis was not asked: %s", why)
		}
		if known, ok := told.known[name]; ok {
			a.known = known
			a.kinesis()
		}
		a.creation()
		a.relatives()
		a.coverage()
		findings, notes = append(findings, a.findings...), append(notes, a.notes...)
	}
	return findings, notes
}

// auditor works on the leases of one stream.
type auditor struct {
	stream          string
	rows            []leases.Lease
	byShard         map[string]leases.Lease
	bad             map[string]bool // shards whose row cannot be read
	known           knownStream     // what Kinesis says; the zero value where it did not
	findings, notes []finding
}

func newAuditor(stream string, rows []leases.Lease) *auditor {
	a := &auditor{stream: stream, rows: slices.Clone(rows), byShard: map[string]leases.Lease{}, bad: map[string]bool{}}
	slices.SortFunc(a.rows, func(x, y leases.Lease) int { return cmp.Compare(x.Key, y.Key) })
	for _, l := range a.rows {
		a.byShard[l.ShardID] = l
	}
	return a
}

func (a *auditor) find(kind string, keys []string, format string, args ...any) {
	a.findings = append(a.findings, finding{Kind: kind, Stream: a.stream, Keys: keys, Text: fmt.Sprintf(format, args...)})
}

func (a *auditor) note(kind string, keys []string, format string, args ...any) {
	a.notes = append(a.notes, finding{Kind: kind, Stream: a.stream, Keys: keys, Text: fmt.Sprintf(format, args...)})
}

func keysOf(rows []leases.Lease) []string {
	var keys []string
	for _, l := range rows {
		keys = append(keys, l.Key)
	}
	slices.Sort(keys)
	return keys
}

// creation compares when the leases think that their stream was created.
func (a *auditor) creation() {
	var without []leases.Lease
	byTime := map[int64]bool{}
	for _, l := range a.rows {
		if l.StreamCreated.IsZero() {
			without = append(without, l)
			continue
		}
		byTime[l.StreamCreated.Unix()] = true
	}
	if len(byTime) > 1 {
		a.find("stream-mix", keysOf(a.rows), "leases were made for streams that were created at %d different times: see `kclctl leases help adopt`", len(byTime))
	}
	if len(without) > 0 {
		a.note("no-stream", keysOf(without), "%s of %d without the creation time of the stream", plural(len(without), "lease"), len(a.rows))
	}
}

// relatives looks at parents and children.
func (a *auditor) relatives() {
	for _, l := range a.rows {
		if l.CheckpointOwner != "" && l.CheckpointOwner == l.Owner {
			a.find("hand-over", []string{l.Key}, "%s is being handed over from %s to itself: `kclctl leases release` completes it", l.Key, l.Owner)
		}
		if l.Finished() {
			for _, id := range slices.Sorted(slices.Values(l.Children)) {
				if _, ok := a.byShard[id]; !ok {
					a.find("missing-child", []string{l.Key}, "%s is finished, and its child %s has no lease", l.Key, id)
				}
			}
		}
		read := !l.Checkpoint.IsSentinel() || l.Finished()
		for _, id := range slices.Sorted(slices.Values(l.Parents)) {
			parent, ok := a.byShard[id]
			_, listed := a.known.shards[id]
			switch {
			case !ok && !l.Started() && l.Checkpoint.SequenceNumber == kcl.SentinelTrimHorizon && listed && !a.bad[id]:
				a.find("missing-parent", []string{l.Key}, "%s has not been read yet, and waits for its parent %s, which has no lease: `kclctl leases restore` says how far it was read", l.Key, id)
			case !ok && a.known.shards != nil: // trimmed, or not wanted
			case !ok && l.Checkpoint.SequenceNumber == kcl.SentinelTrimHorizon:
				a.note("missing-parent", []string{l.Key}, "%s has not been read yet, and its parent %s has no lease", l.Key, id)
			case ok && read && !parent.Finished():
				a.find("order", []string{l.Key, parent.Key}, "%s has been read up to %s, although its parent %s is not finished", l.Key, l.Checkpoint, id)
			}
		}
	}
}

// coverage looks for holes and overlaps of the unfinished leases.
func (a *auditor) coverage() {
	c := shardsync.Audit(a.rows, nil)
	if n := len(c.Unknown); n > 0 {
		a.note("no-hash-keys", c.Unknown, "%s without hash keys, so holes cannot be seen", plural(n, "unfinished lease"))
	} else {
		for _, h := range c.Holes {
			a.hole(h)
		}
	}
	for _, o := range c.Overlaps {
		a.find("overlap", o[:], "%s and %s cover the same hash keys", o[0], o[1])
	}
}

func (a *auditor) hole(h shardsync.Hole) {
	keys, where := []string{}, []string{}
	for _, n := range []struct{ word, key string }{{"after", h.After}, {"before", h.Before}} {
		if n.key != "" {
			keys, where = append(keys, n.key), append(where, n.word+" "+n.key)
		}
	}
	around := ""
	if len(where) > 0 {
		around = " (" + strings.Join(where, ", ") + ")"
	}
	a.find("hole", keys, "no unfinished lease covers hash keys %s to %s%s", h.Start, h.End, around)
}
