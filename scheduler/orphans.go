package scheduler

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// orphans remembers since when each lease of the table has not been renewed. No worker reads the
// shard of such a lease. A lease that is taken again and again without renewals counts as not
// renewed.
type orphans struct {
	mu    sync.Mutex // guards the fields below
	rows  map[string]orphan
	store streak // failed listings of the table
}

type orphan struct {
	stream *stream
	row    leases.Lease
	since  time.Time // the row's first listing, or the last one that shows a renewal or a checkpoint
	change time.Time // the last listing with a new owner or counter
	steady time.Time // since when one owner has changed the row without a break
	// excused says that the time of one outage was not counted. Each row is excused once. Otherwise an
	// unreliable table would hide the row for ever.
	excused bool
}

// observe records a row of the last listing.
func (o *orphans) observe(now time.Time, st *stream, row leases.Lease, failover time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if row.Finished() {
		delete(o.rows, row.Key)
		return
	}
	if o.rows == nil {
		o.rows = map[string]orphan{}
	}
	r, ok := o.rows[row.Key]
	if !ok || r.stream != st {
		o.rows[row.Key] = orphan{stream: st, row: row, since: now, change: now, steady: now}
		return
	}
	if r.row.Counter == row.Counter && r.row.ActualOwner() == row.ActualOwner() {
		return
	}
	// A take adds one to the counter, and the last owner can take the lease again. So an increase by
	// one may be a take. An owner that renews has added more since a late previous listing.
	expired := now.Sub(r.change) > failover && row.Counter-r.row.Counter < 2
	if expired || r.row.ActualOwner() != row.ActualOwner() {
		r.steady = now
	}
	if now.Sub(r.steady) >= failover || r.row.Checkpoint != row.Checkpoint {
		r.since, r.excused = now, false
	}
	r.row, r.change = row, now
	o.rows[row.Key] = r
}

// keep forgets the rows that are not in keys. They were deleted, or their stream is no longer read.
func (o *orphans) keep(keys map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.rows, func(key string, _ orphan) bool { return !keys[key] })
}

// readable records whether the table could be listed. After an outage of the table every row looks
// late, so readable excuses the rows.
func (o *orphans) readable(now time.Time, err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.store.failed(err)
		return false
	}
	if o.store.err != nil {
		for key, r := range o.rows {
			if !r.excused {
				r.since, r.excused = now, true
				o.rows[key] = r
			}
		}
	}
	o.store = streak{}
	return true
}

// storeTrouble returns an error if the table could not be listed for limit.
func (o *orphans) storeTrouble(now time.Time, limit time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store.err == nil || now.Sub(o.store.since) < limit {
		return nil
	}
	return fmt.Errorf("scheduler: the lease table cannot be read since %s: %w", o.store.since.UTC().Format(time.RFC3339),
		o.store.err)
}

// stalls lists the leases that have not been renewed for limit, except those that this worker
// holds.
func (o *orphans) stalls(now time.Time, limit time.Duration, held map[string]*consumer) []*StallError {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store.err != nil {
		now = o.store.since // the outage hides later renewals
	}
	var out []*StallError
	for key, r := range o.rows {
		if held[key] != nil || now.Sub(r.since) < limit || r.stream.err() != nil {
			continue
		}
		err := errors.New("no worker takes the lease: look in the log for writes that the lease table refused, or start " +
			"more workers, or raise MaxLeasesForWorker")
		if owner := r.row.ActualOwner(); owner != "" {
			err = errors.New("worker " + owner + " does not renew the lease, and no other worker takes it")
		}
		out = append(out, &StallError{
			Stream: r.stream.id, ShardID: r.row.ShardID, LeaseKey: key, Layer: LayerLease, Since: r.since, Err: err,
		})
	}
	return out
}
