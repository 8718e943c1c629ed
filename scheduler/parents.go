package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// absentAge is how old the list of shards may be that explains why a parent has no row.
const absentAge = 5 * time.Second

const parentPoll = 500 * time.Millisecond // between two checks of the parents

// parentWait waits until no parent holds a shard back.
type parentWait struct {
	*shardLease
	orphaned streak            // waits for a parent without a row
	probes   map[string]*probe // of such parents
}

// wait returns when no parent holds the shard back, see parentState.
func (w *parentWait) wait(ctx context.Context) outcome {
	for {
		w.progress.storeAsked()
		finished, err := w.parentsFinished(ctx)
		w.progress.storeAnswered(err)
		if finished {
			break
		}
		if w.arrived = w.behindTarget(); w.arrived {
			return stopped
		}
		if out := w.pause(ctx, parentPoll); out != done {
			return out
		}
	}
	if len(w.start.Parents) > 0 && w.startsAtATime() {
		// A parent may have moved the pin, see moveChildStart.
		for {
			w.progress.storeAsked()
			row, err := w.cfg.table.Get(ctx, w.key)
			w.progress.storeAnswered(err)
			if err == nil {
				if !row.PinnedAt.IsZero() {
					w.start.PinnedAt = row.PinnedAt
					w.holder.Amend(row, leases.AttrPinnedAt)
				}
				break
			}
			if out := w.pause(ctx, parentPoll); out != done {
				return out
			}
		}
	}
	if ctx.Err() != nil {
		return lost
	}
	return done
}

// parentsFinished tells whether no parent holds the shard back any more. It asks about
// all of them each time: a missing row can have been made again meanwhile.
func (w *parentWait) parentsFinished(ctx context.Context) (bool, error) {
	all := true
	var ends []string
	var lost error
	for _, parent := range w.start.Parents {
		state, err := w.parentState(ctx, parent)
		if err != nil {
			return false, err
		}
		switch state {
		case parentEnded:
			ends = append(ends, parent)
		case parentMissing:
			lost = firstError(lost, w.parentLost(parent))
			all = false
		case parentUnread:
			all = false
		}
	}
	w.recordLost(lost)
	if !all {
		return false, nil
	}
	// The last scan may be old, and a finished row can have been put back. A row that is
	// gone by now was finished.
	for _, parent := range ends {
		row, found, err := w.rowNow(ctx, parent)
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
// The end of c makes the row of e. If a and b are still being read then, d has no row yet, and e
// must wait all the same. And a row can have been deleted. So the shard goes on without the
// parent's row only if it has begun itself, if reading began with it (its start is LATEST or a
// time), or if nothing is left in the parent: it has left the retention period, or is empty from
// end to end. No clean-up deletes the row of a parent before its children have begun.
//
// A parent that has left the retention period keeps its row; the consumer that
// holds it finds out, and writes SHARD_END.
func (w *parentWait) parentState(ctx context.Context, parent string) (parentState, error) {
	row, found, err := w.rowOf(ctx, parent)
	switch {
	case err != nil:
		return parentUnread, err
	case found && row.Finished():
		return parentEnded, nil
	case found:
		return parentUnread, nil
	case !w.start.Checkpoint.IsSentinel():
		return parentPassed, nil // this shard has begun, so its parents had ended, and were cleaned up since
	}
	list, err := w.stream.lineage.get(ctx, absentAge)
	if err != nil {
		return parentUnread, err
	}
	shard, listed := list.byID[parent]
	frontier := w.start.Checkpoint.SequenceNumber != kcl.SentinelTrimHorizon
	if listed || !frontier {
		waiting, err := w.willGetRow(ctx, parent, map[string]bool{})
		if err != nil || waiting {
			return parentUnread, err
		}
	}
	// An ancestor can have ended, and made the row, since the row was asked for.
	row, found, err = w.rowNow(ctx, parent)
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
	if w.probes == nil {
		w.probes = map[string]*probe{}
	}
	if w.probes[parent] == nil {
		w.probes[parent] = &probe{}
	}
	if shard.Closed() && w.probes[parent].step(ctx, w.cfg.control.client, w.stream.id, parent) {
		return parentPassed, nil
	}
	return parentMissing, nil
}

// rowOf returns a row of the last scan, which may be old. If the scan has no row, as
// before the first one, rowOf asks the table.
func (w *parentWait) rowOf(ctx context.Context, shardID string) (leases.Lease, bool, error) {
	if row, ok := w.cfg.coord.Lookup(shardsync.LeaseKey(w.stream.id, shardID, w.stream.multi)); ok {
		return row, true, nil
	}
	return w.rowNow(ctx, shardID)
}

// rowNow asks the table.
func (w *parentWait) rowNow(ctx context.Context, shardID string) (leases.Lease, bool, error) {
	row, err := w.cfg.table.Get(ctx, shardsync.LeaseKey(w.stream.id, shardID, w.stream.multi))
	if errors.Is(err, leases.ErrNotFound) {
		return leases.Lease{}, false, nil
	}
	return row, err == nil, err
}

// willGetRow tells whether a shard without a row will get one: an ancestor of it is still
// being read. Otherwise the application never read the shard, or finished it and its row
// was removed. seen are ancestors that were asked already: each split that was merged
// again doubles the number of ways to an ancestor.
func (w *parentWait) willGetRow(ctx context.Context, shardID string, seen map[string]bool) (bool, error) {
	list, err := w.stream.lineage.get(ctx, absentAge)
	if err != nil {
		return false, err
	}
	shard, listed := list.byID[shardID]
	if !listed {
		// Gone, or so new that the list does not show it yet.
		gone, err := w.cfg.control.shardExpired(ctx, w.stream, list, shardID)
		return !gone, err
	}
	for _, parent := range shard.Parents() {
		if seen[parent] {
			continue
		}
		seen[parent] = true
		row, found, err := w.rowOf(ctx, parent)
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
			gone, err := w.cfg.control.shardExpired(ctx, w.stream, list, parent)
			if err != nil || !gone {
				return !gone, err
			}
			continue // expired without ever having been read
		}
		if waiting, err := w.willGetRow(ctx, parent, seen); err != nil || waiting {
			return waiting, err
		}
	}
	return false, nil
}

// behindTarget tells whether the shard has nothing to read: a parent was read up to the
// target and has not ended, so the shard began later.
func (w *parentWait) behindTarget() bool {
	for _, parent := range w.start.Parents {
		row, ok := w.cfg.coord.Lookup(shardsync.LeaseKey(w.stream.id, parent, w.stream.multi))
		if ok && !row.Finished() && w.cfg.tip.reached(row) {
			return true
		}
	}
	return false
}

// parentLost is what is wrong with a parent that is listed and has no row, nor gets
// one: the row was deleted, or the shard was missed when the first rows were made.
// Whether its records were read nobody knows.
func (w *parentWait) parentLost(shardID string) error {
	return fmt.Errorf("row of parent lost: %[1]s has no row in the lease table, and nobody knows how far it was read: "+
		"run `kclctl leases restore -finished %[1]s` or `kclctl leases restore -at POSITION %[1]s`",
		shardsync.LeaseKey(w.stream.id, shardID, w.stream.multi))
}

// recordLost records that a parent has no row, or nil. Its holder or the end of an
// ancestor may soon make the row, so that counts as lost only after holderTime.
func (w *parentWait) recordLost(err error) {
	w.orphaned.set(err)
	lost := w.orphaned
	if time.Since(lost.since) < w.cfg.holderTime {
		lost = streak{}
	}
	w.progress.setParentLost(lost)
}
