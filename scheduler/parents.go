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

// absentAge is the maximal age of the list of shards that explains a parent without a row.
const absentAge = 5 * time.Second

const parentPoll = 500 * time.Millisecond // between two checks of the parents

// parentWait waits until no parent holds a shard back.
type parentWait struct {
	*shardLease
	orphaned streak            // checks that found a parent without a row
	probes   map[string]*probe // probes of parents without a row, by shard id
}

// wait waits until no parent holds the shard back, see parentState.
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
		// Read the row again: a parent may have moved the pin, see moveChildStart.
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

// parentsFinished tells whether no parent holds the shard back. Each call checks all parents,
// because a missing row can have been made again.
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
		case shardsync.ParentEnded:
			ends = append(ends, parent)
		case shardsync.ParentMissing:
			lost = firstError(lost, w.parentLost(parent))
			all = false
		case shardsync.ParentUnread:
			all = false
		}
	}
	w.recordLost(lost)
	if !all {
		return false, nil
	}
	// The last scan may be old, and somebody may have reset a finished row. So read these rows again.
	// A row that is missing now was finished.
	for _, parent := range ends {
		row, found, err := w.rowNow(ctx, parent)
		if err != nil || (found && !row.Finished()) {
			return false, err
		}
	}
	return true, nil
}

// parentState tells whether a parent holds this shard back.
//
// A missing row alone proves nothing. In this example a and b are merged to d, and d and c to e:
//
//	a ---.
//	      d ---.
//	b ---'      e
//	c ---------'
//
// The end of c makes the row of e. While a and b are still being read, d has no row, and e must
// wait. A row can also have been deleted. So this shard starts without a parent's row only in three
// cases. This shard has begun already. Or the application began to read at this shard (its start is
// LATEST or a time). Or the parent has no records: it has left the retention period, or it is empty
// from end to end. Clean-up never deletes the row of a parent before its children have begun.
//
// A parent with a row can leave the retention period too. The consumer that holds its lease then
// writes SHARD_END.
func (w *parentWait) parentState(ctx context.Context, parent string) (shardsync.ParentState, error) {
	row, found, err := w.rowOf(ctx, parent)
	if err != nil {
		return shardsync.ParentUnread, err
	}
	if state, known := shardsync.JudgeParent(w.start, found, row); known {
		return state, nil
	}
	list, err := w.stream.lineage.get(ctx, absentAge)
	if err != nil {
		return shardsync.ParentUnread, err
	}
	shard, listed := list.byID[parent]
	firstShard := w.start.Checkpoint.SequenceNumber != kcl.SentinelTrimHorizon
	if listed || !firstShard {
		waiting, err := w.willGetRow(ctx, parent, map[string]bool{})
		if err != nil || waiting {
			return shardsync.ParentUnread, err
		}
	}
	// An ancestor may have ended after the first read of the row, and made the row.
	row, found, err = w.rowNow(ctx, parent)
	if err != nil {
		return shardsync.ParentUnread, err
	}
	if state, known := shardsync.JudgeParent(w.start, found, row); known {
		return state, nil
	}
	if firstShard || !listed {
		return shardsync.ParentPassed, nil
	}
	if w.probes == nil {
		w.probes = map[string]*probe{}
	}
	if w.probes[parent] == nil {
		w.probes[parent] = &probe{}
	}
	if shard.Closed() && w.probes[parent].step(ctx, w.cfg.control.client, w.stream.id, parent) {
		return shardsync.ParentPassed, nil
	}
	return shardsync.ParentMissing, nil
}

// rowOf returns the row of a shard from the last scan, which may be old. If the scan has no such
// row, rowOf reads the table.
func (w *parentWait) rowOf(ctx context.Context, shardID string) (leases.Lease, bool, error) {
	if row, ok := w.cfg.coord.Lookup(shardsync.LeaseKey(w.stream.id, shardID, w.stream.multi)); ok {
		return row, true, nil
	}
	return w.rowNow(ctx, shardID)
}

// rowNow reads the row of a shard from the table.
func (w *parentWait) rowNow(ctx context.Context, shardID string) (leases.Lease, bool, error) {
	row, err := w.cfg.table.Get(ctx, shardsync.LeaseKey(w.stream.id, shardID, w.stream.multi))
	if errors.Is(err, leases.ErrNotFound) {
		return leases.Lease{}, false, nil
	}
	return row, err == nil, err
}

// willGetRow tells whether a shard without a row will get one, because an ancestor is still being
// read. Otherwise the application never read the shard, or it finished the shard and the row was
// removed. seen has the ancestors that were checked already. Without seen, each split that was
// merged again would double the number of paths to an ancestor.
func (w *parentWait) willGetRow(ctx context.Context, shardID string, seen map[string]bool) (bool, error) {
	list, err := w.stream.lineage.get(ctx, absentAge)
	if err != nil {
		return false, err
	}
	shard, listed := list.byID[shardID]
	if !listed {
		// The shard has expired, or is too new for the list.
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
			// The end of this parent made the missing row, so the row was removed later.
			continue
		}
		if _, listed := list.byID[parent]; !listed {
			gone, err := w.cfg.control.shardExpired(ctx, w.stream, list, parent)
			if err != nil || !gone {
				return !gone, err
			}
			continue // the parent expired unread
		}
		if waiting, err := w.willGetRow(ctx, parent, seen); err != nil || waiting {
			return waiting, err
		}
	}
	return false, nil
}

// behindTarget tells whether a parent was read up to the target of StopAtTip and has not ended. If
// so, this shard began after the target, and has nothing to read.
func (w *parentWait) behindTarget() bool {
	for _, parent := range w.start.Parents {
		row, ok := w.cfg.coord.Lookup(shardsync.LeaseKey(w.stream.id, parent, w.stream.multi))
		if ok && !row.Finished() && w.cfg.tip.reached(row) {
			return true
		}
	}
	return false
}

// parentLost returns the error for a parent that is listed, has no row and will not get one. Either
// the row was deleted, or the first synchronisation missed the shard. Nothing shows whether its
// records were read.
func (w *parentWait) parentLost(shardID string) error {
	return fmt.Errorf("row of parent lost: %[1]s has no row in the lease table, and its checkpoint is unknown: "+
		"run `kclctl leases restore -finished %[1]s` or `kclctl leases restore -at POSITION %[1]s`",
		shardsync.LeaseKey(w.stream.id, shardID, w.stream.multi))
}

// recordLost records the error that a parent has no row, or nil. The holder of the lease or the end
// of an ancestor may soon make the row. So the row counts as lost only after holderTime.
func (w *parentWait) recordLost(err error) {
	w.orphaned.set(err)
	lost := w.orphaned
	if time.Since(lost.since) < w.cfg.holderTime {
		lost = streak{}
	}
	w.progress.setParentLost(lost)
}
