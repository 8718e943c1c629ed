package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// minBreaks is how often the work on a shard must break off to be reported, if no records are open
// and nothing has failed.
const minBreaks = 3

// standstills remembers shards whose work breaks off and begins again at the same checkpoint. A
// consumer ends with its lease, and each new consumer seems healthy at first. For example, a table
// can accept takes and refuse renewals. Then every record would be delivered again and again,
// without a report.
//
//	consumer  1 ----x  2 ----x  3 ----x  4 ---      x: lease lost, or processor replaced
//	delivered   .....    .....    .....    ...
//	checkpoint  C        C        C        C        since 1 delivered, it stands still
type standstills struct {
	mu    sync.Mutex // guards byKey
	byKey map[string]*standstill
}

type standstill struct {
	stream     *stream
	shardID    string
	checkpoint kcl.ExtendedSequenceNumber
	since      time.Time // the first delivery after checkpoint, or the first failure
	breaks     int
	last       time.Time // when the work last broke off
	open       bool      // records were delivered without a checkpoint, or something failed
	layer      Layer
	err        error // the failure, or why the work last broke off

	owner string    // the lease's owner in the last scan, if that is another worker
	held  time.Time // since when owner has held the lease
}

// add records that the work on a shard has broken off with cause.
func (s *standstills) add(now time.Time, c *consumer, cause error) {
	ck := c.delivery.report()
	at := ck.Last
	if at.IsZero() {
		at = c.start.Checkpoint // no processor was made
	}
	layer, troubled, failure := c.progress.troubled()
	switch {
	case failure != nil:
	case ck.Failure != nil:
		layer, troubled, failure = LayerCheckpointStore, ck.FailingSince, ck.Failure
	case errors.Is(cause, kcl.ErrRestart):
		layer, failure = LayerProcessor, cause
	default:
		layer, failure = LayerLease, cause
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.byKey[c.key]
	if st == nil || st.checkpoint != at || st.stream != c.stream {
		st = &standstill{stream: c.stream, shardID: c.shard.ID, checkpoint: at, since: now}
		if s.byKey == nil {
			s.byKey = map[string]*standstill{}
		}
		s.byKey[c.key] = st
	}
	st.breaks++
	st.last, st.layer, st.err, st.owner = now, layer, failure, ""
	for _, t := range []time.Time{troubled, ck.OpenSince} {
		if !t.IsZero() {
			st.open = true
			if t.Before(st.since) {
				st.since = t
			}
		}
	}
}

// observe forgets a shard if its checkpoint has moved. It also forgets a shard if one worker has
// held its lease for limit without a break, because that worker detects a stall by itself. consumer
// is this worker's consumer of the shard, or nil.
func (s *standstills) observe(now time.Time, row leases.Lease, consumer *consumer, limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.byKey[row.Key]
	if st == nil {
		return
	}
	if consumer != nil {
		if at := consumer.delivery.report().Last; !at.IsZero() && at != st.checkpoint || now.Sub(consumer.begun) >= limit &&
			now.Sub(st.last) >= limit {
			delete(s.byKey, row.Key)
		}
		return
	}
	owner := row.ActualOwner()
	if owner != st.owner || owner == "" {
		st.owner, st.held = owner, now
	}
	if row.Finished() || ahead(row.Checkpoint, st.checkpoint) || owner != "" && now.Sub(st.held) >= limit {
		delete(s.byKey, row.Key)
	}
}

// ahead tells whether seen is a later checkpoint than at. seen comes from a scan, which may be old.
// If only at is a sentinel, seen is later.
func ahead(seen, at kcl.ExtendedSequenceNumber) bool {
	if seen.IsSentinel() || at.IsSentinel() {
		return seen != at && !seen.IsSentinel()
	}
	return seen.Compare(at) > 0
}

// keep forgets the shards without a row.
func (s *standstills) keep(rows map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.byKey, func(key string, _ *standstill) bool { return !rows[key] })
}

// stalls lists the shards that have stood still for limit.
func (s *standstills) stalls(now time.Time, limit time.Duration, consumers map[string]*consumer) []*StallError {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*StallError
	for key, st := range s.byKey {
		if consumer := consumers[key]; consumer != nil {
			if at := consumer.delivery.report().Last; !at.IsZero() && at != st.checkpoint {
				continue
			}
		}
		if now.Sub(st.since) < limit || !st.open && st.breaks < minBreaks || st.stream.err() != nil {
			continue
		}
		out = append(out, &StallError{
			Stream: st.stream.id, ShardID: st.shardID, LeaseKey: key, Layer: st.layer, Since: st.since,
			Err: fmt.Errorf("work on the shard has broken off %d times at checkpoint %s: %w", st.breaks, st.checkpoint, st.err),
		})
	}
	return out
}

// recordBreak records that the loss of the lease ended the work of a processor, or the wait for the
// parents. It ignores a shutdown that took too long.
func (c *consumer) recordBreak(ctx context.Context) {
	if cause := context.Cause(ctx); errors.Is(cause, kcl.ErrLeaseLost) {
		c.cfg.standstills.add(time.Now(), c, cause)
	}
}

// troubled returns the current failure with its layer, and since when it lasts.
func (p *progress) troubled() (Layer, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.storing.err != nil:
		return LayerCheckpointStore, p.storing.since, p.storing.err
	case p.processor.err != nil:
		return LayerProcessor, p.processor.since, p.processor.err
	case p.refusal.err != nil:
		return readLayer(p.refusal.err), p.refusal.since, p.refusal.err
	case p.reading.err != nil:
		return readLayer(p.reading.err), p.reading.since, p.reading.err
	}
	return "", time.Time{}, nil
}
