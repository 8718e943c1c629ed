package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// absentAge is how old the list of shards may be that explains why a parent
// has no row.
const absentAge = 5 * time.Second

// parentsFinished tells whether no parent holds this shard back any more. All
// of them are asked each time: one whose row was missing can have got it back
// while the shard waited for the other.
func (c *consumer) parentsFinished(ctx context.Context) (bool, error) {
	all := true
	var ends []string
	var lost error
	for _, parent := range c.start.Parents {
		state, err := c.parentState(ctx, parent)
		if err != nil {
			return false, err
		}
		switch state {
		case parentEnded:
			ends = append(ends, parent)
		case parentMissing:
			lost = firstError(lost, c.parentLost(parent))
			all = false
		case parentUnread:
			all = false
		}
	}
	c.lost(lost)
	if !all {
		return false, nil
	}
	// The last scan may be old, and a row at its end can have been put back. One
	// that is gone by now was at its end.
	for _, parent := range ends {
		row, found, err := c.rowNow(ctx, parent)
		if err != nil || (found && !row.Finished()) {
			return false, err
		}
	}
	return true, nil
}

// parentState is what a parent means to this shard.
type parentState int

const (
	parentUnread  parentState = iota // it is still to be read
	parentEnded                      // its row says SHARD_END
	parentPassed                     // it has no row, and this shard need not wait for it
	parentMissing                    // it has no row, and should have one
)

// parentState tells whether a parent no longer holds this shard back.
//
// A row that is missing proves nothing by itself. Of three shards, a and b are
// merged to d, and d and c to e:
//
//	a ---.
//	      d ---.
//	b ---'      e
//	c ---------'
//
// The end of c makes the row of e. If a and b are still being read then, d has
// no row yet, and e must wait all the same. And a row can have been deleted. So
// the shard goes on without the parent's row only if it has begun itself, if
// reading began with it (its start is LATEST or a time), or if nothing is left in
// the parent: it has left the retention period, or is empty from end to end.
// No clean-up deletes the row of a parent before its children have begun.
//
// A parent that has left the retention period keeps its row; the consumer that
// holds it finds out, and writes SHARD_END.
func (c *consumer) parentState(ctx context.Context, parent string) (parentState, error) {
	row, found, err := c.rowOf(ctx, parent)
	switch {
	case err != nil:
		return parentUnread, err
	case found && row.Finished():
		return parentEnded, nil
	case found:
		return parentUnread, nil
	case !c.start.Checkpoint.IsSentinel():
		return parentPassed, nil // this shard has begun, so its parents had ended, and were cleaned up since
	}
	list, err := c.stream.lineage.get(ctx, absentAge)
	if err != nil {
		return parentUnread, err
	}
	shard, listed := list.byID[parent]
	frontier := c.start.Checkpoint.SequenceNumber != kcl.SentinelTrimHorizon
	if listed || !frontier {
		comes, err := c.comes(ctx, parent, map[string]bool{})
		if err != nil || comes {
			return parentUnread, err
		}
	}
	// An ancestor can have ended, and made the row, between the two looks.
	row, found, err = c.rowNow(ctx, parent)
	switch {
	case err != nil:
		return parentUnread, err
	case found && row.Finished():
		return parentEnded, nil
	case found:
		return parentUnread, nil
	case frontier || !listed:
		return parentPassed, nil
	}
	if c.probes == nil {
		c.probes = map[string]*probe{}
	}
	if c.probes[parent] == nil {
		c.probes[parent] = &probe{}
	}
	if shard.Closed() && c.probes[parent].look(ctx, c.s.cfg.Kinesis, c.stream.id, parent) {
		return parentPassed, nil
	}
	return parentMissing, nil
}

// rowOf looks at the last scan first, which may be old; only when it shows no row,
// as before the first scan, the table is asked.
func (c *consumer) rowOf(ctx context.Context, shardID string) (leases.Lease, bool, error) {
	if row, ok := c.s.coord.Lookup(shardsync.Key(c.stream.id, shardID, c.stream.multi)); ok {
		return row, true, nil
	}
	return c.rowNow(ctx, shardID)
}

// rowNow asks the table.
func (c *consumer) rowNow(ctx context.Context, shardID string) (leases.Lease, bool, error) {
	row, err := c.s.cfg.Leases.Get(ctx, shardsync.Key(c.stream.id, shardID, c.stream.multi))
	if errors.Is(err, leases.ErrNotFound) {
		return leases.Lease{}, false, nil
	}
	return row, err == nil, err
}

// comes tells whether a shard without a row will get one: an ancestor of it is
// still being read. If none is, the shard was never part of what the
// application reads, or was finished and its row removed. seen are shards that
// were looked at already: each split that was merged again doubles the number
// of ways to an ancestor.
func (c *consumer) comes(ctx context.Context, shardID string, seen map[string]bool) (bool, error) {
	list, err := c.stream.lineage.get(ctx, absentAge)
	if err != nil {
		return false, err
	}
	shard, listed := list.byID[shardID]
	if !listed {
		// Gone, or so new that the list does not show it yet.
		gone, err := c.s.control.shardExpired(ctx, c.stream, list, shardID)
		return !gone, err
	}
	for _, parent := range shard.Parents() {
		if seen[parent] {
			continue
		}
		seen[parent] = true
		row, found, err := c.rowOf(ctx, parent)
		switch {
		case err != nil:
			return false, err
		case found && !row.Finished():
			return true, nil
		case found:
			// Its end made the row that is missing now: that was removed.
			continue
		}
		if _, listed := list.byID[parent]; !listed {
			gone, err := c.s.control.shardExpired(ctx, c.stream, list, parent)
			if err != nil || !gone {
				return !gone, err
			}
			continue // expired without ever having been read
		}
		if comes, err := c.comes(ctx, parent, seen); err != nil || comes {
			return comes, err
		}
	}
	return false, nil
}
