package scheduler

import (
	"fmt"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// remoteWait is how long a shard that another worker reads may write no
// checkpoint before its children call it stuck. Nothing else is seen of it here.
const remoteWait = 10 * time.Minute

// waits knows which ancestor each waiting shard waits for, and since when that ancestor
// has not moved. It outlives consumers, which are replaced with every lease. Only the
// watchdog's goroutine changes it.
type waits struct {
	mu    sync.Mutex // guards byKey
	byKey map[string]wait
}

// wait is what one shard waits for.
type wait struct {
	shard string // the ancestor that has to end first
	mark  mark
	since time.Time // mark has been the same
}

// mark is what changes while an ancestor comes nearer to its end.
type mark struct {
	row        bool // it has one
	owner      string
	checkpoint kcl.ExtendedSequenceNumber

	here    bool      // this worker reads it
	records uint64    // that it has processed
	nearer  time.Time // when it last came nearer to the tip; zero at the tip
}

// update replaces what the consumers of this worker wait for.
func (w *waits) update(now time.Time, waiting map[string]wait) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, n := range waiting {
		n.since = now
		if old, ok := w.byKey[key]; ok && old.shard == n.shard && old.mark == n.mark {
			n.since = old.since
		}
		waiting[key] = n
	}
	w.byKey = waiting
}

// stuck says of a shard which ancestor does not come to its end, and since when.
func (w *waits) stuck(now time.Time, limit time.Duration, key string) (since time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	wait, ok := w.byKey[key]
	switch {
	case !ok:
		return time.Time{}, nil
	case wait.mark.row && !wait.mark.here:
		limit = max(limit, remoteWait)
	}
	switch since = wait.since; {
	case now.Sub(since) < limit:
		return time.Time{}, nil
	case !wait.mark.row:
		err = fmt.Errorf("the parent shard %s has no row in the lease table, and may have unread records", wait.shard)
	case wait.mark.owner == "":
		err = fmt.Errorf("the parent shard %s has not been read to its end, and no worker holds its lease", wait.shard)
	case wait.mark.here:
		err = fmt.Errorf("the parent shard %s does not come to its end: no record was processed meanwhile", wait.shard)
	default:
		err = fmt.Errorf("the parent shard %s does not come to its end: worker %s has written no checkpoint of it meanwhile",
			wait.shard, wait.mark.owner)
	}
	return since, err
}

// observeWaits records what the consumers of this worker wait for, by the rows of the last scan.
func (w *watchdog) observeWaits(now time.Time, rows []leases.Lease) {
	consumers := w.consumers.all()
	var byKey map[string]leases.Lease
	waiting := map[string]wait{}
	for key, c := range consumers {
		if c.progress.stateNow() != StateWaitingOnParents {
			continue
		}
		if byKey == nil { // most of the time nobody waits
			byKey = make(map[string]leases.Lease, len(rows))
			for _, row := range rows {
				byKey[row.Key] = row
			}
		}
		if shard := c.stream.blocker(c.holder.Lease().Parents, byKey, map[string]bool{c.shard.ID: true}, true); shard != "" {
			parent := shardsync.LeaseKey(c.stream.id, shard, c.stream.multi)
			row, ok := byKey[parent]
			m := mark{row: ok, owner: row.ActualOwner(), checkpoint: row.Checkpoint}
			if reader := consumers[parent]; reader != nil {
				m.here = true
				m.records, m.nearer = reader.progress.lastAdvance()
			}
			waiting[key] = wait{shard: shard, mark: m}
		}
	}
	w.waits.update(now, waiting)
}

// blocker returns the ancestor that has to move before a shard can start, or nothing if
// all of them have ended. A parent without a row counts only
// for the shard itself: rows of older ones are removed in time.
func (st *stream) blocker(parents []string, rows map[string]leases.Lease, seen map[string]bool, direct bool) string {
	for _, parent := range parents {
		row, ok := rows[shardsync.LeaseKey(st.id, parent, st.multi)]
		if seen[parent] || row.Finished() {
			continue
		}
		seen[parent] = true
		above := row.Parents
		if !ok {
			above = st.lineage.parents(parent)
		}
		if !row.Started() {
			if ancestor := st.blocker(above, rows, seen, false); ancestor != "" {
				return ancestor
			}
		}
		if ok || direct {
			return parent
		}
	}
	return ""
}
