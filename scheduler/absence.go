package scheduler

import (
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
)

// How long a shard must be absent before it counts as expired. A lagging service also leaves out
// shards, a new child for example. Clean-up waits as long (shardsync.PlanCleanup).
const (
	goneLists = 3 // complete lists in a row without the shard
	goneTime  = 10 * time.Minute
	goneAge   = time.Minute     // a list that counts is at most this old
	goneGap   = 5 * time.Minute // after this long without observe, an absence is forgotten
)

// absences remembers which shards of a stream are absent, and since when. It belongs to the stream,
// because each lease of a shard gets a new consumer. It is safe for concurrent use.
type absences struct {
	mu     sync.Mutex // guards shards
	shards map[string]absence
}

// absence is a series of consecutive lists without one shard.
type absence struct {
	since    time.Time // when the first of these lists was requested
	newest   time.Time // when the last of these lists was requested
	lists    int
	observed time.Time // when observe was last called for the shard
}

// observe counts a list for a shard that its reader did not find. gone tells whether the shard has
// been absent for goneTime. fresh tells whether the absence is new.
func (a *absences) observe(list *shardList, shardID string) (gone, fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for id, s := range a.shards {
		if now.Sub(s.observed) > goneGap {
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
	s.observed = now
	if list.asked.After(s.newest) && list.coversAllKeys() {
		s.newest = list.asked
		s.lists++
	}
	if a.shards == nil {
		a.shards = map[string]absence{}
	}
	a.shards[shardID] = s
	return s.lists >= goneLists && s.newest.Sub(s.since) >= goneTime, !known
}

// found forgets the absence of a shard, because the service has returned data of the shard.
func (a *absences) found(shardID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.shards, shardID)
}

// coversAllKeys tells whether the open shards of a list cover every hash key. An incomplete list
// does not prove that a shard is absent.
func (s *shardList) coversAllKeys() bool {
	var open []kcl.Shard
	for _, shard := range s.shards {
		if !shard.Closed() {
			open = append(open, shard)
		}
	}
	coverage := coverageOf(open)
	return len(coverage.Holes) == 0 || len(coverage.Unknown) > 0
}
