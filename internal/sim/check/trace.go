package check

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// traceLength is how many events a report shows.
const traceLength = 200

// Event is one event of a trace.
type Event struct {
	At    time.Time
	Shard string // key of the lease; empty for events of the whole world
	Text  string
}

// String returns the event as a line of a trace.
func (e Event) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", e.At.Format("15:04:05.000000000"), e.Shard, e.Text))
}

// trace keeps all events of a world in the order in which they were noted.
type trace struct {
	begin  time.Time
	events []Event
}

func newTrace() *trace { return &trace{begin: time.Now()} }

// add notes an event that happens now. An event of the whole world has no shard.
func (t *trace) add(shard, format string, args ...any) {
	t.events = append(t.events, Event{At: time.Now(), Shard: shard, Text: fmt.Sprintf(format, args...)})
}

// last returns the last events of a shard and of the world.
func (t *trace) last(shard string) []Event {
	var out []Event
	for _, e := range slices.Backward(t.events) {
		if e.Shard == shard || e.Shard == "" {
			if out = append(out, e); len(out) == traceLength {
				break
			}
		}
	}
	slices.Reverse(out)
	return out
}

// hash returns a hash of the trace. The order of events at one instant does not count.
func (t *trace) hash() uint64 {
	var all uint64
	for _, e := range t.events {
		h := fnv.New64a()
		_, _ = fmt.Fprintf(h, "%d %s %s", e.At.Sub(t.begin), e.Shard, e.Text)
		all += h.Sum64()
	}
	return all
}
