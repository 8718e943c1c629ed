package main

import (
	"fmt"
	"sync"
	"time"
)

// Audit compares what was produced with what was processed. It stands for the
// database that a real processor writes to, and shares its weakness: a worker
// that dies between the work and the checkpoint leaves work that is done again.
type Audit struct {
	mu       sync.Mutex // guards the fields below, and Tenures
	produced map[string]int
	seen     map[payload]bool
	highest  map[string]int // of a key, processed by anyone
	fenced   map[string]bool
	tenures  map[string]*Tenure // the last of each shard
	report   Report
}

// Tenure is the time that one worker has a shard.
type Tenure struct {
	worker, shard string
	last          map[string]int // of a key, in this tenure
	ended         time.Time      // zero while it lasts
	afterKill     bool           // it follows one that ended by a kill
}

// Report is the result of an [Audit].
type Report struct {
	Produced   int
	Processed  int // different records
	Duplicates int // processed again
	AfterKill  int // of the Duplicates, those that follow from the kill
	Lost       int
	Violations int // of the order of the records of one key
	HandOver   time.Duration
}

// OK tells whether every record was processed, in order.
func (r Report) OK() bool { return r.Lost == 0 && r.Violations == 0 }

// String is the line that the demo ends with.
func (r Report) String() string {
	return fmt.Sprintf("produced %d, processed %d, duplicates %d (%d after the kill), lost %d, order violations %d, longest hand-over %.1fs",
		r.Produced, r.Processed, r.Duplicates, r.AfterKill, r.Lost, r.Violations, r.HandOver.Seconds())
}

// NewAudit returns an empty Audit.
func NewAudit() *Audit {
	return &Audit{
		produced: map[string]int{}, seen: map[payload]bool{}, highest: map[string]int{},
		fenced: map[string]bool{}, tenures: map[string]*Tenure{},
	}
}

// Produced notes a record that the stream has taken.
func (a *Audit) Produced(p payload) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.produced[p.Key] = p.N
	a.report.Produced++
}

// Begin notes that a worker has got a shard, and measures for how long nobody
// had it.
func (a *Audit) Begin(worker, shard string) *Tenure {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := &Tenure{worker: worker, shard: shard, last: map[string]int{}}
	if a.fenced[worker] {
		return t
	}
	if before := a.tenures[shard]; before != nil && !before.ended.IsZero() {
		a.report.HandOver = max(a.report.HandOver, time.Since(before.ended))
		t.afterKill = a.fenced[before.worker]
	}
	a.tenures[shard] = t
	return t
}

// End notes that a worker has no more business with the shard.
func (a *Audit) End(t *Tenure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.ended.IsZero() {
		t.ended = time.Now()
	}
}

// Fence makes a killed worker's doings count no more, from this moment on.
func (a *Audit) Fence(worker string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fenced[worker] = true
	for _, t := range a.tenures {
		if t.worker == worker && t.ended.IsZero() {
			t.ended = time.Now()
		}
	}
}

// Processed notes that a record was processed; false when the worker is dead.
func (a *Audit) Processed(t *Tenure, p payload) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fenced[t.worker] {
		return false
	}
	// Who takes a shard over may begin with records that were processed before,
	// but goes on in order; and nobody may be ahead of what was processed so far.
	if p.N <= t.last[p.Key] || p.N > a.highest[p.Key]+1 {
		a.report.Violations++
	}
	t.last[p.Key] = p.N
	a.highest[p.Key] = max(a.highest[p.Key], p.N)
	if a.seen[p] {
		a.report.Duplicates++
		if t.afterKill {
			a.report.AfterKill++
		}
		return true
	}
	a.seen[p] = true
	a.report.Processed++
	return true
}

// Complete tells whether everything produced has been processed.
func (a *Audit) Complete() bool { return a.Report().Lost == 0 }

// Report counts.
func (a *Audit) Report() Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.report
	r.Lost = 0
	for key, last := range a.produced {
		for n := 1; n <= last; n++ {
			if !a.seen[payload{Key: key, N: n}] {
				r.Lost++
			}
		}
	}
	return r
}
