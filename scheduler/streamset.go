package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// streamSet has the streams that this worker reads. It is safe for concurrent use.
type streamSet struct {
	log      *slog.Logger
	multi    bool          // lease keys name the stream
	tracking bool          // there is a StreamTracker, so new streams may follow the last stream
	refresh  chan struct{} // asks the tracker to refresh its list; holds one request
	fail     func(error)   // ends Run with an error; set when Run begins

	mu      sync.Mutex         // guards the fields below
	streams []*stream          // not sorted; the slice is replaced, never changed
	byRow   map[string]*stream // the same streams, by Lease.Stream
}

func newStreamSet(cfg Config, log *slog.Logger) *streamSet {
	return &streamSet{log: log, multi: cfg.multi(), tracking: cfg.StreamTracker != nil, refresh: make(chan struct{}, 1)}
}

// all returns the streams. The caller must not change the slice.
func (s *streamSet) all() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams
}

// ofRow returns the stream of a row, or nil.
func (s *streamSet) ofRow(row leases.Lease) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byRow[row.Stream]
}

func (s *streamSet) set(streams []*stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setLocked(streams)
}

func (s *streamSet) setLocked(streams []*stream) {
	s.streams, s.byRow = streams, make(map[string]*stream, len(streams))
	for _, st := range streams {
		s.byRow[st.rowStream()] = st
	}
}

// replace removes the stream old and adds the stream st; each may be nil. If the set already has
// another stream with st's label, replace changes nothing and returns that stream.
func (s *streamSet) replace(old, st *stream) (twin *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var streams []*stream // readers of all may hold the old slice
	for _, other := range s.streams {
		switch {
		case other == old && st != nil:
			streams, st = append(streams, st), nil
		case other == old:
		case st != nil && other.label == st.label:
			return other
		default:
			streams = append(streams, other)
		}
	}
	if st != nil {
		streams = append(streams, st)
	}
	s.setLocked(streams)
	return nil
}

// stop ends reading a stream. After the last stream of Config.Streams, Run ends with the errors. If
// there are several streams, the tracker opens a stream that was created again.
func (s *streamSet) stop(ctx context.Context, st *stream, err error) {
	if !st.stop(err) {
		return
	}
	s.log.ErrorContext(ctx, "stream is no longer read", "stream", st.label, "err", err)
	if s.multi {
		select {
		case s.refresh <- struct{}{}:
		default:
		}
	}
	if s.tracking {
		return
	}
	var errs []error
	for _, other := range s.all() {
		e := other.err()
		if e == nil || (s.multi && errors.Is(e, kcl.ErrStreamRecreated)) {
			return
		}
		errs = append(errs, e)
	}
	s.fail(errors.Join(errs...))
}
