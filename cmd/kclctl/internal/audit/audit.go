// Package audit judges a lease table as a whole: what its rows say of each other, and what Kinesis
// says of its streams. It reads and writes nothing.
package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/streaminfo"
	"github.com/kinesis-go/kcl/cmd/kclctl/internal/view"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// Finding is one result about a table, in JSON.
type Finding struct {
	Kind string `json:"kind"`
	// Stream is empty where the table has one stream only.
	Stream string   `json:"stream,omitempty"`
	Keys   []string `json:"keys"`
	Text   string   `json:"text"`
}

// Answer is what Kinesis says about the stream of some leases.
type Answer struct {
	// Name is the name or ARN that Kinesis was asked for.
	Name   string
	Stream streaminfo.Stream
	// Gone means that Kinesis has no such stream.
	Gone bool
	// Silent says why there is no answer. It is empty where there is one.
	Silent string
}

// Judge returns the findings of a table, and notes that are worth knowing. The answers have
// Lease.Stream as keys. The order of the rows does not matter.
func Judge(listing leases.Listing, answers map[string]Answer) (findings, notes []Finding) {
	streams := map[string][]leases.Lease{}
	for _, l := range listing.Leases {
		streams[l.Stream] = append(streams[l.Stream], l)
	}
	for _, e := range listing.Bad {
		findings = append(findings, Finding{
			Kind: "bad-row", Keys: []string{e.Key}, Text: fmt.Sprintf("%q: %s", e.Key, view.BadOf(e).Reason),
		})
	}
	if len(streams) > 1 && streams[""] != nil {
		findings = append(findings, Finding{
			Kind: "stream-mix", Keys: keysOf(streams[""]),
			Text: view.Plural(len(streams[""]), "lease") + " with a plain shard id as the key, and others with " +
				"account:stream:epoch:shardId: two applications share the table",
		})
	}
	for _, name := range slices.Sorted(maps.Keys(streams)) {
		a := newAuditor(name, streams[name], listing.Bad)
		if answer, ok := answers[name]; ok {
			a.checkAnswer(answer)
		}
		a.checkCreation()
		a.checkRelatives()
		a.checkCoverage()
		findings, notes = append(findings, a.findings...), append(notes, a.notes...)
	}
	return findings, notes
}

// auditor judges the leases of one stream.
type auditor struct {
	stream  string
	rows    []leases.Lease // sorted by key
	byShard map[string]leases.Lease
	bad     map[string]bool // shards whose row cannot be read
	// shards is nil where Kinesis did not list the shards of these leases.
	shards          map[string]kcl.Shard
	findings, notes []Finding
}

func newAuditor(stream string, rows []leases.Lease, bad []*leases.RowError) *auditor {
	a := &auditor{stream: stream, rows: rows, byShard: map[string]leases.Lease{}, bad: map[string]bool{}}
	slices.SortFunc(a.rows, func(x, y leases.Lease) int { return cmp.Compare(x.Key, y.Key) })
	for _, l := range a.rows {
		a.byShard[l.ShardID] = l
	}
	for _, e := range bad {
		a.bad[strings.TrimPrefix(e.Key, stream+":")] = true
	}
	return a
}

func (a *auditor) find(kind string, keys []string, format string, args ...any) {
	a.findings = append(a.findings, Finding{Kind: kind, Stream: a.stream, Keys: keys, Text: fmt.Sprintf(format, args...)})
}

func (a *auditor) note(kind string, keys []string, format string, args ...any) {
	a.notes = append(a.notes, Finding{Kind: kind, Stream: a.stream, Keys: keys, Text: fmt.Sprintf(format, args...)})
}

// keysOf returns the keys of leases, sorted.
func keysOf(rows []leases.Lease) []string {
	var keys []string
	for _, l := range rows {
		keys = append(keys, l.Key)
	}
	slices.Sort(keys)
	return keys
}

// checkCreation compares the times at which the leases say that their stream was created.
func (a *auditor) checkCreation() {
	var without []leases.Lease
	times := map[int64]bool{}
	for _, l := range a.rows {
		if l.StreamCreated.IsZero() {
			without = append(without, l)
			continue
		}
		times[l.StreamCreated.Unix()] = true
	}
	if len(times) > 1 {
		a.find("stream-mix", keysOf(a.rows),
			"leases were made for streams that were created at %d different times: see `kclctl leases help adopt`", len(times))
	}
	if len(without) > 0 {
		a.note("no-stream", keysOf(without), "%s of %d without the creation time of the stream",
			view.Plural(len(without), "lease"), len(a.rows))
	}
}

// checkRelatives compares each lease with its parents and children, and looks for hand-overs that
// cannot end.
func (a *auditor) checkRelatives() {
	for _, l := range a.rows {
		if l.CheckpointOwner != "" && l.CheckpointOwner == l.Owner {
			a.find("hand-over", []string{l.Key},
				"%s is being handed over from %s to itself: `kclctl leases release` completes it", l.Key, l.Owner)
		}
		if l.Finished() {
			for _, id := range slices.Sorted(slices.Values(l.Children)) {
				if _, ok := a.byShard[id]; !ok {
					a.find("missing-child", []string{l.Key}, "%s is finished, and its child %s has no lease", l.Key, id)
				}
			}
		}
		for _, id := range slices.Sorted(slices.Values(l.Parents)) {
			a.checkParent(l, id)
		}
	}
}

func (a *auditor) checkParent(l leases.Lease, id string) {
	parent, ok := a.byShard[id]
	_, listed := a.shards[id]
	waits := l.Checkpoint.SequenceNumber == kcl.SentinelTrimHorizon
	read := !l.Checkpoint.IsSentinel() || l.Finished()
	switch {
	case !ok && !l.Started() && waits && listed && !a.bad[id]:
		a.find("missing-parent", []string{l.Key}, "%s has not been read yet, and waits for its parent %s, "+
			"which has no lease: write with `kclctl leases restore` how far the parent was read", l.Key, id)
	case !ok && a.shards != nil: // the parent was trimmed, or its row is not needed
	case !ok && waits:
		a.note("missing-parent", []string{l.Key}, "%s has not been read yet, and its parent %s has no lease", l.Key, id)
	case ok && read && !parent.Finished():
		a.find("order", []string{l.Key, parent.Key}, "%s has been read up to %s, although its parent %s is not finished",
			l.Key, l.Checkpoint, id)
	}
}

// checkCoverage looks for holes and overlaps in the hash keys of the unfinished leases.
func (a *auditor) checkCoverage() {
	c := shardsync.Audit(a.rows, nil)
	if n := len(c.Unknown); n > 0 {
		a.note("no-hash-keys", c.Unknown, "%s without hash keys, so holes cannot be seen", view.Plural(n, "unfinished lease"))
	} else {
		for _, h := range c.Holes {
			a.reportHole(h)
		}
	}
	for _, o := range c.Overlaps {
		a.find("overlap", o[:], "%s and %s cover the same hash keys", o[0], o[1])
	}
}

func (a *auditor) reportHole(h shardsync.Hole) {
	keys, places := []string{}, []string{}
	for _, neighbour := range []struct{ word, key string }{{"after", h.After}, {"before", h.Before}} {
		if neighbour.key != "" {
			keys, places = append(keys, neighbour.key), append(places, neighbour.word+" "+neighbour.key)
		}
	}
	around := ""
	if len(places) > 0 {
		around = " (" + strings.Join(places, ", ") + ")"
	}
	a.find("hole", keys, "no unfinished lease covers hash keys %s to %s%s", h.Start, h.End, around)
}
