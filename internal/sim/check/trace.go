package check

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// traceLength is how many events of a shard a report shows.
const traceLength = 200

// Event is one event of a trace.
type Event struct {
	At    time.Time
	Shard string // key of the lease; empty for events of the whole world
	Text  string
}

// String returns the event as a line of a trace.
func (e Event) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", e.At.Format("15:04:05.000000"), e.Shard, e.Text))
}

// trace keeps the last events of each shard, and a hash of all events.
type trace struct {
	begin  time.Time
	events map[string][]Event
	hash   uint64
	count  int
}

func newTrace() *trace {
	return &trace{begin: time.Now(), events: map[string][]Event{}, hash: 14695981039346656037}
}

// add notes an event that happens now. An event of the whole world has no shard.
func (t *trace) add(shard, format string, args ...any) {
	e := Event{At: time.Now(), Shard: shard, Text: fmt.Sprintf(format, args...)}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %s %s", t.hash, e.At.Sub(t.begin), e.Shard, e.Text)
	t.hash = h.Sum64()
	t.count++
	kept := t.events[shard]
	if len(kept) >= 2*traceLength {
		kept = append(kept[:0], kept[len(kept)-traceLength:]...)
	}
	t.events[shard] = append(kept, e)
}

// last returns the last events of a shard and of the world, in the order of time.
func (t *trace) last(shard string) []Event {
	all := append([]Event{}, t.events[shard]...)
	if shard != "" {
		all = merge(all, t.events[""])
	}
	return all[max(0, len(all)-traceLength):]
}

// merge merges two sorted traces.
func merge(a, b []Event) []Event {
	out := make([]Event, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if b[0].At.Before(a[0].At) {
			out, b = append(out, b[0]), b[1:]
		} else {
			out, a = append(out, a[0]), a[1:]
		}
	}
	return append(append(out, a...), b...)
}
