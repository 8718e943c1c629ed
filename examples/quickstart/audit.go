package main

import (
	"fmt"
	"sync"
	"time"
)

// Audit compares the produced records with the processed ones. It stands for the database that a
// real processor writes to. A worker that dies between the work and the checkpoint leaves records
// that are processed again.
type Audit struct {
	mu       sync.Mutex // guards the fields below, and Tenures
	produced map[string]int
	seen     map[payload]bool
	highest  map[string]int // the highest N of a key that any worker has processed
	fenced   map[string]bool
	tenures  map[string]*Tenure // the last tenure of each shard
	report   Report
}

// Tenure is the time that one worker has a shard.
type Tenure struct {
	worker, shard string
	last          map[string]int // the last N of a key, in this tenure
	ended         time.Time      // zero while the tenure lasts
	afterKill     bool           // the tenure before ended by a kill
}

// Report is the result of an [Audit].
type Report struct {
	Produced   int
	Processed  int // different records
	Duplicates int // records that were processed again
	AfterKill  int // how many of Duplicates are due to the kill
	Lost       int
	Violations int // records of one key out of order
	HandOver   time.Duration
}

// OK tells whether every record was processed, in order.
func (r Report) OK() bool { return r.Lost == 0 && r.Violations == 0 }

// String returns the last line of the demonstration.
func (r Report) String() string {
	return fmt.Sprintf("produced %d, processed %d, duplicates %d (%d after the kill), lost %d, order violations %d, "+
		"longest hand-over %.1fs",
		r.Produced, r.Processed, r.Duplicates, r.AfterKill, r.Lost, r.Violations, r.HandOver.Seconds())
}

// NewAudit returns an empty Audit.
func NewAudit() *Audit {
	return &Audit{
		produced: map[string]int{}, seen: map[payload]bool{}, highest: map[string]int{},
		fenced: map[string]bool{}, tenures: map[string]*Tenure{},
	}
}

// Produced counts a record that the stream has accepted.
func (a *Audit) Produced(p payload) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.produced[p.Key] = p.N
	a.report.Produced++
}

// Begin records that a worker has got a shard, and measures how long no worker had it.
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

// End records that a worker has given up or lost the shard.
func (a *Audit) End(t *Tenure) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.ended.IsZero() {
		t.ended = time.Now()
	}
}

// Fence makes Processed ignore a killed worker from now on.
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

// Processed counts a processed record. It returns false if the worker was killed.
func (a *Audit) Processed(t *Tenure, p payload) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fenced[t.worker] {
		return false
	}
	// A worker that takes over a shard may begin with records that were processed before. It must
	// go on in order, and must not skip a record.
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

// Complete tells whether all produced records have been processed.
func (a *Audit) Complete() bool { return a.Report().Lost == 0 }

// Report returns the counts so far.
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
