package scheduler

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// orphans knows since when each lease of the table has not changed: a lease
// that nobody renews is a shard that nobody reads.
type orphans struct {
	mu    sync.Mutex // guards the fields below
	rows  map[string]orphan
	store streak // failures of listing the table
}

type orphan struct {
	stream *stream
	row    leases.Lease
	since  time.Time // when the row of this stream was first seen with this owner and counter
	// excused: an outage was not counted. Each row gets that once, or a table that
	// can be listed now and then would hide it for ever.
	excused bool
}

func (o *orphans) note(now time.Time, st *stream, row leases.Lease) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if row.Finished() {
		delete(o.rows, row.Key)
		return
	}
	old, ok := o.rows[row.Key]
	if ok && old.stream == st && old.row.Counter == row.Counter && old.row.ActualOwner() == row.ActualOwner() {
		return
	}
	if o.rows == nil {
		o.rows = map[string]orphan{}
	}
	o.rows[row.Key] = orphan{stream: st, row: row, since: now}
}

// keep forgets the rows that are not among keys: they have been deleted, or their
// stream is not read any more.
func (o *orphans) keep(keys map[string]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.rows, func(key string, _ orphan) bool { return !keys[key] })
}

// readable takes in whether the table could be listed. While it could not,
// nothing is known about any row, and afterwards everybody is late.
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

// storeTrouble tells that the table has not been listed for limit.
func (o *orphans) storeTrouble(now time.Time, limit time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store.err == nil || now.Sub(o.store.since) < limit {
		return nil
	}
	return fmt.Errorf("scheduler: the lease table cannot be read since %s: %w", o.store.since.UTC().Format(time.RFC3339), o.store.err)
}

// stalls lists the leases that have not been renewed for limit, except those
// that this worker holds.
func (o *orphans) stalls(now time.Time, limit time.Duration, held map[string]*consumer) []*StallError {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.store.err != nil {
		now = o.store.since // nothing is known of the time since
	}
	var out []*StallError
	for key, r := range o.rows {
		if held[key] != nil || now.Sub(r.since) < limit || r.stream.err() != nil {
			continue
		}
		err := errors.New("no worker takes the lease: look in the log for writes that the lease table refused, or start more workers, or raise MaxLeasesForWorker")
		if owner := r.row.ActualOwner(); owner != "" {
			err = errors.New("worker " + owner + " does not renew the lease, and no other takes it")
		}
		out = append(out, &StallError{Stream: r.stream.id, ShardID: r.row.ShardID, LeaseKey: key, Layer: LayerLease, Since: r.since, Err: err})
	}
	return out
}
