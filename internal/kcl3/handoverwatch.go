package kcl3

import (
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// HandoverWatch tells which leases have been handed over for too long, from one
// scan to the next. If all workers keep one, a new leader need not begin anew.
type HandoverWatch struct {
	seen map[string]handoverSeen
}

type handoverSeen struct {
	from, to string
	since    time.Duration
}

// Note takes in a scan.
func (w *HandoverWatch) Note(at time.Duration, rows []leases.Lease) {
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

// Overdue returns the keys of the leases that have been handed over for longer than
// limit says of the owner that does so.
func (w *HandoverWatch) Overdue(at time.Duration, limit func(owner string) time.Duration) map[string]bool {
	overdue := map[string]bool{}
	for key, h := range w.seen {
		if at-h.since > limit(h.from) {
			overdue[key] = true
		}
	}
	return overdue
}
