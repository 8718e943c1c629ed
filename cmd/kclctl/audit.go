package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

var auditCommand = command{
	name: "audit", summary: "look for holes, overlaps and damaged rows",
	help: `Checks the table as a whole, without asking Kinesis and without writing:

  bad-row         a row cannot be read
  hole            no unfinished lease covers a part of the hash keys: records there are
                  read by nobody, unless a reshard is being noticed right now
  overlap         two unfinished leases, none a descendant of the other, cover the same
                  hash keys
  missing-child   a finished lease names a child that has no lease
  order           a child has been read although its parent is not finished
  stream-mix      leases of one stream and of several, or of different creation times
  hand-over       a lease is being handed over from a worker to itself

These are worth knowing, and normal in many tables; they do not count as findings:

  missing-parent  a lease that has not been read names a parent that has no lease: it was
                  trimmed or not asked for - or deleted by hand before it was read
  no-hash-keys    it is not known what a lease covers, so holes cannot be seen
  no-stream       leases do not say when their stream was created (other libraries do
                  not write it), so a stream that was created again is not noticed

It ends with status 1 when there are findings.

Examples:
  kclctl leases audit -table orders
  kclctl leases audit -table orders -json | jq -r '.findings[].kind'`,
	setup: func(flags *flag.FlagSet) func(context.Context, *terminal, []string) error {
		var src source
		src.register(flags)
		return func(ctx context.Context, t *terminal, args []string) error {
			if len(args) > 0 {
				return usagef("unexpected argument %q: audit works on the whole table", args[0])
			}
			store, err := src.open(ctx, t)
			if err != nil {
				return err
			}
			listing, err := src.list(ctx, store)
			if err != nil {
				return err
			}
			return printAudit(t, &src, listing)
		}
	},
}

func printAudit(t *terminal, src *source, listing leases.Listing) error {
	findings, notes := audit(listing)
	if src.json {
		err := t.json(struct {
			Table    string    `json:"table"`
			Leases   int       `json:"leases"`
			Findings []finding `json:"findings"`
			Notes    []finding `json:"notes"`
		}{src.name(), len(listing.Leases), append([]finding{}, findings...), append([]finding{}, notes...)})
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
		t.line("%s audited: %s", plural(len(listing.Leases)+len(listing.Bad), "row"), plural(len(findings), "finding"))
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
func audit(listing leases.Listing) (findings, notes []finding) {
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
	for _, name := range names {
		a := newAuditor(name, streams[name])
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
	findings, notes []finding
}

func newAuditor(stream string, rows []leases.Lease) *auditor {
	a := &auditor{stream: stream, rows: slices.Clone(rows), byShard: map[string]leases.Lease{}}
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
			switch {
			case !ok && l.Checkpoint.SequenceNumber == kcl.SentinelTrimHorizon:
				a.note("missing-parent", []string{l.Key}, "%s has not been read yet, and its parent %s has no lease", l.Key, id)
			case ok && read && !parent.Finished():
				a.find("order", []string{l.Key, parent.Key}, "%s has been read up to %s, although its parent %s is not finished", l.Key, l.Checkpoint, id)
			}
		}
	}
}

// span is what an unfinished lease covers.
type span struct {
	row        leases.Lease
	start, end *big.Int
}

var (
	one        = big.NewInt(1)
	maxHashKey = new(big.Int).Sub(new(big.Int).Lsh(one, 128), one)
)

// coverage looks for holes and overlaps of the unfinished leases.
func (a *auditor) coverage() {
	var spans []span
	var unknown []leases.Lease
	for _, l := range a.rows {
		if l.Finished() {
			continue
		}
		start, ok1 := new(big.Int).SetString(l.HashKeyRange.Start, 10)
		end, ok2 := new(big.Int).SetString(l.HashKeyRange.End, 10)
		if !ok1 || !ok2 {
			unknown = append(unknown, l)
			continue
		}
		spans = append(spans, span{l, start, end})
	}
	slices.SortStableFunc(spans, func(x, y span) int { return cmp.Or(x.start.Cmp(y.start), x.end.Cmp(y.end)) })
	if len(unknown) > 0 {
		a.note("no-hash-keys", keysOf(unknown), "%s without hash keys, so holes cannot be seen", plural(len(unknown), "unfinished lease"))
	} else {
		a.holes(spans)
	}
	a.overlaps(spans)
}

func (a *auditor) holes(spans []span) {
	next, last := new(big.Int), leases.Lease{}
	for _, s := range spans {
		if s.start.Cmp(next) > 0 {
			a.hole(next, new(big.Int).Sub(s.start, one), last.Key, s.row.Key)
		}
		if s.end.Cmp(next) >= 0 {
			next, last = new(big.Int).Add(s.end, one), s.row
		}
	}
	if next.Cmp(maxHashKey) <= 0 {
		a.hole(next, maxHashKey, last.Key, "")
	}
}

func (a *auditor) hole(from, to *big.Int, left, right string) {
	var keys, around []string
	for _, n := range []struct{ word, key string }{{"after", left}, {"before", right}} {
		if n.key != "" {
			keys, around = append(keys, n.key), append(around, n.word+" "+n.key)
		}
	}
	where := ""
	if len(around) > 0 {
		where = " (" + strings.Join(around, ", ") + ")"
	}
	a.find("hole", append([]string{}, keys...), "no unfinished lease covers hash keys %s to %s%s", from, to, where)
}

func (a *auditor) overlaps(spans []span) {
	for i, s := range spans {
		for _, o := range spans[i+1:] {
			if o.start.Cmp(s.end) > 0 {
				break
			}
			if !a.descends(s.row.ShardID, o.row.ShardID, nil) && !a.descends(o.row.ShardID, s.row.ShardID, nil) {
				a.find("overlap", []string{s.row.Key, o.row.Key}, "%s and %s cover the same hash keys from %s", s.row.Key, o.row.Key, o.start)
			}
		}
	}
}

// descends tells whether a shard comes from another, as far as the table knows.
func (a *auditor) descends(id, from string, seen map[string]bool) bool {
	if seen == nil {
		seen = map[string]bool{}
	}
	if seen[id] {
		return false
	}
	seen[id] = true
	for _, p := range a.byShard[id].Parents {
		if p == from || a.descends(p, from, seen) {
			return true
		}
	}
	return false
}
