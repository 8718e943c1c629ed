package shardsync

import (
	"cmp"
	"math/big"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// Coverage is what [Audit] finds out about the hash keys of one stream.
type Coverage struct {
	// Holes are the hash keys whose records nobody reads or is about to read,
	// in order.
	Holes []Hole
	// Overlaps are pairs of keys of leases that cover the same hash keys, none
	// of them waiting for the other: the first thousand pairs.
	Overlaps [][2]string
	// Unknown are the keys of unfinished leases whose hash keys are known
	// neither to the row nor to the list of shards. Holes are not to be trusted
	// while there are any.
	Unknown []string
}

// Hole is a range of hash keys, both ends included.
type Hole struct {
	kcl.HashKeyRange
	// After and Before are the keys of the leases beside the hole; empty at the
	// ends of the hash keys.
	After, Before string
}

// Audit looks whether the rows of one stream cover every hash key: those that
// are not finished. A child that waits for a parent covers only what it has
// from parents that are finished already; the others cover their part
// themselves, and one that should have a row and has none is a hole. shards
// tell that, and complete rows that do not say which hash keys they cover, such
// as those of other libraries; they may be nil. It is pure. It matches the hash
// range check of the KCL's PeriodicShardSyncManager, which takes every child
// for one that covers all of its keys; see [HoleWatch] for what to make of a
// hole.
func Audit(rows []leases.Lease, shards []kcl.Shard) Coverage {
	a := newAuditor(rows, shards)
	var c Coverage
	var spans []span
	for _, l := range rows {
		if l.Finished() {
			continue
		}
		s, ok := a.span(l.ShardID)
		switch {
		case !ok:
			c.Unknown = append(c.Unknown, l.Key)
		case a.waits(l):
			spans = append(spans, a.inherited(l, s)...)
		default:
			spans = append(spans, s)
		}
	}
	slices.Sort(c.Unknown)
	sortSpans(spans)
	c.Holes = gaps(spans, new(big.Int), maxHashKey)
	for i, s := range spans {
		for _, o := range spans[i+1:] {
			if o.start.Cmp(s.end) > 0 || len(c.Overlaps) == maxOverlaps {
				break
			}
			c.Overlaps = append(c.Overlaps, [2]string{s.key, o.key})
		}
	}
	return c
}

// maxOverlaps bounds what grows with the square of the leases where all of them
// cover the same hash keys.
const maxOverlaps = 1000

// auditor works on the rows of one stream.
type auditor struct {
	shards map[string]kcl.Shard
	rows   map[string]leases.Lease // by shard
}

func newAuditor(rows []leases.Lease, shards []kcl.Shard) *auditor {
	a := &auditor{shards: map[string]kcl.Shard{}, rows: map[string]leases.Lease{}}
	for _, s := range shards {
		a.shards[s.ID] = s
	}
	for _, l := range rows {
		a.rows[l.ShardID] = l
	}
	return a
}

// waits tells whether a parent is still to be read.
func (a *auditor) waits(l leases.Lease) bool {
	return slices.ContainsFunc(l.Parents, func(p string) bool {
		row, ok := a.rows[p]
		return ok && !row.Finished() && p != l.ShardID
	})
}

// rowLost tells whether a parent of a child that waits should have a row and has
// none. A parent that is listed and has no row may have been cleaned up, but
// only after the child was read, or was never asked for; a child at
// TRIM_HORIZON says that it was.
func (a *auditor) rowLost(child leases.Lease, parent string) bool {
	_, found := a.rows[parent]
	_, listed := a.shards[parent]
	return !found && listed && child.Checkpoint.SequenceNumber == kcl.SentinelTrimHorizon
}

// inherited is what a child that waits covers: all but what it will have from
// parents that are still to be read.
func (a *auditor) inherited(l leases.Lease, whole span) []span {
	var others []span
	for _, p := range l.Parents {
		row, ok := a.rows[p]
		if part, known := a.span(p); known && (a.rowLost(l, p) || (ok && !row.Finished())) {
			others = append(others, part)
		}
	}
	sortSpans(others)
	var own []span
	for _, h := range gaps(clip(others, whole), whole.start, whole.end) {
		s, _ := newSpan(l.Key, h.HashKeyRange)
		own = append(own, s)
	}
	return own
}

func (a *auditor) span(id string) (span, bool) {
	row, ok := a.rows[id]
	if s, known := newSpan(row.Key, row.HashKeyRange); ok && known {
		return s, true
	}
	return newSpan(row.Key, a.shards[id].HashKeyRange)
}

// PlanRepair returns the rows to make for holes that [Plan] does not see:
// the lease of a shard that was merged was lost, and its child, which waits for
// the other parent, has a row already. For Plan such a shard is finished
// and cleaned up. Where it had been read up to is lost with the row: it starts
// at TRIM_HORIZON. holes must have been confirmed by a [HoleWatch]; rows and
// shards are those of the audit. It is pure.
func PlanRepair(holes []Hole, rows []leases.Lease, shards []kcl.Shard, opt Options) []leases.Lease {
	a := newAuditor(rows, shards)
	var torn []span
	for _, h := range holes {
		if s, ok := newSpan("", h.HashKeyRange); ok {
			torn = append(torn, s)
		}
	}
	sortSpans(torn)
	var plan []leases.Lease
	for _, l := range rows {
		if l.Finished() || !a.waits(l) {
			continue
		}
		for _, p := range l.Parents {
			part, known := a.span(p)
			if !known || !a.rowLost(l, p) || !overlapsAny(torn, part) {
				continue
			}
			row := newLease(a.shards[p], opt)
			plan, a.rows[p] = append(plan, row), row
		}
	}
	return plan
}

// span is the hash keys of one lease or shard.
type span struct {
	key        string
	start, end *big.Int
}

var (
	one        = big.NewInt(1)
	maxHashKey = new(big.Int).Sub(new(big.Int).Lsh(one, 128), one)
)

func newSpan(key string, r kcl.HashKeyRange) (span, bool) {
	if r.Validate() != nil {
		return span{}, false
	}
	start, _ := new(big.Int).SetString(r.Start, 10)
	end, _ := new(big.Int).SetString(r.End, 10)
	return span{key, start, end}, true
}

func sortSpans(spans []span) {
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(a.start.Cmp(b.start), a.end.Cmp(b.end), cmp.Compare(a.key, b.key))
	})
}

// clip keeps what spans have in common with whole.
func clip(spans []span, whole span) []span {
	var out []span
	for _, s := range spans {
		if s.start.Cmp(whole.start) < 0 {
			s.start = whole.start
		}
		if s.end.Cmp(whole.end) > 0 {
			s.end = whole.end
		}
		if s.start.Cmp(s.end) <= 0 {
			out = append(out, s)
		}
	}
	return out
}

// overlapsAny tells whether one of spans, which are sorted and do not overlap, has
// something in common with part.
func overlapsAny(spans []span, part span) bool {
	i, _ := slices.BinarySearchFunc(spans, part.start, func(s span, start *big.Int) int { return s.end.Cmp(start) })
	return i < len(spans) && spans[i].start.Cmp(part.end) <= 0
}

// gaps returns what sorted spans leave out between first and last.
func gaps(spans []span, first, last *big.Int) []Hole {
	var holes []Hole
	next, after := first, ""
	hole := func(end *big.Int, before string) {
		if next.Cmp(end) <= 0 {
			holes = append(holes, Hole{HashKeyRange: kcl.HashKeyRange{Start: next.String(), End: end.String()}, After: after, Before: before})
		}
	}
	for _, s := range spans {
		hole(new(big.Int).Sub(s.start, one), s.key)
		if s.end.Cmp(next) >= 0 {
			next, after = new(big.Int).Add(s.end, one), s.key
		}
	}
	hole(last, "")
	return holes
}

// A hole counts when it was there in this many audits in a row and for this
// long: what is read while a row changes hands may look like one.
const (
	holeAudits = 3
	holeTime   = 2 * time.Minute
)

// HoleWatch tells holes from what only looked like one, from one audit of a
// stream to the next. The zero value is ready. It is not safe for concurrent
// use.
type HoleWatch struct {
	seen map[kcl.HashKeyRange]holeSight
}

type holeSight struct {
	since    time.Time
	audits   int
	repaired int // the audit that last asked for a repair
}

// Note takes in an audit. confirmed are the holes that were there, unchanged,
// in three audits in a row and for two minutes. repair tells that one of them
// was confirmed just now, or has been there for another three audits since:
// synchronise the shards. (The KCL watches one hole at a time.)
func (w *HoleWatch) Note(at time.Time, c Coverage) (confirmed []Hole, repair bool) {
	seen := map[kcl.HashKeyRange]holeSight{}
	for _, h := range c.Holes {
		sight, ok := w.seen[h.HashKeyRange]
		if !ok {
			sight.since = at
		}
		sight.audits++
		if sight.audits >= holeAudits && at.Sub(sight.since) >= holeTime {
			confirmed = append(confirmed, h)
			if sight.repaired == 0 || sight.audits-sight.repaired >= holeAudits {
				sight.repaired, repair = sight.audits, true
			}
		}
		seen[h.HashKeyRange] = sight
	}
	w.seen = seen
	return confirmed, repair
}
