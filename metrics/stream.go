package metrics

import "sync/atomic"

// Stream is the metrics of one stream, without those of its shards. A nil *Stream is a no-op. It is
// safe for concurrent use.
type Stream struct {
	m      *Metrics
	stream string
	closed atomic.Bool // a late call must not make a removed series again
}

// Stream returns the metrics of a stream. Close it when the stream is not read
// any more.
func (m *Metrics) Stream(stream string) *Stream {
	if m == nil {
		return nil
	}
	return &Stream{m: m, stream: stream}
}

// ShardSyncError counts a failed synchronisation with the stream's shards.
func (s *Stream) ShardSyncError() { s.record(ShardSyncErrors, 1) }

// SetHashRangeHoles says how many ranges of hash keys of the stream no worker reads.
func (s *Stream) SetHashRangeHoles(n int) { s.record(HashRangeHoles, float64(n)) }

// Close removes the stream's series. The series of its shards end with their consumers. Later
// numbers are lost.
func (s *Stream) Close() {
	if s == nil {
		return
	}
	s.closed.Store(true)
	for _, d := range All() {
		if len(d.Labels) == 1 && d.Labels[0] == "stream" {
			s.m.sink.Remove(d, s.stream)
		}
	}
}

// record makes the series if there is none. A call that overlaps with Close may make the series
// again, so it removes the series too.
func (s *Stream) record(d *Desc, v float64) {
	if s == nil || s.closed.Load() {
		return
	}
	s.m.record(d, v, s.stream)
	if s.closed.Load() {
		s.m.sink.Remove(d, s.stream)
	}
}
