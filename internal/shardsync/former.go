package shardsync

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// FormerWatch compares the rows of streams over time, and tells which streams are not read any
// more. No worker of any library has written to a row of such a stream for long. The zero value is
// ready. It is not safe for concurrent use. (The KCL deletes the leases of a stream that is missing
// from its leader's list, even leases that are held.)
type FormerWatch struct {
	streams map[string]formerStream
}

// formerStream says since when the rows of a stream have not changed.
type formerStream struct {
	since time.Time
	rows  map[string]leases.Lease
}

// Observe compares the rows of all streams that are not read any more with the earlier ones. rows
// are as they were read at the local time at. Observe returns the rows to delete, by stream. They
// are those of streams in which no row was changed or added for the time wait.
//
// Delete the rows in the order given, each only if it is unchanged. Stop at the first row that has
// changed. Children come before their parents. If the stream is read again after half of the
// deletions, each parent without a row is finished.
func (w *FormerWatch) Observe(at time.Time, rows []leases.Lease, wait time.Duration) [][]leases.Lease {
	streams := map[string]formerStream{}
	for _, l := range rows {
		now, ok := streams[l.Stream]
		if !ok {
			now = formerStream{since: at, rows: map[string]leases.Lease{}}
			if was, known := w.streams[l.Stream]; known {
				now.since = was.since
			}
		}
		if was, known := w.streams[l.Stream].rows[l.Key]; !known || !was.Same(leases.AttrAll, l) {
			now.since = at
		}
		now.rows[l.Key] = l
		streams[l.Stream] = now
	}
	w.streams = streams
	var due [][]leases.Lease
	for _, name := range slices.Sorted(maps.Keys(streams)) {
		if st := streams[name]; at.Sub(st.since) >= wait {
			due = append(due, childrenFirst(st.rows))
		}
	}
	return due
}

// Forget restarts the wait for a stream, because a worker has written to one of its rows.
func (w *FormerWatch) Forget(stream string) { delete(w.streams, stream) }

// Streams returns the number of streams that are watched.
func (w *FormerWatch) Streams() int { return len(w.streams) }

// childrenFirst returns the rows of one stream, given by key, children before their parents.
func childrenFirst(rows map[string]leases.Lease) []leases.Lease {
	byShard := map[string]leases.Lease{}
	for _, l := range rows {
		byShard[l.ShardID] = l
	}
	var order []leases.Lease // parents first
	added := map[string]bool{}
	var addAfterParents func(l leases.Lease)
	addAfterParents = func(l leases.Lease) {
		if added[l.ShardID] {
			return
		}
		added[l.ShardID] = true
		for _, id := range l.Parents {
			if p, ok := byShard[id]; ok {
				addAfterParents(p)
			}
		}
		order = append(order, l)
	}
	byID := func(a, b leases.Lease) int { return strings.Compare(a.ShardID, b.ShardID) }
	for _, l := range slices.SortedFunc(maps.Values(byShard), byID) {
		addAfterParents(l)
	}
	slices.Reverse(order)
	return order
}
