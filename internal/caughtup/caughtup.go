// Package caughtup tells whether the reader of a shard has caught up with its producers.
package caughtup

import (
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/metrics"
)

const (
	confirmAfter = time.Second // the least time between two answers with a lag of 0
	maxAge       = time.Minute // the maximal age of the last answer of a shard that is caught up
)

// Tip tells how near a consumer is to the newest record of its shard.
//
//	answer       lag 9s   lag 0   lag 0   lag 0   lag 0   lag 0   lag 7s
//	records         500      20       -       -       3       -        -
//	                                  ^       ^       ^       ^
//	                                  first   caught up, until the lag returns
//
// One answer with a lag of 0 proves nothing. While the processor has records, the shard is not
// caught up.
type Tip struct {
	read       lag  // of the last batch that was read
	processed  lag  // of the last batch that was processed
	processing bool // the last batch that was read is being processed

	tipSince     time.Time // the first processed answer with a lag of 0 at this position; zero with a lag
	caughtUp     bool      // no answer since lastCaughtUp had a lag
	lastCaughtUp time.Time // when the shard was last found to be caught up
}

// lag is the lag of one batch.
type lag struct {
	at    time.Time // when the batch came; zero before the first batch
	value time.Duration
	known bool
}

// Read records a batch that was read and is processed next.
func (t *Tip) Read(b kcl.Batch) {
	t.read, t.processing = lag{b.ReceivedAt, b.BehindLatest, !b.LagUnknown}, true
	if b.LagUnknown || b.BehindLatest > 0 {
		t.tipSince, t.caughtUp = time.Time{}, false
	}
}

// Processed records that the batch was processed.
func (t *Tip) Processed(b kcl.Batch) {
	t.processed, t.processing = t.read, false
	switch {
	case b.LagUnknown || b.BehindLatest > 0:
	case len(b.Records) > 0 || t.tipSince.IsZero():
		t.tipSince = b.ReceivedAt
	case b.ReceivedAt.Sub(t.tipSince) >= confirmAfter:
		t.caughtUp, t.lastCaughtUp = true, b.ReceivedAt
	}
}

// CaughtUp tells whether the shard is caught up.
func (t *Tip) CaughtUp(now time.Time) bool {
	return t.caughtUp && !t.processing && now.Sub(t.read.at) <= maxAge
}

// Behind returns the lag of the processed records, and whether it is known. The lag grows while no
// batch is processed. A batch that is being processed only proves that there is a lag.
func (t *Tip) Behind(now time.Time) (time.Duration, bool) {
	var behind time.Duration
	if t.processed.known {
		seconds := metrics.Lag(t.processed.value.Seconds(), now.Sub(t.processed.at))
		behind = time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	}
	if t.processing {
		behind = max(behind, t.read.value)
	}
	return behind, t.processed.known || behind > 0
}

// LastCaughtUp returns when the shard was last found to be caught up; zero before.
func (t *Tip) LastCaughtUp() time.Time { return t.lastCaughtUp }

// LagKnown tells whether the last batch that was read had a lag.
func (t *Tip) LagKnown() bool { return t.read.known }

// Restarted returns the tip of a reader that begins again at an earlier position.
func (t *Tip) Restarted() Tip { return Tip{lastCaughtUp: t.lastCaughtUp} }
