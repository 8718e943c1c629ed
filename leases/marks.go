package leases

import (
	"fmt"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
)

// Marks say which application and stream a lease belongs to. Every lease that this library makes or
// takes carries them. So a table of another application or stream is refused before anything is
// written to it. The Java KCL leaves these attributes alone. An empty field is not known, and
// matches every value.
type Marks struct {
	// Application is the name of the application (Config.Application of the scheduler).
	Application string
	// Stream is the value of Lease.Stream: account:stream:epoch in an application with several
	// streams, and empty otherwise.
	Stream string
	// StreamARN is the value of Lease.StreamARN: the ARN of the stream. In an application with several
	// streams it ends with the region.
	StreamARN string
}

// MarksOf returns the marks of a stream's leases. multi says that the application reads several
// streams.
func MarksOf(application string, stream kcl.StreamIdentifier, multi bool) Marks {
	m := Marks{Application: application, StreamARN: stream.ARN}
	if multi {
		m.Stream, m.StreamARN = stream.String(), regionOf(stream.ARN)
	}
	return m
}

// regionOf returns arn:PARTITION:kinesis:REGION of the ARN of a stream.
func regionOf(arn string) string {
	parts := strings.SplitN(arn, ":", 5)
	return strings.Join(parts[:min(len(parts), 4)], ":")
}

// Complete returns l with the marks that it lacks, and the attributes of these marks. A mark that l
// has is kept, even a foreign one.
func (m Marks) Complete(l Lease) (Lease, Attr) {
	var set Attr
	if l.Application == "" && m.Application != "" {
		l.Application, set = m.Application, set|AttrApplication
	}
	if l.StreamARN == "" && m.StreamARN != "" {
		l.StreamARN, set = m.StreamARN, set|AttrStreamARN
	}
	return l, set
}

// Check returns an error that wraps [ErrForeignTable] when l is marked with another application. It
// does the same when the key of l names this stream and its mark names another one. The error names
// both. Leases of other streams of the application are fine.
func (m Marks) Check(l Lease) error {
	switch {
	case l.Application != "" && m.Application != "" && l.Application != m.Application:
		return fmt.Errorf("%w: lease %q belongs to application %s, and this is application %s: "+
			"give each application a lease table of its own (Config.Table); "+
			"when the application has a new name, "+
			"stop all of its workers and run `kclctl leases adopt -application %s -table TABLE`",
			ErrForeignTable, l.Key, l.Application, m.Application, m.Application)
	case l.Stream == m.Stream && l.StreamARN != "" && m.StreamARN != "" && l.StreamARN != m.StreamARN:
		return fmt.Errorf("%w: lease %q belongs to stream %s, and this worker of application %s reads %s: "+
			"give each of them a lease table of its own (Config.Table); "+
			"when it is the same stream with the same records, "+
			"stop all workers and run `kclctl leases adopt -application %s -stream ARN -table TABLE`",
			ErrForeignTable, l.Key, l.StreamARN, m.Application, m.StreamARN, m.Application)
	}
	return nil
}

// Origin is the position where the application began to read the stream of a lease: its initial
// position when the first lease was made. The zero value means that it is not known. Compare
// origins with [Origin.Equal].
type Origin struct {
	// Kind is kcl.SentinelTrimHorizon, kcl.SentinelLatest or kcl.SentinelAtTimestamp; empty when the
	// origin is not known.
	Kind string
	// At is the service's time for LATEST and the configured time for AT_TIMESTAMP, in milliseconds.
	// It is zero for TRIM_HORIZON.
	At time.Time
}

// epoch is the PinnedAt of a row that is read from TRIM_HORIZON although its checkpoint says LATEST
// or AT_TIMESTAMP. No record is older.
var epoch = time.UnixMilli(0).UTC()

// originLayout is the layout of the time of an origin, in UTC.
const originLayout = "2006-01-02T15:04:05.999Z"

// OriginOf returns the origin of an application that begins at initial. latest is the service's
// time, which LATEST stands for. The result is zero when the time that belongs to initial is zero.
func OriginOf(initial kcl.InitialPosition, latest time.Time) Origin {
	switch initial.Kind {
	case kcl.Latest:
		if latest.IsZero() {
			return Origin{}
		}
		return Origin{Kind: kcl.SentinelLatest, At: wholeMillis(latest)}
	case kcl.AtTimestamp:
		if initial.Timestamp.IsZero() {
			return Origin{}
		}
		if initial.Timestamp.Before(epoch) { // tables keep no such time, and no record is as old
			return Origin{Kind: kcl.SentinelAtTimestamp, At: epoch}
		}
		return Origin{Kind: kcl.SentinelAtTimestamp, At: wholeMillis(initial.Timestamp)}
	}
	return Origin{Kind: kcl.SentinelTrimHorizon}
}

// ParseOrigin reads the text of [Origin.String]: "TRIM_HORIZON", "LATEST@" or "AT_TIMESTAMP@" with
// a time in RFC 3339 and UTC, or nothing.
func ParseOrigin(s string) (Origin, error) {
	kind, at, timed := strings.Cut(s, "@")
	switch {
	case s == "":
		return Origin{}, nil
	case kind == kcl.SentinelTrimHorizon && !timed:
		return Origin{Kind: kind}, nil
	case timed && (kind == kcl.SentinelLatest || kind == kcl.SentinelAtTimestamp):
		t, err := time.Parse(originLayout, at)
		if o := (Origin{Kind: kind, At: t}); err == nil && o.String() == s {
			return o, nil
		}
	}
	return Origin{}, fmt.Errorf("want TRIM_HORIZON, or LATEST or AT_TIMESTAMP with a time, such as LATEST@%s",
		originLayout)
}

// String returns the text that the lease table keeps; empty when the origin is not known.
func (o Origin) String() string {
	if o.At.IsZero() {
		return o.Kind
	}
	return o.Kind + "@" + o.At.UTC().Format(originLayout)
}

// MarshalText implements [encoding.TextMarshaler] with [Origin.String].
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// IsZero tells whether the origin is not known.
func (o Origin) IsZero() bool { return o.Kind == "" }

// Equal tells whether o and p are the same origin.
func (o Origin) Equal(p Origin) bool { return o.Kind == p.Kind && o.At.Equal(p.At) }

// Before tells whether a reader that begins at o gets more records than one that begins at p.
// TRIM_HORIZON is before every time. An origin that is not known is before none, and none is before
// it.
func (o Origin) Before(p Origin) bool {
	if o.IsZero() || p.IsZero() {
		return false
	}
	return o.At.Before(p.At)
}

// Pin returns the PinnedAt of a row at LATEST or AT_TIMESTAMP whose reader begins at o.
func (o Origin) Pin() time.Time {
	if o.At.IsZero() {
		return epoch
	}
	return o.At
}

// wholeMillis returns t in whole milliseconds, as lease tables keep it.
func wholeMillis(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.Truncate(time.Millisecond)
}
