//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	totalsFile  = "totals.json"
	resultsFile = "results.txt"
)

// counts counts events by kind. It is safe for concurrent use.
type counts struct {
	mu     sync.Mutex     // guards byKind
	byKind map[string]int // nil until the first event
}

func (c *counts) add(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKind == nil {
		c.byKind = map[string]int{}
	}
	c.byKind[kind]++
}

// all returns a copy.
func (c *counts) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.byKind)
}

// totals sums rounds, over several runs.
type totals struct {
	Rounds     int            `json:"rounds"`
	Failed     int            `json:"failed"` // rounds with a violation or a problem
	Seconds    int            `json:"seconds"`
	Counts     map[string]int `json:"counts"` // kills, faults and reshards, by kind
	Starts     int            `json:"starts"` // of workers
	Records    int            `json:"records"`
	Duplicates int            `json:"duplicates"`
	Lost       int            `json:"lost"`
	OutOfOrder int            `json:"outOfOrder"`
	Foreign    int            `json:"foreign"`
	Longest    time.Duration  `json:"longestDelay"` // in nanoseconds
}

// add sums a round, which may be the sum of rounds.
func (t *totals) add(r totals) {
	t.Rounds += r.Rounds
	t.Failed += r.Failed
	t.Seconds += r.Seconds
	if t.Counts == nil {
		t.Counts = map[string]int{}
	}
	for kind, n := range r.Counts {
		t.Counts[kind] += n
	}
	t.Starts += r.Starts
	t.Records += r.Records
	t.Duplicates += r.Duplicates
	t.Lost += r.Lost
	t.OutOfOrder += r.OutOfOrder
	t.Foreign += r.Foreign
	t.Longest = max(t.Longest, r.Longest)
}

// kills is how many workers were killed, ended or frozen.
func (t *totals) kills() int { return t.Counts[sigkill] + t.Counts[sigterm] + t.Counts[sigstop] }

// String is one line.
func (t *totals) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rounds=%d failed=%d seconds=%d %s=%d %s=%d %s=%d", t.Rounds, t.Failed, t.Seconds,
		sigkill, t.Counts[sigkill], sigterm, t.Counts[sigterm], sigstop, t.Counts[sigstop])
	for _, kind := range slices.Sorted(maps.Keys(t.Counts)) {
		if kind != sigkill && kind != sigterm && kind != sigstop {
			fmt.Fprintf(&b, " %s=%d", kind, t.Counts[kind])
		}
	}
	fmt.Fprintf(&b, " starts=%d records=%d duplicates=%d (%.0f a kill) lost=%d order=%d foreign=%d longest=%s",
		t.Starts, t.Records, t.Duplicates, float64(t.Duplicates)/float64(max(t.kills(), 1)), t.Lost, t.OutOfOrder,
		t.Foreign, t.Longest.Round(10*time.Millisecond))
	return b.String()
}

// load reads the totals of the runs before. Without a folder or a file there are none.
func load(dir string) (t totals, err error) {
	if dir == "" {
		return t, nil
	}
	text, err := os.ReadFile(filepath.Join(dir, totalsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fmt.Errorf("read %s: %w", totalsFile, err)
	}
	return t, nil
}

// save writes the totals, in one step.
func (t *totals) save(dir string) error {
	if dir == "" {
		return nil
	}
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, totalsFile)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// record appends a line to the file of results.
func record(dir, line string) (err error) {
	if dir == "" {
		return nil
	}
	file, err := os.OpenFile(filepath.Join(dir, resultsFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = fmt.Fprintf(file, "%s %s\n", time.Now().UTC().Format(time.RFC3339), line)
	return err
}
