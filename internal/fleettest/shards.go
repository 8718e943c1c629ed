package fleettest

import (
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/holder"
)

// Shard is the history of one shard, since the last Reset where it says so.
type Shard struct {
	// Reader is the worker that delivered last, and At is when.
	Reader string
	At     time.Time
	// Moves counts the changes of Reader since the last Reset.
	Moves int
	// Gap is the longest time between two deliveries since the last Reset.
	Gap time.Duration
	// Done is the highest record processed.
	Done int
	// Repeats counts the records delivered again since the last Reset.
	Repeats int
	// Rewound says why records are delivered again; empty when none are.
	Rewound string

	acked   int            // the highest record whose checkpoint was accepted
	reading map[string]int // consumers that read it, by worker
	holders map[*Worker]*holder.Holder
}

func (f *Fleet) shardLocked(key string) *Shard {
	s := f.shards[key]
	if s == nil {
		s = &Shard{reading: map[string]int{}, holders: map[*Worker]*holder.Holder{}}
		f.shards[key] = s
	}
	return s
}

// Shards returns the shards that were read, by key, as they are now.
func (f *Fleet) Shards() map[string]Shard {
	f.mu.Lock()
	defer f.mu.Unlock()
	shards := make(map[string]Shard, len(f.shards))
	for key, s := range f.shards {
		shards[key] = *s
	}
	return shards
}

// Readers returns the worker that delivered last, for each shard that was read.
func (f *Fleet) Readers() map[string]string {
	readers := map[string]string{}
	for key, s := range f.Shards() {
		readers[key] = s.Reader
	}
	return readers
}

// Reset forgets moves, gaps and repeats up to now.
func (f *Fleet) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.shards {
		s.Moves, s.Gap, s.Repeats = 0, 0, 0
	}
}

// Total adds up a number of all shards.
func (f *Fleet) Total(of func(Shard) int) (n int) {
	for _, s := range f.Shards() {
		n += of(s)
	}
	return n
}

// Moves is how often a shard went to another worker since the last Reset.
func (f *Fleet) Moves() int { return f.Total(func(s Shard) int { return s.Moves }) }

// Repeats is how many records were delivered again since the last Reset.
func (f *Fleet) Repeats() int { return f.Total(func(s Shard) int { return s.Repeats }) }

// LongestGap is the longest time that a shard went without a delivery, up to now. If workers are
// named, only the shards count that one of them reads.
func (f *Fleet) LongestGap(workers ...string) (gap time.Duration) {
	for _, s := range f.Shards() {
		if len(workers) == 0 || slices.Contains(workers, s.Reader) {
			gap = max(gap, s.Gap, time.Since(s.At))
		}
	}
	return gap
}
