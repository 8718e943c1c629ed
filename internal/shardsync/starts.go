package shardsync

import (
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// rowOrigin returns the origin that the row tells, given the configured initial
// position. In a row from before there were origins it is the pin, if its kind
// is the configured one: such rows keep the pin of LATEST beside a number.
func rowOrigin(l leases.Lease, initial kcl.InitialPosition) leases.Origin {
	if !l.Origin.IsZero() || l.PinnedAt.IsZero() {
		return l.Origin
	}
	kind := kcl.SentinelLatest
	if l.Timed() {
		kind = l.Checkpoint.SequenceNumber
	}
	if kind != initial.Sentinel().SequenceNumber {
		return leases.Origin{}
	}
	return leases.Origin{Kind: kind, At: l.PinnedAt}
}

// StreamOrigin returns where the application began to read a stream, as its
// rows tell: the earliest origin among them. rows of other streams are ignored.
// initial is the configured initial position; it only decides whether the pins
// of rows without an origin count. The result is zero when the rows do not tell.
func StreamOrigin(rows []leases.Lease, initial kcl.InitialPosition, opt Options) leases.Origin {
	var least leases.Origin
	for _, l := range rows {
		if o := rowOrigin(l, initial); opt.owns(l) && (least.IsZero() || o.Before(least)) {
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
	Origin leases.Origin
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
func (s Starts) Settle(l leases.Lease) (to leases.Lease, changed leases.Attr) {
	to = l
	switch l.Checkpoint.SequenceNumber {
	case kcl.SentinelLatest:
		if l.PinnedAt.IsZero() {
			to.PinnedAt = leases.OriginOf(kcl.InitialPosition{Kind: kcl.Latest}, s.Latest).At
		}
	case kcl.SentinelAtTimestamp:
		if l.PinnedAt.IsZero() {
			to.PinnedAt = leases.OriginOf(kcl.InitialPosition{Kind: kcl.TrimHorizon}, time.Time{}).Pin()
			if configured := leases.OriginOf(s.Initial, time.Time{}); configured.Kind == kcl.SentinelAtTimestamp {
				to.PinnedAt = configured.At
			}
		}
	}
	for _, o := range []leases.Origin{rowOrigin(l, s.Initial), s.Origin, rowOrigin(to, s.Initial)} {
		if to.Origin.IsZero() {
			to.Origin = o
		}
	}
	if pin, later := MadeLater(to, s.Origin); later {
		to.PinnedAt = pin
	}
	if !l.Timed() {
		to.PinnedAt = time.Time{}
	}
	if !to.PinnedAt.Equal(l.PinnedAt) {
		changed |= leases.AttrPinnedAt
	}
	if !to.Origin.Equal(l.Origin) {
		changed |= leases.AttrOrigin
	}
	return to, changed
}

// MadeLater tells whether l, which has not been read, was made for a later start
// than origin, by a worker that did not know of it. pin is then the time to which
// the row must be pinned before its first delivery.
func MadeLater(l leases.Lease, origin leases.Origin) (pin time.Time, later bool) {
	if !l.Timed() || !l.Origin.Equal(leases.Origin{Kind: l.Checkpoint.SequenceNumber, At: l.PinnedAt}) || !origin.Before(l.Origin) {
		return time.Time{}, false
	}
	return origin.Pin(), true
}

// PlanStarts returns the writes by which the rows of one stream say where they
// start, so that every process decides alike. Any worker makes them, at each
// synchronisation; a conflict means that another was faster. rows of other
// streams are ignored, as are those of which all is said. It is pure, and
// planning again with its result plans nothing.
func PlanStarts(rows []leases.Lease, initial kcl.InitialPosition, opt Options) []leases.Update {
	s := Starts{Initial: initial, Latest: opt.PinnedAt, Origin: StreamOrigin(rows, initial, opt)}
	settled := make([]leases.Lease, len(rows))
	for i, l := range rows {
		settled[i], _ = s.Settle(l)
	}
	s.Origin = StreamOrigin(settled, initial, opt) // a pin that is made now tells where the application began
	var plan []leases.Update
	for _, l := range rows {
		if !opt.owns(l) {
			continue
		}
		if to, changed := s.Settle(l); changed != 0 {
			plan = append(plan, leases.Update{Read: l, Expect: leases.AttrCheckpoint | leases.AttrPinnedAt | leases.AttrOrigin, To: to, Set: changed})
		}
	}
	return plan
}

// owns tells whether a row is one of the stream's.
func (o Options) owns(l leases.Lease) bool {
	if !o.Multi {
		return l.Stream == ""
	}
	return l.Stream == o.Stream.String()
}
