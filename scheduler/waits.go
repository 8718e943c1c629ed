package scheduler

import (
	"fmt"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// remoteWait is how long a parent that another worker reads may go without a checkpoint before its
// children report it as stuck. This worker sees no other sign of that parent's progress.
const remoteWait = 10 * time.Minute

// waits remembers the ancestor that each waiting shard waits for, and since when that ancestor made
// no progress. It outlives consumers, because each lease gets a new consumer. Only the watchdog's
// goroutine changes it.
type waits struct {
	mu    sync.Mutex // guards byKey
	byKey map[string]wait
}

// wait is the ancestor that one shard waits for.
type wait struct {
	shard string // the ancestor that has to end first
	mark  ancestorMark
	since time.Time // since when mark has not changed
}

// ancestorMark has the values that change while an ancestor makes progress.
type ancestorMark struct {
	row        bool // the ancestor has a row
	owner      string
	checkpoint kcl.ExtendedSequenceNumber

	here    bool      // this worker reads the ancestor
	records uint64    // records that this worker has processed
	nearer  time.Time // when reading last came nearer to the tip; zero at the tip
}

// update replaces the waits of the consumers of this worker.
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

// stuck returns an error that names the ancestor without progress for which a shard waits, and
// since when. It returns nil if there is none.
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
		err = fmt.Errorf("the parent shard %s has not ended, and no record of it was processed for a while", wait.shard)
	default:
		err = fmt.Errorf("the parent shard %s has not ended, and worker %s has written no checkpoint of it for a while",
			wait.shard, wait.mark.owner)
	}
	return since, err
}

// observeWaits records the ancestors that the consumers of this worker wait for, from the rows of
// the last scan.
func (w *watchdog) observeWaits(now time.Time, rows []leases.Lease) {
	consumers := w.consumers.all()
	var byKey map[string]leases.Lease
	waiting := map[string]wait{}
	for key, c := range consumers {
		if c.progress.stateNow() != StateWaitingOnParents {
			continue
		}
		if byKey == nil { // made for the first waiting consumer: mostly there is none
			byKey = make(map[string]leases.Lease, len(rows))
			for _, row := range rows {
				byKey[row.Key] = row
			}
		}
		if shard := c.stream.blocker(c.holder.Lease().Parents, byKey, map[string]bool{c.shard.ID: true}, true); shard != "" {
			parent := shardsync.LeaseKey(c.stream.id, shard, c.stream.multi)
			row, ok := byKey[parent]
			m := ancestorMark{row: ok, owner: row.ActualOwner(), checkpoint: row.Checkpoint}
			if reader := consumers[parent]; reader != nil {
				m.here = true
				m.records, m.nearer = reader.progress.lastAdvance()
			}
			waiting[key] = wait{shard: shard, mark: m}
		}
	}
	w.waits.update(now, waiting)
}

// blocker returns the ancestor that must make progress before a shard can start. It returns an
// empty string if all ancestors have ended. With direct, a parent without a row counts as not
// ended. The rows of older ancestors may have been removed by clean-up.
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
