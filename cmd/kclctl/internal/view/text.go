package view

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// Plural returns a number with its noun: "1 lease", "2 leases".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Join sorts names, and returns the first five: "a, b, and 7 more".
func Join(names []string) string { return First(5, slices.Sorted(slices.Values(names))) }

// First returns the first n names: "a, b, and 7 more".
func First(n int, names []string) string {
	if len(names) > n {
		names = append(names[:n:n], fmt.Sprintf("and %d more", len(names)-n))
	}
	return strings.Join(names, ", ")
}

// Summary counts the rows of a listing by their states.
func Summary(rows []Row, bad []BadRow) string {
	count := map[string]int{}
	for _, r := range rows {
		count[r.State]++
	}
	var states []string
	for _, state := range []string{stateHeld, stateHandOver, stateFree, stateFinished} {
		if count[state] > 0 {
			states = append(states, fmt.Sprintf("%d %s", count[state], state))
		}
	}
	s := Plural(len(rows), "lease")
	if len(states) > 0 {
		s += ": " + strings.Join(states, ", ")
	}
	if len(bad) > 0 {
		s += fmt.Sprintf("; %s cannot be read", Plural(len(bad), "row"))
	}
	return s
}

// Attributes lists names and values of the attributes that a lease has.
func Attributes(l leases.Lease) [][]string {
	cells := [][]string{{"key", l.Key}}
	add := func(name, value string) {
		if value != "" {
			cells = append(cells, []string{name, value})
		}
	}
	addTime := func(name string, t time.Time) {
		if !t.IsZero() {
			add(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	add("stream", l.Stream)
	add("shard", l.ShardID)
	add("state", State(l))
	add("owner", Owner(l))
	add("taken by worker", l.NativeOwner)
	add("counter", strconv.FormatInt(l.Counter, 10))
	add("owner switches since checkpoint", strconv.FormatInt(l.OwnerSwitchesSinceCheckpoint, 10))
	add("checkpoint", l.Checkpoint.String())
	if !l.Pending.IsZero() {
		add("pending checkpoint", fmt.Sprintf("%s (with %d bytes of state)", l.Pending, len(l.PendingState)))
	}
	add("parents", strings.Join(slices.Sorted(slices.Values(l.Parents)), " "))
	add("children", strings.Join(slices.Sorted(slices.Values(l.Children)), " "))
	if l.HashKeyRange != (kcl.HashKeyRange{}) {
		add("hash keys", l.HashKeyRange.Start+" to "+l.HashKeyRange.End)
	}
	if l.ThroughputKBps >= 0 {
		add("throughput", strconv.FormatFloat(l.ThroughputKBps, 'f', -1, 64)+" KB/s")
	}
	addTime("start pinned at", l.PinnedAt)
	addTime("stream created", l.StreamCreated)
	add("application", l.Application)
	add("stream ARN", l.StreamARN)
	add("application began at", l.Origin.String())
	add("paused", l.Paused)
	add("reset", l.Reset)
	addTime("reached", l.Reached)
	return cells
}
