package metrics

import (
	"sync/atomic"
	"time"
)

// Shard is the metrics of one shard that this worker owns. A nil *Shard is a
// no-op. It is safe for concurrent use.
type Shard struct {
	m             *Metrics
	stream, shard string
	closed        atomic.Bool // a late call must not make a removed series again

	records, bytes, batches, behind Series
	users                           Series
	process, opened, mode           Series
	checkpoint, stalled             Series
	corrupt, dropped, undecoded     Series
}

// Batch counts one batch that was read, with so many Kinesis records. An unknown lag is not
// recorded.
func (s *Shard) Batch(records, bytes int, behind time.Duration, known bool) {
	if s == nil {
		return
	}
	s.batches.Record(1)
	if known {
		s.behind.Record(behind.Seconds())
	}
	if records > 0 {
		s.records.Record(float64(records))
		s.bytes.Record(float64(bytes))
	}
}

// AggregatesCorrupt counts records that look like aggregates and are not valid.
func (s *Shard) AggregatesCorrupt(n int) {
	if s != nil && n > 0 {
		s.corrupt.Record(float64(n))
	}
}

// RecordsDropped counts user records that are dropped because they belong to another shard.
func (s *Shard) RecordsDropped(n int) {
	if s != nil && n > 0 {
		s.dropped.Record(float64(n))
	}
}

// DecodeFailed counts records whose decoding failed.
func (s *Shard) DecodeFailed(n int) {
	if s != nil && n > 0 {
		s.undecoded.Record(float64(n))
	}
}

// Done counts the user records of a batch that was processed.
func (s *Shard) Done(records int) {
	if s != nil {
		s.users.Record(float64(records))
	}
}

// Processed observes how long ProcessRecords took for a batch.
func (s *Shard) Processed(took time.Duration) {
	if s != nil {
		s.process.Record(took.Seconds())
	}
}

// ProcessorFailed counts a failed call; method is the name of the processor's
// method in snake case, cause is error or panic.
func (s *Shard) ProcessorFailed(method, cause string) {
	s.count(ProcessErrors, method, cause)
}

// SubscriptionOpened counts an accepted SubscribeToShard.
func (s *Shard) SubscriptionOpened() {
	if s != nil {
		s.opened.Record(1)
	}
}

// SubscriptionEnded counts the end of a subscription. reason comes from the
// fixed list of package efo.
func (s *Shard) SubscriptionEnded(reason string) {
	s.count(SubscriptionsEnded, reason)
}

// Retried counts a read that failed and is tried again. operation is the name
// of the AWS operation; code comes from a fixed list, never from a message.
func (s *Shard) Retried(operation, code string) {
	s.count(ReadRetries, operation, code)
}

// SetFanOut says how the shard is read now: by enhanced fan-out or by polling.
func (s *Shard) SetFanOut(efo bool) {
	if s != nil {
		s.mode.Record(number(efo))
	}
}

// ModeChanged counts a change of how the shard is read; mode is efo or polling.
func (s *Shard) ModeChanged(mode string) {
	s.count(ModeChanges, mode)
}

// UnknownEvent counts an event of an unknown kind, which is ignored.
func (s *Shard) UnknownEvent() {
	s.count(UnknownEvents)
}

// RetentionGap counts that reading went on after a position had left the retention period.
func (s *Shard) RetentionGap() {
	s.count(RetentionGaps)
}

// SetStalled says whether the shard has data and makes no progress.
func (s *Shard) SetStalled(stalled bool) {
	if s != nil {
		s.stalled.Record(number(stalled))
	}
}

// Checkpointed counts a checkpoint; result is ok, lost, rejected or error.
func (s *Shard) Checkpointed(result string, took time.Duration) {
	if s != nil {
		s.count(Checkpoints, result)
		s.checkpoint.Record(took.Seconds())
	}
}

// Close removes the shard's series, so that after a hand-over exactly one process exports the
// shard. Later numbers are lost.
func (s *Shard) Close() {
	if s == nil {
		return
	}
	s.closed.Store(true)
	for _, d := range All() {
		if len(d.Labels) >= 2 && d.Labels[1] == "shard" {
			s.m.sink.Remove(d, s.stream, s.shard)
		}
	}
}

// count adds one to a counter that is rare or has more labels than stream and shard. A call that
// overlaps with Close may make the series again, so it removes the series too.
func (s *Shard) count(d *Desc, labels ...string) {
	if s == nil || s.closed.Load() {
		return
	}
	s.m.record(d, 1, append([]string{s.stream, s.shard}, labels...)...)
	if s.closed.Load() {
		s.m.sink.Remove(d, s.stream, s.shard)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
