package scheduler

import (
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// batchRead records a batch that was read and is processed next.
func (p *progress) batchRead(b kcl.Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tip.Read(b)
}

// batchProcessed records that the batch has been processed.
func (p *progress) batchProcessed(b kcl.Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tip.Processed(b)
}

// readingRestarted records that reading begins anew at an earlier place.
func (p *progress) readingRestarted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tip = p.tip.Restarted()
}

func (p *progress) caughtUp(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == StateProcessing && p.tip.CaughtUp(now)
}

// CaughtUp tells whether this worker has nothing left to do for now: it reads at least one shard,
// and each shard that it reads is caught up. It is false while anything is unknown: before the
// first answers, while a stream cannot be listed or a lease is held by nobody, between a shard's
// end and its children. Nothing is said about the shards of other workers.
//
// A shard is caught up once the service has said twice, at least a second apart and at the same
// place, that nothing is unread (MillisBehindLatest 0), and ProcessRecords has returned nil for all
// that came before. It stays so while later records are processed as they come. Work that a
// processor does after ProcessRecords is not seen. [ShardStatus.CaughtUp] tells it of each shard.
func (s *Scheduler) CaughtUp() bool {
	if phase, _ := s.status.phase(); phase != phaseRunning {
		return false
	}
	if len(s.tracker.tracked.status(s.cfg.RetrievalMode)) > 0 {
		return false
	}
	for _, st := range s.streams.all() {
		if synced, err := st.status(); err != nil || synced.IsZero() {
			return false
		}
	}
	now, consumers := time.Now(), s.consumers.all()
	for _, c := range consumers {
		if !c.progress.caughtUp(now) {
			return false
		}
	}
	return len(consumers) > 0 && s.allRead(s.coord.Leases(), consumers)
}

// allRead tells whether each unfinished row has a reader, as far as the last listing tells.
func (s *Scheduler) allRead(rows []leases.Lease, consumers map[string]*consumer) bool {
	known := make(map[string]bool, len(rows))
	for _, row := range rows {
		known[row.Key] = true
	}
	for _, row := range rows {
		st := s.streams.of(row)
		if st == nil || consumers[row.Key] != nil {
			continue
		}
		if owner := row.ActualOwner(); !row.Finished() && !s.tip.reached(row) && (owner == "" || owner == s.cfg.WorkerID) {
			return false
		}
		for _, child := range row.Children { // made before their parent's end was written
			key := shardsync.LeaseKey(st.id, child, st.multi)
			if row.Finished() && !known[key] && consumers[key] == nil {
				return false
			}
		}
	}
	return true
}
