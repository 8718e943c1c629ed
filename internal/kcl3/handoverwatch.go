package kcl3

import (
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// HandoverWatch compares scans, and tells which hand-overs take too long. Every worker keeps one,
// so that a new leader knows the hand-overs that are under way.
type HandoverWatch struct {
	seen map[string]handoverSeen
}

// handoverSeen is a hand-over and when it was first seen.
type handoverSeen struct {
	from, to string
	since    time.Duration
}

// Observe compares the rows of a scan with the earlier ones. at is the monotonic time of the scan.
func (w *HandoverWatch) Observe(at time.Duration, rows []leases.Lease) {
	seen := map[string]handoverSeen{}
	for _, l := range rows {
		if l.CheckpointOwner == "" {
			continue
		}
		h, known := w.seen[l.Key]
		if !known || h.from != l.CheckpointOwner || h.to != l.Owner {
			h = handoverSeen{from: l.CheckpointOwner, to: l.Owner, since: at}
		}
		seen[l.Key] = h
	}
	w.seen = seen
}

// Overdue returns the keys of the leases whose hand-over takes too long at the monotonic time at.
// limit returns how long an owner may take.
func (w *HandoverWatch) Overdue(at time.Duration, limit func(owner string) time.Duration) map[string]bool {
	overdue := map[string]bool{}
	for key, h := range w.seen {
		if at-h.since > limit(h.from) {
			overdue[key] = true
		}
	}
	return overdue
}
