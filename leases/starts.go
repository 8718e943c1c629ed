package leases

import (
	"time"

	"github.com/kinesis-go/kcl"
)

// epoch is the pin of a row that is read from TRIM_HORIZON although its
// checkpoint says LATEST or AT_TIMESTAMP: no record is older.
var epoch = time.UnixMilli(0).UTC()

// Start returns where the shard is read from: at its checkpoint, or at the time
// that belongs to LATEST or AT_TIMESTAMP. ok is false while that time is not in
// the row: nobody may read the shard before it is, see [PlanStarts].
func (l Lease) Start() (start kcl.Position, ok bool) {
	switch {
	case l.timed() && l.PinnedAt.IsZero():
		return kcl.Position{}, false
	case l.timed() && !l.PinnedAt.Equal(epoch):
		return kcl.Position{Kind: kcl.AtTimestamp, Timestamp: l.PinnedAt}, true
	case l.Started():
		return kcl.At(l.Checkpoint.SequenceNumber), true
	}
	return kcl.Position{Kind: kcl.TrimHorizon}, true
}

// timed tells whether a time belongs to the checkpoint.
func (l Lease) timed() bool {
	s := l.Checkpoint.SequenceNumber
	return s == kcl.SentinelLatest || s == kcl.SentinelAtTimestamp
}

// began returns the origin that the row tells, given the configured initial
// position. In a row from before there were origins it is the pin, if its kind
// is the configured one: such rows keep the pin of LATEST beside a number.
func (l Lease) began(initial kcl.InitialPosition) Origin {
	if !l.Origin.IsZero() || l.PinnedAt.IsZero() {
		return l.Origin
	}
	kind := kcl.SentinelLatest
	if l.timed() {
		kind = l.Checkpoint.SequenceNumber
	}
	if kind != initial.Sentinel().SequenceNumber {
		return Origin{}
	}
	return Origin{Kind: kind, At: l.PinnedAt}
}

// StreamOrigin returns where the application began to read a stream, as its
// rows tell: the earliest origin among them. rows of other streams are ignored.
// initial is the configured initial position; it only decides whether the pins
// of rows without an origin count. The result is zero when the rows do not tell.
func StreamOrigin(rows []Lease, initial kcl.InitialPosition, opt SyncOptions) Origin {
	var least Origin
	for _, l := range rows {
		if o := l.began(initial); opt.owns(l) && (least.IsZero() || o.Before(least)) {
			least = o
		}
	}
	return least
}

// Starts is what decides where the rows of one stream start that do not say it
// themselves.
type Starts struct {
	// Initial is the configured initial position.
	Initial kcl.InitialPosition
	// Latest is the service's time, less a margin, for which LATEST stands in a
	// row without a pin. Zero when it is not known.
	Latest time.Time
	// Origin is where the application began to read the stream, see
	// [StreamOrigin]; zero when that is not known.
	Origin Origin
}

// Settle returns l with its start put right, and which attributes changed. Write
// these if Checkpoint, PinnedAt and Origin are still as in l; see [PlanStarts].
//
//   - A pin beside a number or TRIM_HORIZON is removed: it belonged to the LATEST
//     or AT_TIMESTAMP that stood there before. Left alone, it would be taken for the time of a
//     LATEST that somebody writes later.
//   - LATEST without a pin gets Latest, if that is known.
//   - AT_TIMESTAMP without a pin gets the configured time. Without such a time it
//     gets the beginning of 1970, for which readers ask TRIM_HORIZON.
//   - A row that was made for a later start than Origin gets the earlier one. A
//     pin that was written by hand differs from the row's own origin, and stays.
//   - A row without an origin gets its own pin as origin, if that is of the
//     configured kind, or else Origin.
func (s Starts) Settle(l Lease) (to Lease, changed Attr) {
	to = l
	switch l.Checkpoint.SequenceNumber {
	case kcl.SentinelLatest:
		if l.PinnedAt.IsZero() {
			to.PinnedAt = wholeMillis(s.Latest)
		}
	case kcl.SentinelAtTimestamp:
		if l.PinnedAt.IsZero() {
			to.PinnedAt = epoch
			if configured := OriginOf(s.Initial, time.Time{}); configured.Kind == kcl.SentinelAtTimestamp {
				to.PinnedAt = configured.At
			}
		}
	}
	for _, o := range []Origin{l.began(s.Initial), s.Origin, to.began(s.Initial)} {
		if to.Origin.IsZero() {
			to.Origin = o
		}
	}
	if pin, later := to.MadeLater(s.Origin); later {
		to.PinnedAt = pin
	}
	if !l.timed() {
		to.PinnedAt = time.Time{}
	}
	if !to.PinnedAt.Equal(l.PinnedAt) {
		changed |= AttrPinnedAt
	}
	if !to.Origin.Equal(l.Origin) {
		changed |= AttrOrigin
	}
	return to, changed
}

// MadeLater tells whether l, which has not been read, was made for a later start
// than origin, by a worker that did not know of it. pin is then the time to which
// the row must be pinned before its first delivery.
func (l Lease) MadeLater(origin Origin) (pin time.Time, later bool) {
	if !l.timed() || !l.Origin.Equal(Origin{Kind: l.Checkpoint.SequenceNumber, At: l.PinnedAt}) || !origin.Before(l.Origin) {
		return time.Time{}, false
	}
	return origin.pin(), true
}

// unpinned is l without its pin, for those who do not know the configuration. What
// the pin tells of the application's beginning stays in the origin.
func (l Lease) unpinned() Lease {
	if l.Origin.IsZero() && !l.PinnedAt.IsZero() {
		l.Origin = Origin{Kind: kcl.SentinelLatest, At: l.PinnedAt} // releases without origins pinned LATEST only
		if l.timed() {
			l.Origin.Kind = l.Checkpoint.SequenceNumber
		}
	}
	l.PinnedAt = time.Time{}
	return l
}

// Moved returns l with its checkpoint set by hand, and which attributes that
// changes. at is the time that belongs to LATEST (the service's now) or
// AT_TIMESTAMP; it is ignored for other positions, which have none. Where the
// application began stays as it is.
func (l Lease) Moved(checkpoint kcl.ExtendedSequenceNumber, at time.Time) (to Lease, changed Attr) {
	to = l.unpinned()
	to.Checkpoint = checkpoint
	if to.timed() {
		to.PinnedAt = wholeMillis(at)
	}
	return to, AttrCheckpoint | AttrPinnedAt | AttrOrigin
}

// pin is the time to which a row at LATEST or AT_TIMESTAMP is pinned that starts
// at o.
func (o Origin) pin() time.Time {
	if o.At.IsZero() {
		return epoch
	}
	return o.At
}

// PlanStarts returns the writes by which the rows of one stream say where they
// start, so that every process decides alike. Any worker makes them, at each
// synchronisation; a conflict means that another was faster. rows of other
// streams are ignored, as are those of which all is said. It is pure, and
// planning again with its result plans nothing.
func PlanStarts(rows []Lease, initial kcl.InitialPosition, opt SyncOptions) []Update {
	s := Starts{Initial: initial, Latest: opt.PinnedAt, Origin: StreamOrigin(rows, initial, opt)}
	settled := make([]Lease, len(rows))
	for i, l := range rows {
		settled[i], _ = s.Settle(l)
	}
	s.Origin = StreamOrigin(settled, initial, opt) // a pin that is made now tells where the application began
	var plan []Update
	for _, l := range rows {
		if !opt.owns(l) {
			continue
		}
		if to, changed := s.Settle(l); changed != 0 {
			plan = append(plan, Update{Read: l, Expect: AttrCheckpoint | AttrPinnedAt | AttrOrigin, To: to, Set: changed})
		}
	}
	return plan
}

// owns tells whether a row is one of the stream's.
func (o SyncOptions) owns(l Lease) bool {
	if !o.Multi {
		return l.Stream == ""
	}
	return l.Stream == o.Stream.String()
}
