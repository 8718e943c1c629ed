package leases

import (
	"fmt"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
)

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

// String returns the text that the lease table keeps; empty when the origin is not known.
func (o Origin) String() string {
	if o.At.IsZero() {
		return o.Kind
	}
	return o.Kind + "@" + o.At.UTC().Format(originLayout)
}

// MarshalText implements [encoding.TextMarshaler] with [Origin.String].
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It reads the text of [Origin.String] alone:
// "TRIM_HORIZON", "LATEST@" or "AT_TIMESTAMP@" with a time in RFC 3339 and UTC, or nothing. The
// origin is zero after an error.
func (o *Origin) UnmarshalText(text []byte) error {
	*o = Origin{}
	s := string(text)
	kind, at, timed := strings.Cut(s, "@")
	switch {
	case s == "":
		return nil
	case kind == kcl.SentinelTrimHorizon && !timed:
		o.Kind = kind
		return nil
	case timed && (kind == kcl.SentinelLatest || kind == kcl.SentinelAtTimestamp):
		t, err := time.Parse(originLayout, at)
		if read := (Origin{Kind: kind, At: t}); err == nil && read.String() == s {
			*o = read
			return nil
		}
	}
	return fmt.Errorf("want TRIM_HORIZON, or LATEST or AT_TIMESTAMP with a time, such as LATEST@%s", originLayout)
}

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
