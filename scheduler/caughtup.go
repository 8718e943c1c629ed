package scheduler

import (
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// batchRead records a batch that the source has returned and that is processed next.
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

// readingRestarted records that reading starts again at an earlier position.
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

// CaughtUp tells whether this worker reads at least one shard, and each shard that it reads is
// caught up. CaughtUp is false before the first answers of the service, while a stream cannot be
// listed, and while a lease has no owner. It is false between a shard's end and the start of its
// children. The shards of other workers do not count. Any goroutine may call CaughtUp.
//
// A shard is caught up after two answers with MillisBehindLatest 0 at the same position, at least a
// second apart. ProcessRecords must have returned nil for all earlier records. The shard stays
// caught up while later records are processed as they come. Work that a processor does after
// ProcessRecords returns does not count. [ShardStatus.CaughtUp] has the time for each shard.
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

// allRead tells whether each unfinished row of the last listing has a reader.
func (s *Scheduler) allRead(rows []leases.Lease, consumers map[string]*consumer) bool {
	known := make(map[string]bool, len(rows))
	for _, row := range rows {
		known[row.Key] = true
	}
	for _, row := range rows {
		st := s.streams.ofRow(row)
		if st == nil || consumers[row.Key] != nil {
			continue
		}
		if owner := row.ActualOwner(); !row.Finished() && !s.tip.reached(row) && (owner == "" || owner == s.cfg.WorkerID) {
			return false
		}
		for _, child := range row.Children { // a child's row is made before the parent's end is written
			key := shardsync.LeaseKey(st.id, child, st.multi)
			if row.Finished() && !known[key] && consumers[key] == nil {
				return false
			}
		}
	}
	return true
}
