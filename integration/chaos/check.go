//go:build unix

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/integration/chaos/journal"
)

// maxExamples is how many violations of each kind a verdict describes.
const maxExamples = 10

// checker compares what the producers have put with what the workers have acknowledged. It is safe
// for concurrent use.
type checker struct {
	mu           sync.Mutex // guards the fields below
	keys         map[string][]history
	put          int // records put
	acknowledged int // records acknowledged at least once
	deliveries   int // records in the batches of all workers
}

// history is the life of one record. Times are those of the journals, 0 means never.
type history struct {
	put   int64
	began int64  // the first delivery
	done  int64  // the first acknowledgement
	where string // the shard and sequence number of the first delivery

	// follows says that the record before it, of the same key, is in the batch of the first delivery,
	// before the record.
	follows bool
}

func newChecker() *checker { return &checker{keys: map[string][]history{}} }

// at returns the history of a record, for as long as the lock is held.
func (c *checker) at(key string, counter int) *history {
	all := c.keys[key]
	if counter >= len(all) {
		all = append(all, make([]history, counter+1-len(all))...)
		c.keys[key] = all
	}
	return &all[counter]
}

// produced notes that records were put: the keys of a request, with their counters.
func (c *checker) produced(at int64, key string, first, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range count {
		c.at(key, first+i).put = at
		c.put++
	}
}

// delivered notes a batch of a worker.
func (c *checker) delivered(b journal.Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := map[string]int{} // the counter before, by key
	for _, e := range b.Entries {
		h := c.at(e.Key, e.Counter)
		c.deliveries++
		before, ok := last[e.Key]
		if h.began == 0 || b.Began < h.began {
			h.began, h.where = b.Began, b.Shard+" "+e.Sequence
			h.follows = ok && before == e.Counter-1
		}
		last[e.Key] = e.Counter
		if b.Done != 0 && (h.done == 0 || b.Done < h.done) {
			if h.done == 0 {
				c.acknowledged++
			}
			h.done = b.Done
		}
	}
}

// missing is how many records were put and not acknowledged so far.
func (c *checker) missing() (missing, put int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put - c.acknowledged, c.put
}

// verdict is what the checker has found.
type verdict struct {
	Records    int           // put
	Duplicates int           // deliveries beyond the first of a record
	Lost       int           // put and never acknowledged
	OutOfOrder int           // processed before the record before it, of the same key
	Foreign    int           // delivered and never put
	Longest    time.Duration // from the put of a record to its first acknowledgement
	Slowest    string        // the record that took as long
	Examples   []string
}

// violations is the number of broken promises.
func (v verdict) violations() int { return v.Lost + v.OutOfOrder + v.Foreign }

// verdict judges all records. The producers and the workers must have ended.
func (c *checker) verdict() verdict {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := verdict{Records: c.put}
	delivered := 0
	example := func(count *int, format string, args ...any) {
		if *count++; *count <= maxExamples {
			v.Examples = append(v.Examples, fmt.Sprintf(format, args...))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.keys)) {
		all := c.keys[key]
		for i, h := range all {
			if h.began != 0 {
				delivered++
			}
			switch {
			case h.put == 0 && h.began != 0:
				example(&v.Foreign, "foreign: %s %d at %s was never put", key, i, h.where)
				continue
			case h.put == 0:
				continue
			case h.done == 0:
				example(&v.Lost, "lost: %s %d, delivered at %q; the one before at %q", key, i, h.where,
					all[max(i-1, 0)].where)
				continue
			}
			if took := time.Duration(h.done - h.put); took > v.Longest {
				v.Longest, v.Slowest = took, fmt.Sprintf("%s %d at %s", key, i, h.where)
			}
			if i == 0 {
				continue
			}
			// A record without acknowledgement is lost, and counted as such.
			before := all[i-1]
			if before.done != 0 && (before.done > h.done || !h.follows && before.done > h.began) {
				example(&v.OutOfOrder, "order: %s %d at %s began %d and was done %d, but the one before at %s was done %d",
					key, i, h.where, h.began, h.done, before.where, before.done)
			}
		}
	}
	v.Duplicates = c.deliveries - delivered
	return v
}

// String names the counts, and the first violations on lines of their own.
func (v verdict) String() string {
	counts := fmt.Sprintf("records=%d duplicates=%d lost=%d order=%d foreign=%d longest=%s",
		v.Records, v.Duplicates, v.Lost, v.OutOfOrder, v.Foreign, v.Longest.Round(10*time.Millisecond))
	return strings.Join(append([]string{counts}, v.Examples...), "\n\t")
}
