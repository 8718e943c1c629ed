package shardsync

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// Times and counts of [PlanCleanup].
const (
	// cleanupTime is how long a row must be superfluous and unchanged before it is deleted. By then
	// an outdated list of shards or of rows has caught up.
	// (completedLeaseCleanupIntervalMillis in the KCL.)
	cleanupTime = 5 * time.Minute
	// A shard is gone when it is missing from goneLists complete lists in a row. The last of these
	// lists must be goneTime younger than the first.
	goneLists = 3
	goneTime  = 10 * time.Minute
)

// Removal is a row that may be deleted.
type Removal struct {
	Lease leases.Lease
	// Children are the keys of the child rows that make this one superfluous because they have been
	// read from. Check them once more before the deletion. It is empty for a shard that is gone.
	Children []string
	// Gone says that the shard is not listed any more. Delete its row only if a direct read does
	// not find the shard either.
	Gone bool
}

// RemovalExpects are the attributes that a deletion expects unchanged. They identify the row's
// stream and application. Each write of a worker that reads the shard changes at least one of them.
const RemovalExpects = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter |
	leases.AttrCheckpoint | leases.AttrChildren | leases.AttrApplication | leases.AttrStreamARN

// HoldsParent tells whether the row of a child keeps the row of its finished parent in the table.
// found says whether the child has a row.
func HoldsParent(found bool, child leases.Lease) bool {
	return !found || !child.Started()
}

// Survey is the state of one stream for [PlanCleanup]. Read the rows after the shards were listed.
// Rows of the last scan do as well.
type Survey struct {
	// At is when the rows were read. ListedAt is when the listing of the shards began. Both are
	// local times.
	At, ListedAt time.Time
	// Shards is the whole answer of ListShards without a filter.
	Shards []kcl.Shard
	// Rows are the rows of the stream.
	Rows []leases.Lease
	// Initial is the initial position of the stream, and Options are those of its Plan.
	Initial kcl.InitialPosition
	Options Options
}

// CleanupHistory keeps the results of earlier surveys of a stream for [PlanCleanup]. The zero value
// has no results.
type CleanupHistory struct {
	listed time.Time
	rows   map[string]pastRow
}

// pastRow is what the earlier surveys tell about one row.
type pastRow struct {
	row              leases.Lease
	superfluousSince time.Time // since when the row is superfluous; zero when it is needed
	absentSince      time.Time // since when the shard is not listed; zero while it is listed
	lists            int       // complete lists in a row without the shard
}

// PlanCleanup returns the rows that are not needed any more, parents before their children. There
// are two kinds of such rows:
//
//   - The shard is finished, and its parents have no row any more. Each of its children has a row,
//     and has been read from or is finished. The children's hash keys cover those of the shard.
//     While the shard is listed it must be closed, and its children must be listed too. Otherwise
//     the list is out of date.
//   - The shard and its parents are missing from three complete lists over ten minutes. Its row is
//     finished, or nobody holds it. See [Removal.Gone].
//
// A row of either kind has not been written to for five minutes, because another library may still
// use it. PlanCleanup returns no row while the list of shards does not cover all hash keys, or
// while rows are missing. It returns no row either when the next Plan would make one of them again.
//
// PlanCleanup is pure, and matches the KCL's LeaseCleanupManager (I22). In the KCL a child at
// LATEST counts as read from. Here it does not.
func PlanCleanup(s Survey, past CleanupHistory) ([]Removal, CleanupHistory) {
	c := newCleaner(s)
	complete := coversAll(s.Shards)
	next := CleanupHistory{listed: past.listed, rows: make(map[string]pastRow, len(s.Rows))}
	fresh := complete && s.ListedAt.After(past.listed)
	if fresh {
		next.listed = s.ListedAt
	}
	c.findSuperfluous()
	var removals []Removal
	for _, l := range c.order {
		earlier := past.rows[l.Key]
		current := pastRow{row: l, superfluousSince: s.At, absentSince: s.ListedAt, lists: earlier.lists}
		children, superfluous := c.superfluous[l.Key]
		untouched := earlier.row.Same(leases.AttrAll, l)
		switch {
		case !superfluous:
			current.superfluousSince = time.Time{}
		case untouched && !earlier.superfluousSince.IsZero():
			current.superfluousSince = earlier.superfluousSince
		}
		if c.listed(l) {
			current.absentSince, current.lists = time.Time{}, 0
		} else {
			if !earlier.absentSince.IsZero() {
				current.absentSince = earlier.absentSince
			}
			if fresh {
				current.lists++
			}
		}
		if current.lists == 0 {
			current.absentSince = time.Time{}
		}
		next.rows[l.Key] = current

		gone := current.lists >= goneLists && next.listed.Sub(current.absentSince) >= goneTime
		switch {
		case superfluous && s.At.Sub(current.superfluousSince) >= cleanupTime:
			removals = append(removals, Removal{Lease: l, Children: children})
		case gone && untouched && (l.Finished() || l.ActualOwner() == ""):
			removals = append(removals, Removal{Lease: l, Gone: true})
		}
	}
	if !complete || len(removals) == 0 || !c.planStaysEmpty(removals) {
		return nil, next
	}
	return removals, next
}

// cleaner finds the superfluous rows of one survey.
type cleaner struct {
	Survey
	shards      map[string]kcl.Shard
	children    map[string][]string     // listed children, by parent
	rows        map[string]leases.Lease // by shard
	order       []leases.Lease          // by shard id
	superfluous map[string][]string     // the keys of superfluous rows, each with the keys of its child rows
}

func newCleaner(s Survey) *cleaner {
	c := &cleaner{
		Survey: s, shards: map[string]kcl.Shard{}, children: map[string][]string{},
		rows: map[string]leases.Lease{}, order: slices.Clone(s.Rows), superfluous: map[string][]string{},
	}
	for _, shard := range s.Shards {
		c.shards[shard.ID] = shard
		for _, p := range shard.Parents() {
			c.children[p] = append(c.children[p], shard.ID)
		}
	}
	slices.SortFunc(c.order, func(a, b leases.Lease) int { return strings.Compare(a.ShardID, b.ShardID) })
	for _, l := range c.order {
		c.rows[l.ShardID] = l
	}
	return c
}

// findSuperfluous finds the superfluous rows: first those without parents, then their children, and
// so on. It sorts order in that sequence.
func (c *cleaner) findSuperfluous() {
	var found, remaining []leases.Lease
	remaining = c.order
	for again := true; again; {
		again = false
		var left []leases.Lease
		for _, l := range remaining {
			if children, ok := c.childrenTookOver(l); ok {
				c.superfluous[l.Key], again = children, true
				found = append(found, l)
				continue
			}
			left = append(left, l)
		}
		remaining = left
	}
	c.order = slices.Concat(found, remaining)
}

// listed tells whether the shard of l or one of its parents is listed. Parents leave the list
// first. A list that shows only a parent was made before the shard existed.
func (c *cleaner) listed(l leases.Lease) bool {
	return slices.ContainsFunc(append([]string{l.ShardID}, l.Parents...), func(id string) bool {
		_, ok := c.shards[id]
		return ok
	})
}

// childrenTookOver tells whether the row l is superfluous because its children have been read from.
// It returns the keys of their rows.
func (c *cleaner) childrenTookOver(l leases.Lease) ([]string, bool) {
	shard, listed := c.shards[l.ShardID]
	if !l.Finished() || (listed && !shard.Closed()) {
		return nil, false
	}
	for _, p := range slices.Concat(l.Parents, shard.Parents()) {
		if row, ok := c.rows[p]; ok && c.superfluous[row.Key] == nil {
			return nil, false
		}
	}
	ids := slices.Concat(l.Children, c.children[l.ShardID])
	slices.Sort(ids)
	var keys []string
	var spans []span
	for _, id := range slices.Compact(ids) {
		row, ok := c.rows[id]
		if _, known := c.shards[id]; !ok || !row.Started() || (listed && !known) {
			return nil, false
		}
		keys = append(keys, row.Key)
		if s, ok := c.span(row); ok {
			spans = append(spans, s)
		}
	}
	if whole, ok := c.span(l); ok && len(spans) == len(keys) {
		sortSpans(spans)
		if len(gaps(clip(spans, whole), whole.start, whole.end)) > 0 {
			return nil, false
		}
	}
	return keys, len(keys) > 0
}

// span returns the hash keys of l, from its row or else from the list of shards.
func (c *cleaner) span(l leases.Lease) (span, bool) {
	if s, ok := newSpan(l.Key, l.HashKeyRange); ok {
		return s, true
	}
	return newSpan(l.Key, c.shards[l.ShardID].HashKeyRange)
}

// planStaysEmpty tells whether [Plan] makes no row now, and none after the removals, whichever
// shards the list lacks.
func (c *cleaner) planStaysEmpty(removals []Removal) bool {
	removed := make(map[string]bool, len(removals))
	for _, r := range removals {
		removed[r.Lease.Key] = true
	}
	left := slices.DeleteFunc(slices.Clone(c.Rows), func(l leases.Lease) bool { return removed[l.Key] })
	if len(Plan(c.Shards, c.Rows, c.Initial, c.Options)) > 0 {
		return false
	}
	after, lacks := PlanComplete(c.Shards, left, c.Initial, c.Options)
	return len(after) == 0 && lacks == ""
}

// coversAll tells whether the open shards cover every hash key. Otherwise the list is incomplete.
func coversAll(shards []kcl.Shard) bool {
	var spans []span
	for _, s := range shards {
		if s.Closed() {
			continue
		}
		span, ok := newSpan(s.ID, s.HashKeyRange)
		if !ok {
			return false
		}
		spans = append(spans, span)
	}
	sortSpans(spans)
	return len(gaps(spans, new(big.Int), maxHashKey)) == 0
}
