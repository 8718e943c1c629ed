package shardsync

import (
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// rowOrigin returns the origin that a row tells. Rows of older releases have none. For such a row
// it returns PinnedAt, if that is of the kind of initial, the configured initial position. Such a
// row keeps the PinnedAt of LATEST beside a sequence number.
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

// StreamOrigin returns the position where the application began to read a stream: the earliest
// origin of its rows. rows of other streams are ignored. initial is the configured initial
// position. It only decides whether the PinnedAt of a row without an origin counts. The result is
// zero when no row tells an origin.
func StreamOrigin(rows []leases.Lease, initial kcl.InitialPosition, opt Options) leases.Origin {
	var least leases.Origin
	for _, l := range rows {
		if o := rowOrigin(l, initial); opt.owns(l) && (least.IsZero() || o.Before(least)) {
			least = o
		}
	}
	return least
}

// Starts says where readers begin with the rows of one stream that do not say it themselves.
type Starts struct {
	// Initial is the configured initial position.
	Initial kcl.InitialPosition
	// Latest is the service's time, less a margin. It replaces LATEST in a row without PinnedAt. It
	// is zero when it is not known.
	Latest time.Time
	// Origin is the position where the application began to read the stream; see [StreamOrigin]. It
	// is zero when it is not known.
	Origin leases.Origin
}

// Settle returns l with its start corrected, and the attributes that changed. Write them if
// Checkpoint, PinnedAt and Origin are still as in l; see [PlanStarts].
//
//   - A PinnedAt beside a sequence number or TRIM_HORIZON is removed. It belonged to an earlier
//     LATEST or AT_TIMESTAMP. If the checkpoint were set to LATEST later, it would start at that
//     time.
//   - LATEST without PinnedAt gets Latest, if that is known.
//   - AT_TIMESTAMP without PinnedAt gets the configured time. Without such a time it gets the
//     beginning of 1970, for which readers ask TRIM_HORIZON.
//   - A row that was made for a later start than Origin gets the earlier one. A PinnedAt that was
//     written by hand differs from the row's own origin, and is kept.
//   - A row without an origin gets its PinnedAt as origin, if that is of the configured kind.
//     Otherwise it gets Origin.
func (s Starts) Settle(l leases.Lease) (to leases.Lease, changed leases.Attr) {
	to = l
	switch l.Checkpoint.SequenceNumber {
	case kcl.SentinelLatest:
		if l.PinnedAt.IsZero() {
			to.PinnedAt = OriginOf(kcl.InitialPosition{Kind: kcl.Latest}, s.Latest).At
		}
	case kcl.SentinelAtTimestamp:
		if l.PinnedAt.IsZero() {
			to.PinnedAt = OriginOf(kcl.InitialPosition{Kind: kcl.TrimHorizon}, time.Time{}).Pin()
			if configured := OriginOf(s.Initial, time.Time{}); configured.Kind == kcl.SentinelAtTimestamp {
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

// MadeLater tells whether l was made for a later start than origin, by a worker that did not know
// origin. It is false for a row that has been read from. pin is the PinnedAt that the row must get
// before its first delivery.
func MadeLater(l leases.Lease, origin leases.Origin) (pin time.Time, later bool) {
	own := leases.Origin{Kind: l.Checkpoint.SequenceNumber, At: l.PinnedAt}
	if !l.Timed() || !l.Origin.Equal(own) || !origin.Before(l.Origin) {
		return time.Time{}, false
	}
	return origin.Pin(), true
}

// PlanStarts returns the writes that put into the rows of one stream where their readers begin. So
// every process decides alike. Any worker makes these writes, at each synchronisation. A conflict
// means that another worker was faster. Rows of other streams and complete rows are ignored.
// PlanStarts is pure, and planning again with its result plans nothing.
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
			plan = append(plan, leases.Update{
				Read: l, Expect: leases.AttrCheckpoint | leases.AttrPinnedAt | leases.AttrOrigin,
				To: to, Set: changed,
			})
		}
	}
	return plan
}

// owns tells whether l is a row of the stream.
func (o Options) owns(l leases.Lease) bool {
	if !o.Multi {
		return l.Stream == ""
	}
	return l.Stream == o.Stream.String()
}

// epoch is the earliest time that a table keeps. No record is as old.
var epoch = time.UnixMilli(0).UTC()

// OriginOf returns the origin of an application that begins at initial, with its time in whole
// milliseconds. latest is the service's time, which LATEST stands for. The result is zero when the
// time that belongs to initial is zero.
func OriginOf(initial kcl.InitialPosition, latest time.Time) leases.Origin {
	switch initial.Kind {
	case kcl.Latest:
		if latest.IsZero() {
			return leases.Origin{}
		}
		return leases.Origin{Kind: kcl.SentinelLatest, At: latest.Truncate(time.Millisecond)}
	case kcl.AtTimestamp:
		if initial.Timestamp.IsZero() {
			return leases.Origin{}
		}
		if initial.Timestamp.Before(epoch) {
			return leases.Origin{Kind: kcl.SentinelAtTimestamp, At: epoch}
		}
		return leases.Origin{Kind: kcl.SentinelAtTimestamp, At: initial.Timestamp.Truncate(time.Millisecond)}
	}
	return leases.Origin{Kind: kcl.SentinelTrimHorizon}
}
