// Package caughtup tells whether the reader of a shard has caught up with its producers.
package caughtup

import (
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/metrics"
)

const (
	confirmAfter = time.Second // between two answers that say that nothing is unread
	maxAge       = time.Minute // of the last answer of a shard that is caught up
)

// Tip is how near to the newest record of its shard a consumer is.
//
//	answer       lag 9s   lag 0   lag 0   lag 0   lag 0   lag 0   lag 7s
//	records         500      20       -       -       3       -        -
//	                                  ^       ^       ^       ^
//	                                  first   caught up, till the lag is back
//
// One answer alone is not believed. Records that come at the tip are behind in
// being processed only while the processor has them.
type Tip struct {
	read lag  // in the last batch that was read
	past lag  // in the last batch that was processed
	open bool // the last batch that was read is being processed

	first  time.Time // when nothing was unread for the first time at this place; zero when something is
	caught bool      // nothing has spoken against it since caughtAt
	at     time.Time // when the shard was last found to be caught up
}

// lag is what a batch says of its lag.
type lag struct {
	at    time.Time // zero before the first batch
	is    time.Duration
	known bool
}

// Read takes in a batch that was read and is processed next.
func (t *Tip) Read(b kcl.Batch) {
	t.read, t.open = lag{b.ReceivedAt, b.BehindLatest, !b.LagUnknown}, true
	if b.LagUnknown || b.BehindLatest > 0 {
		t.first, t.caught = time.Time{}, false
	}
}

// Processed says that the batch has been processed.
func (t *Tip) Processed(b kcl.Batch) {
	t.past, t.open = t.read, false
	switch {
	case b.LagUnknown || b.BehindLatest > 0:
	case len(b.Records) > 0 || t.first.IsZero():
		t.first = b.ReceivedAt
	case b.ReceivedAt.Sub(t.first) >= confirmAfter:
		t.caught, t.at = true, b.ReceivedAt
	}
}

// CaughtUp tells whether the shard is caught up.
func (t *Tip) CaughtUp(now time.Time) bool {
	return t.caught && !t.open && now.Sub(t.read.at) <= maxAge
}

// Behind is the lag of the processed records. It grows while no batch is processed. A batch
// that is not processed yet only proves that there is a lag.
func (t *Tip) Behind(now time.Time) (time.Duration, bool) {
	var behind time.Duration
	if t.past.known {
		seconds := metrics.Lag(t.past.is.Seconds(), now.Sub(t.past.at))
		behind = time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	}
	if t.open {
		behind = max(behind, t.read.is)
	}
	return behind, t.past.known || behind > 0
}

// LastCaughtUp is when the shard was last found to be caught up; zero before.
func (t *Tip) LastCaughtUp() time.Time { return t.at }

// LagKnown tells whether the last batch that was read says its lag.
func (t *Tip) LagKnown() bool { return t.read.known }

// Restarted returns the tip of a reader that begins anew at an earlier place.
func (t *Tip) Restarted() Tip { return Tip{at: t.at} }
