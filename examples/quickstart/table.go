package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/scheduler"
)

// table shows which worker reads which shard. On a terminal it is drawn four times a second.
// Elsewhere it is printed in plain lines every five seconds.
type table struct {
	out      io.Writer
	terminal bool
	began    time.Time

	mu     sync.Mutex // guards events
	events []string
}

func newTable(out io.Writer, terminal bool) *table {
	return &table{out: out, terminal: terminal, began: time.Now()}
}

// event shows an event of the script.
func (t *table) event(format string, args ...any) {
	line := fmt.Sprintf("%3.0fs  %s", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events = append(t.events, line)
	if !t.terminal {
		t.write(line + "\n")
	}
}

// run shows the table again and again until ctx ends.
func (t *table) run(ctx context.Context, s *stage) {
	every := 5 * time.Second
	if t.terminal {
		every = 250 * time.Millisecond
	}
	for sleep(ctx, every) {
		t.show(s)
	}
}

// finish shows the table for the last time, and the result of the audit.
func (t *table) finish(s *stage, r Report) {
	t.show(s)
	verdict := "every record was processed, in order"
	if !r.OK() {
		verdict = "FAILED"
	}
	t.write(fmt.Sprintf("\naudit: %s: %s\n", r, verdict))
}

// show shows the table once.
func (t *table) show(s *stage) {
	var b strings.Builder
	r := s.audit.Report()
	fmt.Fprintf(&b, "%3.0fs  produced %d, processed %d, duplicates %d;",
		time.Since(t.began).Seconds(), r.Produced, r.Processed, r.Duplicates)
	for _, w := range s.workers {
		fmt.Fprintf(&b, " %s %s,", w.name, w.state())
	}
	text := strings.TrimSuffix(b.String(), ",") + "\n" + shards(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.terminal {
		text += "\n" + strings.Join(t.events, "\n") + "\n"
		// Each line overwrites the line before. To clear the screen first would flicker.
		text = "\x1b[H" + strings.ReplaceAll(text, "\n", "\x1b[K\n") + "\x1b[J"
	}
	t.write(text)
}

func (t *table) write(s string) { _, _ = io.WriteString(t.out, s) }

// shards returns a line for every lease, with data from the lease table and from the worker that
// holds the lease.
func shards(s *stage) string {
	reading := make(map[string]scheduler.ShardStatus)
	for _, w := range s.workers {
		if w.state() == "killed" {
			continue // a dead worker answers no questions
		}
		for _, st := range w.scheduler.Status().Streams {
			for _, shard := range st.Shards {
				if shard.State != scheduler.StateNone {
					reading[shard.LeaseKey] = shard
				}
			}
		}
	}
	listing, err := s.leases.List(context.Background())
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "      SHARD\tWORKER\tSTATE\tRECORDS\tLAG\tLEASE")
	for _, l := range sorted(listing.Leases) {
		state, records, lag := "-", "-", "-"
		if r, ok := reading[l.Key]; ok {
			state, records, lag = r.State.String(), fmt.Sprint(r.Records), "?"
			if behind, known := r.Behind(); known {
				lag = behind.String()
			}
		}
		owner, _, _ := strings.Cut(l.ActualOwner(), ":") // without its random suffix
		if l.Finished() {
			owner = ""
		}
		_, _ = fmt.Fprintf(w, "      %s\t%s\t%s\t%s\t%s\t%s\n", l.ShardID, dash(owner), state, records, lag, lease(l))
	}
	_ = w.Flush()
	return b.String()
}

// lease describes a row of the lease table. The counter grows with every renewal.
func lease(l leases.Lease) string {
	switch {
	case l.Finished():
		return "finished"
	case l.ActualOwner() == "":
		return "free"
	}
	return fmt.Sprintf("held, counter %d", l.Counter)
}

func sorted(rows []leases.Lease) []leases.Lease {
	return slices.SortedFunc(slices.Values(rows), func(a, b leases.Lease) int { return cmp.Compare(a.Key, b.Key) })
}

func dash(s string) string { return cmp.Or(s, "-") }
