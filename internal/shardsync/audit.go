package shardsync

import (
	"cmp"
	"math/big"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// Coverage is the result of an [Audit]: how the rows of one stream cover the hash keys.
type Coverage struct {
	// Holes are the hash keys that no lease covers, in order. No worker reads their records, and
	// none is about to.
	Holes []Hole
	// Overlaps are pairs of keys of leases that cover the same hash keys. Neither lease waits for
	// the other. Only the first thousand pairs are listed.
	Overlaps [][2]string
	// Unknown are the keys of unfinished leases whose hash keys are not known. Neither the row nor
	// the list of shards has them. While there are any, Holes may be wrong.
	Unknown []string
}

// Hole is a range of hash keys that no lease covers, both ends included.
type Hole struct {
	kcl.HashKeyRange
	// After and Before are the keys of the leases beside the hole. They are empty at the ends of
	// the hash keys.
	After, Before string
}

// Audit tells whether the unfinished rows of one stream cover every hash key.
//
// A child that waits for a parent covers only the hash keys of its finished parents. The other
// parents cover their part themselves. A parent that should have a row and has none is a hole.
// shards is the list of shards, which shows such parents. It also has the hash keys of rows that
// lack them, as rows of other libraries do. shards may be nil.
//
// Audit is pure. It matches the hash range check of the KCL's PeriodicShardSyncManager, for which
// every child covers all of its hash keys. [HoleWatch] tells which holes to repair.
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
			spans = append(spans, a.coveredByWaiting(l, s)...)
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

// maxOverlaps bounds the overlaps of one audit. Their number grows with the square of the leases
// when all leases cover the same hash keys.
const maxOverlaps = 1000

// auditor finds out which hash keys the rows of one stream cover.
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

// waits tells whether a parent of l is still to be read.
func (a *auditor) waits(l leases.Lease) bool {
	return slices.ContainsFunc(l.Parents, func(p string) bool {
		row, ok := a.rows[p]
		return ok && !row.Finished() && p != l.ShardID
	})
}

// rowLost tells whether the row of a parent has been lost, given a child that waits. A listed
// parent may lack a row for two other reasons. The row was cleaned up, which happens only after the
// child was read from. Or no worker had to read the parent; then the child does not start at
// TRIM_HORIZON.
func (a *auditor) rowLost(child leases.Lease, parent string) bool {
	_, found := a.rows[parent]
	_, listed := a.shards[parent]
	return !found && listed && child.Checkpoint.SequenceNumber == kcl.SentinelTrimHorizon
}

// coveredByWaiting returns the hash keys that a waiting child covers. whole are those of its shard.
// The child does not cover the hash keys of parents that are still to be read.
func (a *auditor) coveredByWaiting(l leases.Lease, whole span) []span {
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

// span returns the hash keys of a shard, from its row or else from the list of shards.
func (a *auditor) span(id string) (span, bool) {
	row, ok := a.rows[id]
	if s, known := newSpan(row.Key, row.HashKeyRange); ok && known {
		return s, true
	}
	return newSpan(row.Key, a.shards[id].HashKeyRange)
}

// PlanRepair returns the rows to make for holes that [Plan] does not see. Such a hole appears when
// the lease of a merged shard is lost too early: its child has a row and waits for the other
// parent. For Plan the merged shard looks finished and cleaned up.
//
// The lost row held the position in the shard, so the new row starts at TRIM_HORIZON. holes must
// have been confirmed by a [HoleWatch]. rows and shards are those of the audit. PlanRepair is pure.
func PlanRepair(holes []Hole, rows []leases.Lease, shards []kcl.Shard, opt Options) []leases.Lease {
	a := newAuditor(rows, shards)
	var holeSpans []span
	for _, h := range holes {
		if s, ok := newSpan("", h.HashKeyRange); ok {
			holeSpans = append(holeSpans, s)
		}
	}
	sortSpans(holeSpans)
	var plan []leases.Lease
	for _, l := range rows {
		if l.Finished() || !a.waits(l) {
			continue
		}
		for _, p := range l.Parents {
			part, known := a.span(p)
			if !known || !a.rowLost(l, p) || !overlapsAny(holeSpans, part) {
				continue
			}
			row := newLease(a.shards[p], opt)
			plan, a.rows[p] = append(plan, row), row
		}
	}
	return plan
}

// span is the range of hash keys of one lease or shard.
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

// clip returns the parts of spans that lie in whole.
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

// overlapsAny tells whether part overlaps one of spans. They must be sorted, and must not overlap
// each other.
func overlapsAny(spans []span, part span) bool {
	i, _ := slices.BinarySearchFunc(spans, part.start, func(s span, start *big.Int) int { return s.end.Cmp(start) })
	return i < len(spans) && spans[i].start.Cmp(part.end) <= 0
}

// gaps returns the hash keys from first to last that sorted spans leave out.
func gaps(spans []span, first, last *big.Int) []Hole {
	var holes []Hole
	next, after := first, ""
	hole := func(end *big.Int, before string) {
		if next.Cmp(end) <= 0 {
			r := kcl.HashKeyRange{Start: next.String(), End: end.String()}
			holes = append(holes, Hole{HashKeyRange: r, After: after, Before: before})
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

// A hole is confirmed when it was found in holeAudits audits in a row and for holeTime. A row that
// changes hands while it is read may look like a hole.
const (
	holeAudits = 3
	holeTime   = 2 * time.Minute
)

// HoleWatch compares the audits of one stream, and tells which holes are real. The zero value is
// ready. It is not safe for concurrent use.
type HoleWatch struct {
	seen map[kcl.HashKeyRange]holeSight
}

// holeSight is what earlier audits tell about one hole.
type holeSight struct {
	since    time.Time // when the first audit found it
	audits   int       // the number of audits in a row that found it
	repaired int       // the number of the audit that last asked for a repair; 0 for none
}

// Observe compares an audit with the earlier ones. at is the local time of the audit. confirmed are
// the holes that were found, unchanged, in three audits in a row and for two minutes. repair asks
// the caller to synchronise the shards. It is true when a hole has just been confirmed. It is true
// again after every three audits that still show the hole. (The KCL watches one hole at a time.)
func (w *HoleWatch) Observe(at time.Time, c Coverage) (confirmed []Hole, repair bool) {
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
