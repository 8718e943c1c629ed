package scheduler

import (
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

const (
	tipTwice = time.Second // between two answers that say that nothing is unread
	tipAge   = time.Minute // how old the last answer may be for a shard that is caught up
)

// tip is how near to the newest record of its shard a consumer is.
//
//	answer       lag 9s   lag 0   lag 0   lag 0   lag 0   lag 0   lag 7s
//	records         500      20       -       -       3       -        -
//	                                  ^       ^       ^       ^
//	                                  first   caught up, till the lag is back
//
// One answer alone is not believed. Records that come at the tip are behind in
// being processed only while the processor has them.
type tip struct {
	read said // by the last batch that was read
	past said // by the last batch that was processed
	open bool // that is the one before

	first  time.Time // when nothing was unread for the first time at this place; zero when something is
	caught bool      // nothing has spoken against it since caughtAt
	at     time.Time // when the shard was last found to be caught up
}

// said is what a batch says of its lag.
type said struct {
	at    time.Time // zero before the first
	lag   time.Duration
	known bool
}

// reads takes in a batch that was read and is processed next.
func (t *tip) reads(b kcl.Batch) {
	t.read, t.open = said{b.ReceivedAt, b.BehindLatest, !b.LagUnknown}, true
	if b.LagUnknown || b.BehindLatest > 0 {
		t.first, t.caught = time.Time{}, false
	}
}

// done says that the batch has been processed.
func (t *tip) done(b kcl.Batch) {
	t.past, t.open = t.read, false
	switch {
	case b.LagUnknown || b.BehindLatest > 0:
	case len(b.Records) > 0 || t.first.IsZero():
		t.first = b.ReceivedAt
	case b.ReceivedAt.Sub(t.first) >= tipTwice:
		t.caught, t.at = true, b.ReceivedAt
	}
}

// now tells whether the shard is caught up.
func (t *tip) now(now time.Time) bool {
	return t.caught && !t.open && now.Sub(t.read.at) <= tipAge
}

// behind is the lag of what has been processed, which grows while nothing more is.
// A batch that is not processed says nothing but that there is a lag.
func (t *tip) behind(now time.Time) (time.Duration, bool) {
	var lag time.Duration
	if t.past.known {
		seconds := metrics.Lag(t.past.lag.Seconds(), now.Sub(t.past.at))
		lag = time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	}
	if t.open {
		lag = max(lag, t.read.lag)
	}
	return lag, t.past.known || lag > 0
}

// read takes in a batch before it is processed, and handled one that is.
func (p *progress) read(b kcl.Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tip.reads(b)
}

func (p *progress) handled(b kcl.Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tip.done(b)
}

// returns says that reading begins anew at an earlier place.
func (p *progress) returns() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tip = tip{at: p.tip.at}
}

func (p *progress) caughtUp(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == StateProcessing && p.tip.now(now)
}

// CaughtUp tells whether this worker has nothing left to do for now: it reads at
// least one shard, and each shard that it reads is caught up. It is false
// while anything is unknown: before the first answers, while a stream cannot be
// listed or a lease is held by nobody, between a shard's end and its children.
// Nothing is said about the shards of other workers.
//
// A shard is caught up once the service has said twice, at least a second apart and
// at the same place, that nothing is unread (MillisBehindLatest 0), and
// ProcessRecords has returned nil for all that came before. It stays so while later
// records are processed as they come. Work that a processor does after
// ProcessRecords is not seen. [ShardStatus.CaughtUp] tells it of each shard.
func (s *Scheduler) CaughtUp() bool {
	if phase, _ := s.status.phase(); phase != phaseRunning {
		return false
	}
	if len(s.tracker.tracked.status(s.cfg.RetrievalMode)) > 0 {
		return false
	}
	for _, st := range s.streams.all() {
		if synced, err := st.syncState(); err != nil || synced.IsZero() {
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

// allRead tells whether each unfinished row has a reader, as far as the last
// listing tells.
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
			key := shardsync.Key(st.id, child, st.multi)
			if row.Finished() && !known[key] && consumers[key] == nil {
				return false
			}
		}
	}
	return true
}
