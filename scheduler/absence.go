package scheduler

import (
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
)

// How long a shard must be absent before it counts as expired. A child that was
// born a moment ago is absent as well, and so is what a lagging service leaves
// out. Clean-up has the same patience (shardsync.PlanCleanup).
const (
	goneLists = 3 // complete lists in a row without the shard
	goneTime  = 10 * time.Minute
	goneAge   = time.Minute     // how old a list may be that counts
	goneGap   = 5 * time.Minute // without a question: lists from before count no more
)

// absences remembers which shards of a stream are absent, and since when. It belongs to the stream,
// because a consumer is replaced with every lease. It is safe for concurrent use.
type absences struct {
	mu     sync.Mutex // guards shards
	shards map[string]absence
}

// absence is an unbroken row of lists without a shard.
type absence struct {
	since  time.Time // the first list was asked for
	newest time.Time // the last one was
	lists  int
	looked time.Time // the last time that anybody asked
}

// observe adds a list to what is known of a shard that a reader did not find. It tells whether
// the shard has been absent for long enough, and whether it is a new absence.
func (a *absences) observe(list *shardList, shardID string) (gone, fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for id, s := range a.shards {
		if now.Sub(s.looked) > goneGap {
			delete(a.shards, id)
		}
	}
	if _, listed := list.byID[shardID]; listed {
		delete(a.shards, shardID)
		return false, false
	}
	s, known := a.shards[shardID]
	if !known {
		s.since = list.asked
	}
	s.looked = now
	if list.asked.After(s.newest) && list.whole() {
		s.newest = list.asked
		s.lists++
	}
	if a.shards == nil {
		a.shards = map[string]absence{}
	}
	a.shards[shardID] = s
	return s.lists >= goneLists && s.newest.Sub(s.since) >= goneTime, !known
}

// found says that the service has the shard after all.
func (a *absences) found(shardID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.shards, shardID)
}

// whole tells whether the open shards of a list have every hash key. One that
// lacks some says nothing about a shard that it lacks.
func (s *shardList) whole() bool {
	var open []kcl.Shard
	for _, shard := range s.shards {
		if !shard.Closed() {
			open = append(open, shard)
		}
	}
	coverage := coverageOf(open)
	return len(coverage.Holes) == 0 || len(coverage.Unknown) > 0
}
