// Package view turns the leases of a table into texts: states, owners, attributes, and rows of
// JSON. It prints nothing.
package view

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// StateBad is the state of a row that cannot be read.
const StateBad = "bad"

const (
	stateFree     = "free"
	stateHeld     = "held"
	stateHandOver = "hand-over pending"
	stateFinished = "finished"
)

// State returns free, held, hand-over pending or finished.
func State(l leases.Lease) string {
	switch {
	case l.Finished():
		return stateFinished
	case l.HandingOver():
		return stateHandOver
	case l.Owner != "":
		return stateHeld
	}
	return stateFree
}

// Owner names the owner of a lease, and during a hand-over the next owner too: "a -> b". It is "-"
// for a free lease.
func Owner(l leases.Lease) string {
	switch {
	case l.HandingOver():
		return l.CheckpointOwner + " -> " + l.Owner
	case l.Owner != "":
		return l.Owner
	}
	return "-"
}

// Row is a lease in JSON.
type Row struct {
	Key               string   `json:"key"`
	Stream            string   `json:"stream,omitempty"`
	ShardID           string   `json:"shardId"`
	State             string   `json:"state"`
	Owner             string   `json:"owner,omitempty"`
	NextOwner         string   `json:"nextOwner,omitempty"`
	Counter           int64    `json:"counter"`
	OwnerSwitches     int64    `json:"ownerSwitchesSinceCheckpoint"`
	Checkpoint        string   `json:"checkpoint"`
	SubSequenceNumber int64    `json:"subSequenceNumber"`
	Pending           string   `json:"pendingCheckpoint,omitempty"`
	PendingStateBytes int      `json:"pendingStateBytes,omitempty"`
	Parents           []string `json:"parents,omitempty"`
	Children          []string `json:"children,omitempty"`
	StartingHashKey   string   `json:"startingHashKey,omitempty"`
	EndingHashKey     string   `json:"endingHashKey,omitempty"`
	ThroughputKBps    *float64 `json:"throughputKBps,omitempty"`
	Extension
}

// Extension is the attributes of a row that only this library writes. In JSON they lie beside the
// others.
type Extension struct {
	NativeOwner   string    `json:"nativeOwner,omitempty"`
	PinnedAt      time.Time `json:"pinnedAt,omitzero"`
	StreamCreated time.Time `json:"streamCreated,omitzero"`
	Application   string    `json:"application,omitempty"`
	StreamARN     string    `json:"streamARN,omitempty"`
	Origin        string    `json:"origin,omitempty"`
	Paused        string    `json:"paused,omitempty"`
	Reset         string    `json:"reset,omitempty"`
	Reached       time.Time `json:"reached,omitzero"`
	Abilities     int64     `json:"abilities,omitempty"`
	HandoverTo    string    `json:"handoverTo,omitempty"`
}

// RowOf returns the lease as a row of JSON, with its times in UTC.
func RowOf(l leases.Lease) Row {
	r := Row{
		Key: l.Key, Stream: l.Stream, ShardID: l.ShardID, State: State(l), Owner: l.ActualOwner(), Counter: l.Counter,
		OwnerSwitches: l.OwnerSwitchesSinceCheckpoint,
		Checkpoint:    l.Checkpoint.SequenceNumber, SubSequenceNumber: l.Checkpoint.SubSequenceNumber,
		Pending: l.Pending.String(), PendingStateBytes: len(l.PendingState),
		Parents: slices.Sorted(slices.Values(l.Parents)), Children: slices.Sorted(slices.Values(l.Children)),
		StartingHashKey: l.HashKeyRange.Start, EndingHashKey: l.HashKeyRange.End,
		Extension: Extension{
			NativeOwner: l.NativeOwner, PinnedAt: l.PinnedAt.UTC(), StreamCreated: l.StreamCreated.UTC(),
			Application: l.Application, StreamARN: l.StreamARN, Origin: l.Origin.String(),
			Paused: l.Paused, Reset: l.Reset, Reached: l.Reached.UTC(), Abilities: l.Abilities, HandoverTo: l.HandoverTo,
		},
	}
	if l.HandingOver() {
		r.NextOwner = l.Owner
	}
	if l.ThroughputKBps >= 0 {
		r.ThroughputKBps = &l.ThroughputKBps
	}
	return r
}

// BadRow is a row that cannot be read, in JSON.
type BadRow struct {
	Key    string `json:"key"`
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// BadOf returns the row of an error, with its reason in one line.
func BadOf(e *leases.RowError) BadRow {
	return BadRow{Key: e.Key, State: StateBad, Reason: strings.ReplaceAll(e.Err.Error(), "\n", "; ")}
}

// Name is the key of the row, or says that it has none.
func (b BadRow) Name() string { return cmp.Or(b.Key, "(no key)") }
