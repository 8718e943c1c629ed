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
	// cleanupTime is for how long a row must have been superfluous and unchanged before it is
	// deleted. By then a list of shards or of rows that was behind has caught up.
	// (completedLeaseCleanupIntervalMillis in the KCL.)
	cleanupTime = 5 * time.Minute
	// A shard is gone when it is missing from goneLists complete lists in a row, and the last of
	// them is goneTime younger than the first.
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

// Survey is the state of one stream for [PlanCleanup]. Rows are to be read after the shards were
// listed, or may be as old as the last scan.
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

// pastRow says since when a row has been superfluous, and since when its shard has not been listed.
type pastRow struct {
	row    leases.Lease
	done   time.Time // since when the row is superfluous; zero when it is not
	absent time.Time // since when the shard is not listed; zero when it is
	lists  int       // complete lists in a row without the shard
}

// PlanCleanup returns the rows that nobody needs any more, parents before their children. A row is
// one of them in two cases:
//
//   - The shard is finished, and its parents have no row any more. Each of its children has a row,
//     and has been read from or is finished. The children's hash keys cover those of the shard.
//     While the shard is listed it must be closed, and its children must be listed too. Otherwise
//     the list is out of date.
//   - The shard and its parents are missing from three complete lists over ten minutes. Its row is
//     finished, or nobody holds it. See [Removal.Gone].
//
// In both cases nobody has written to the row for five minutes: another library may be looking
// after it. Nothing is returned while the list of shards does not cover all hash keys, or while
// rows are missing. Nothing is returned either when the next Plan would make one of the rows again.
//
// PlanCleanup is pure, and matches the KCL's LeaseCleanupManager (I22). For the KCL a child at
// LATEST has been read from; here it has not.
func PlanCleanup(s Survey, past CleanupHistory) ([]Removal, CleanupHistory) {
	c := newCleaner(s)
	whole := coversAll(s.Shards)
	next := CleanupHistory{listed: past.listed, rows: make(map[string]pastRow, len(s.Rows))}
	fresh := whole && s.ListedAt.After(past.listed)
	if fresh {
		next.listed = s.ListedAt
	}
	c.findDone()
	var removals []Removal
	for _, l := range c.order {
		was := past.rows[l.Key]
		now := pastRow{row: l, done: s.At, absent: s.ListedAt, lists: was.lists}
		children, done := c.done[l.Key]
		untouched := was.row.Same(leases.AttrAll, l)
		switch {
		case !done:
			now.done = time.Time{}
		case untouched && !was.done.IsZero():
			now.done = was.done
		}
		if c.listed(l) {
			now.absent, now.lists = time.Time{}, 0
		} else {
			if !was.absent.IsZero() {
				now.absent = was.absent
			}
			if fresh {
				now.lists++
			}
		}
		if now.lists == 0 {
			now.absent = time.Time{}
		}
		next.rows[l.Key] = now

		gone := now.lists >= goneLists && next.listed.Sub(now.absent) >= goneTime
		switch {
		case done && s.At.Sub(now.done) >= cleanupTime:
			removals = append(removals, Removal{Lease: l, Children: children})
		case gone && untouched && (l.Finished() || l.ActualOwner() == ""):
			removals = append(removals, Removal{Lease: l, Gone: true})
		}
	}
	if !whole || len(removals) == 0 || !c.planStaysEmpty(removals) {
		return nil, next
	}
	return removals, next
}

// cleaner judges the rows of one survey.
type cleaner struct {
	Survey
	shards   map[string]kcl.Shard
	children map[string][]string     // listed children, by parent
	rows     map[string]leases.Lease // by shard
	order    []leases.Lease          // by shard id
	done     map[string][]string     // the keys of superfluous rows, each with the keys of its child rows
}

func newCleaner(s Survey) *cleaner {
	c := &cleaner{
		Survey: s, shards: map[string]kcl.Shard{}, children: map[string][]string{},
		rows: map[string]leases.Lease{}, order: slices.Clone(s.Rows), done: map[string][]string{},
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

// findDone finds the superfluous rows: first those without parents, then their children, and so on.
// It sorts order in that sequence.
func (c *cleaner) findDone() {
	var doomed, rest []leases.Lease
	rest = c.order
	for again := true; again; {
		again = false
		var left []leases.Lease
		for _, l := range rest {
			if children, ok := c.superseded(l); ok {
				c.done[l.Key], again = children, true
				doomed = append(doomed, l)
				continue
			}
			left = append(left, l)
		}
		rest = left
	}
	c.order = slices.Concat(doomed, rest)
}

// listed tells whether the shard of l or one of its parents is listed. Parents leave the list
// first. A list that shows only a parent was made before the shard existed.
func (c *cleaner) listed(l leases.Lease) bool {
	return slices.ContainsFunc(append([]string{l.ShardID}, l.Parents...), func(id string) bool {
		_, ok := c.shards[id]
		return ok
	})
}

// superseded tells whether the children of l have taken its place. It returns the keys of their
// rows.
func (c *cleaner) superseded(l leases.Lease) ([]string, bool) {
	shard, listed := c.shards[l.ShardID]
	if !l.Finished() || (listed && !shard.Closed()) {
		return nil, false
	}
	for _, p := range slices.Concat(l.Parents, shard.Parents()) {
		if row, ok := c.rows[p]; ok && c.done[row.Key] == nil {
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

// planStaysEmpty tells whether [Plan] makes no row now, and none after the removals.
func (c *cleaner) planStaysEmpty(removals []Removal) bool {
	removed := make(map[string]bool, len(removals))
	for _, r := range removals {
		removed[r.Lease.Key] = true
	}
	left := slices.DeleteFunc(slices.Clone(c.Rows), func(l leases.Lease) bool { return removed[l.Key] })
	return len(Plan(c.Shards, c.Rows, c.Initial, c.Options)) == 0 && len(Plan(c.Shards, left, c.Initial, c.Options)) == 0
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
