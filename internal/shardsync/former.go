package shardsync

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// FormerWatch tells when nobody reads a stream any more, from one look at the
// rows to the next: no worker, of whatever library, has written to any of them
// for long. The zero value is ready. It is not safe for concurrent use. (The KCL
// deletes the leases of a stream that its leader's list lacks, whoever holds
// them.)
type FormerWatch struct {
	streams map[string]formerStream
}

// formerStream is since when the rows of a stream have stood still.
type formerStream struct {
	since time.Time
	rows  map[string]leases.Lease
}

// Note takes in the rows of all streams that are not read any more, as they are
// at the local time at. It returns those to delete, by stream: the streams none
// of whose rows has changed, and to which no row was added, for wait. Delete
// each only if it is the same still, in this order, and stop at the first that
// has changed. Children come before their parents: what is left then, should the
// stream be read again, never looks as if a parent had been finished.
func (w *FormerWatch) Note(at time.Time, rows []leases.Lease, wait time.Duration) [][]leases.Lease {
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

// Forget begins anew with a stream: somebody has written to a row of it.
func (w *FormerWatch) Forget(stream string) { delete(w.streams, stream) }

// Streams returns how many streams there are that nobody may be reading.
func (w *FormerWatch) Streams() int { return len(w.streams) }

// childrenFirst sorts the rows of one stream, given by key.
func childrenFirst(rows map[string]leases.Lease) []leases.Lease {
	byShard := map[string]leases.Lease{}
	for _, l := range rows {
		byShard[l.ShardID] = l
	}
	var order []leases.Lease // parents first
	placed := map[string]bool{}
	var place func(l leases.Lease)
	place = func(l leases.Lease) {
		if placed[l.ShardID] {
			return
		}
		placed[l.ShardID] = true
		for _, id := range l.Parents {
			if p, ok := byShard[id]; ok {
				place(p)
			}
		}
		order = append(order, l)
	}
	for _, l := range slices.SortedFunc(maps.Values(byShard), func(a, b leases.Lease) int { return strings.Compare(a.ShardID, b.ShardID) }) {
		place(l)
	}
	slices.Reverse(order)
	return order
}
