package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// errRowsVanished says that all rows of a stream are gone while the application
// runs. Reading does not begin anew because of that.
var errRowsVanished = errors.New("the rows of the stream have vanished from the lease table")

// errRowsMissing says that a row has just vanished, and is not made yet.
var errRowsMissing = errors.New("a row has vanished from the lease table a moment ago, and is left to the worker that held it")

// rowMemory is what this process has seen of the rows of its streams. An absent
// row says nothing by itself: the memory tells whether it was there.
type rowMemory struct {
	mu      sync.Mutex           // guards the fields below
	streams map[any]bool         // whose rows were seen, see of
	rows    map[string]time.Time // when a row was in the table last, by key
}

// memoryOf is the key of a stream. Where the rows of former streams are deleted, a
// stream that comes back may rightly find none.
func (s *Scheduler) memoryOf(st *stream) any {
	if s.cfg.FormerStreams.Deletion == NoDeletion {
		return st.label
	}
	return st
}

// noteRows takes in rows that are in the table now.
func (s *Scheduler) noteRows(now time.Time, rows []leases.Lease) {
	m := &s.rowsSeen
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams == nil {
		m.streams = map[any]bool{}
	}
	if m.rows == nil {
		m.rows = map[string]time.Time{}
	}
	for _, row := range rows {
		if st := s.streams.of(row); st != nil {
			m.streams[s.memoryOf(st)] = true
			m.rows[row.Key] = now
		}
	}
	for key, at := range m.rows {
		if now.Sub(at) > time.Hour {
			delete(m.rows, key)
		}
	}
}

// sawStream takes in that the stream has rows.
func (s *Scheduler) sawStream(st *stream) {
	s.rowsSeen.mu.Lock()
	defer s.rowsSeen.mu.Unlock()
	if s.rowsSeen.streams == nil {
		s.rowsSeen.streams = map[any]bool{}
	}
	s.rowsSeen.streams[s.memoryOf(st)] = true
}

// saw tells whether this process has seen rows of the stream.
func (s *Scheduler) saw(st *stream) bool {
	s.rowsSeen.mu.Lock()
	defer s.rowsSeen.mu.Unlock()
	return s.rowsSeen.streams[s.memoryOf(st)]
}

// listFor lists the rows for a synchronisation of streams. That one of them has
// none must be the truth, and not a listing that lags.
func (s *Scheduler) listFor(ctx context.Context, streams ...*stream) (leases.Listing, error) {
	if slices.ContainsFunc(streams, func(st *stream) bool { return !s.saw(st) }) {
		return s.listRowsBy(ctx, s.cfg.Leases.ListNow)
	}
	listing, err := s.listRows(ctx)
	if err == nil && slices.ContainsFunc(streams, func(st *stream) bool { return !st.hasRows(listing.Leases) }) {
		return s.listRowsBy(ctx, s.cfg.Leases.ListNow)
	}
	return listing, err
}

// isNew tells whether the application begins to read a stream: none of rows, which
// are those of listFor, is the stream's, and this process has never seen one.
// Another process that has seen rows fails in the same way.
func (s *Scheduler) isNew(st *stream, rows []leases.Lease) (bool, error) {
	switch {
	case st.hasRows(rows):
		s.sawStream(st)
		return false, nil
	case s.saw(st):
		return false, fmt.Errorf("%w: stream %s: workers that hold leases make theirs again; for the others restore the table, or the rows (`kclctl leases restore`), "+
			"or start all workers again to begin anew at the initial position", errRowsVanished, st.label)
	}
	return true, nil
}

// holdBack takes those rows out of a plan that are not to be made now: of a row that
// vanished a moment ago the holder knows where it stood, and one that is deleted
// again and again is left to people. The error says that some are left for later.
func (s *Scheduler) holdBack(plan []leases.Lease) ([]leases.Lease, error) {
	given := map[string]bool{}
	for _, e := range s.coord.Vanished() {
		given[e.Held.Key] = true
	}
	s.rowsSeen.mu.Lock()
	defer s.rowsSeen.mu.Unlock()
	var err error
	plan = slices.DeleteFunc(slices.Clone(plan), func(l leases.Lease) bool {
		if at, ok := s.rowsSeen.rows[l.Key]; ok && time.Since(at) < s.holderTime() {
			err = fmt.Errorf("%w: %s", errRowsMissing, l.Key)
			return true
		}
		return given[l.Key]
	})
	return plan, err
}

// holderTime is for how long a worker may hold the lease of a row that vanished,
// and more than what listings lag behind.
func (s *Scheduler) holderTime() time.Duration { return 2 * s.cfg.FailoverTime }

// vanished lists the shards whose rows vanished under this worker.
func (s *Scheduler) vanished() []*StallError {
	var out []*StallError
	for _, e := range s.coord.Vanished() {
		if st := s.streams.of(e.Held); st != nil && st.err() == nil {
			out = append(out, &StallError{Stream: st.id, ShardID: e.Held.ShardID, LeaseKey: e.Held.Key, Layer: LayerLease, Since: e.Since, Err: e})
		}
	}
	return out
}
