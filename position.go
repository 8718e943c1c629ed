package kcl

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// The sentinels that a checkpoint can hold in place of a sequence number. They are spelled as in
// the lease tables of the Java KCL.
const (
	SentinelAtTimestamp = "AT_TIMESTAMP"
	SentinelTrimHorizon = "TRIM_HORIZON"
	SentinelLatest      = "LATEST"
	SentinelShardEnd    = "SHARD_END"
)

// ExtendedSequenceNumber is a place in a shard: a Kinesis sequence number or one of the sentinels,
// and the place inside an aggregated record. It is comparable with ==, and ordered by
// [ExtendedSequenceNumber.Compare]. The zero value means "no position". It matches the KCL class of
// the same name.
type ExtendedSequenceNumber struct {
	// SequenceNumber is a decimal number without sign, or a sentinel. Kinesis writes no leading
	// zeros. Some servers for tests do, and do not know the number without them. So it is kept
	// unchanged, and ordered by its value.
	SequenceNumber string
	// SubSequenceNumber counts the user records inside an aggregated Kinesis
	// record, from 0.
	SubSequenceNumber int64
}

// ErrInvalidSequenceNumber is wrapped by the errors of [ParseSequenceNumber].
var ErrInvalidSequenceNumber = errors.New("kcl: invalid sequence number")

// ParseSequenceNumber makes an ExtendedSequenceNumber of s. If s is neither a decimal number nor a
// sentinel, the error wraps [ErrInvalidSequenceNumber].
func ParseSequenceNumber(s string, sub int64) (ExtendedSequenceNumber, error) {
	n := ExtendedSequenceNumber{SequenceNumber: s, SubSequenceNumber: sub}
	if err := n.Validate(); err != nil {
		return ExtendedSequenceNumber{}, err
	}
	return n, nil
}

// Validate tells whether n can stand in a lease table. The sequence number must be a sentinel or a
// decimal number of at most 129 digits. The sub-sequence number must not be negative. The error
// wraps [ErrInvalidSequenceNumber].
func (n ExtendedSequenceNumber) Validate() error {
	if n.SubSequenceNumber < 0 {
		return fmt.Errorf("%w: sub-sequence number %d is negative", ErrInvalidSequenceNumber, n.SubSequenceNumber)
	}
	if n.IsSentinel() {
		return nil
	}
	s := n.SequenceNumber
	switch {
	case s == "":
		return fmt.Errorf("%w: it is empty; want %s", ErrInvalidSequenceNumber, wantNumber)
	case len(s) > 129:
		return fmt.Errorf("%w: %d characters, at most 129 digits are possible", ErrInvalidSequenceNumber, len(s))
	case strings.Trim(s, "0123456789") != "":
		return fmt.Errorf("%w: %q; want %s", ErrInvalidSequenceNumber, s, wantNumber)
	}
	return nil
}

const wantNumber = "decimal digits or TRIM_HORIZON, LATEST, AT_TIMESTAMP, SHARD_END"

// IsSentinel tells whether n is TRIM_HORIZON, LATEST, AT_TIMESTAMP or SHARD_END.
func (n ExtendedSequenceNumber) IsSentinel() bool {
	return n.rank() != rankNumber && n.SequenceNumber != ""
}

// IsZero tells whether n is no position at all.
func (n ExtendedSequenceNumber) IsZero() bool { return n == ExtendedSequenceNumber{} }

// IsShardEnd tells whether n says that the shard was processed to its end.
func (n ExtendedSequenceNumber) IsShardEnd() bool { return n.SequenceNumber == SentinelShardEnd }

const (
	rankZero = iota
	rankAtTimestamp
	rankTrimHorizon
	rankLatest
	rankNumber
	rankShardEnd
)

func (n ExtendedSequenceNumber) rank() int {
	switch n.SequenceNumber {
	case "":
		return rankZero
	case SentinelAtTimestamp:
		return rankAtTimestamp
	case SentinelTrimHorizon:
		return rankTrimHorizon
	case SentinelLatest:
		return rankLatest
	case SentinelShardEnd:
		return rankShardEnd
	}
	return rankNumber
}

// Compare orders positions of one shard: the zero value, AT_TIMESTAMP, TRIM_HORIZON, LATEST, the
// numbers by value and then by sub-sequence number, SHARD_END. Both must be valid. It does not
// allocate.
func (n ExtendedSequenceNumber) Compare(m ExtendedSequenceNumber) int {
	r := n.rank()
	if c := cmp.Compare(r, m.rank()); c != 0 {
		return c
	}
	if r == rankNumber {
		// Without leading zeros a longer decimal number is the larger one.
		a, b := significant(n.SequenceNumber), significant(m.SequenceNumber)
		if c := cmp.Compare(len(a), len(b)); c != 0 {
			return c
		}
		if c := strings.Compare(a, b); c != 0 {
			return c
		}
	}
	return cmp.Compare(n.SubSequenceNumber, m.SubSequenceNumber)
}

// significant returns a decimal number without its leading zeros.
func significant(digits string) string {
	for len(digits) > 1 && digits[0] == '0' {
		digits = digits[1:]
	}
	return digits
}

// String returns the sequence number. "/" and the sub-sequence number follow if that is not zero.
func (n ExtendedSequenceNumber) String() string {
	if n.SubSequenceNumber == 0 {
		return n.SequenceNumber
	}
	return fmt.Sprintf("%s/%d", n.SequenceNumber, n.SubSequenceNumber)
}

// MarshalText implements [encoding.TextMarshaler] with [ExtendedSequenceNumber.String].
func (n ExtendedSequenceNumber) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads the text of MarshalText.
func (n *ExtendedSequenceNumber) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*n = ExtendedSequenceNumber{}
		return nil
	}
	number, sub, has := strings.Cut(string(text), "/")
	var place int64
	if has {
		var err error
		if place, err = strconv.ParseInt(sub, 10, 64); err != nil {
			return fmt.Errorf("%w: sub-sequence number %q: want a number", ErrInvalidSequenceNumber, sub)
		}
	}
	parsed, err := ParseSequenceNumber(number, place)
	if err != nil {
		return err
	}
	*n = parsed
	return nil
}

// PositionKind is a kind of place where Kinesis lets a reader start.
type PositionKind int

// The kinds of position. The zero value is TrimHorizon, because a default must not skip data.
const (
	// TrimHorizon is the oldest record that the stream still keeps.
	TrimHorizon PositionKind = iota
	// Latest is right after the newest record.
	Latest
	// AtTimestamp is the first record that arrived at or after a time.
	AtTimestamp
	// AtSequenceNumber is the record with a sequence number.
	AtSequenceNumber
	// AfterSequenceNumber is right after the record with a sequence number.
	AfterSequenceNumber
)

// String returns the service's spelling, such as TRIM_HORIZON.
func (k PositionKind) String() string {
	switch k {
	case TrimHorizon:
		return SentinelTrimHorizon
	case Latest:
		return SentinelLatest
	case AtTimestamp:
		return SentinelAtTimestamp
	case AtSequenceNumber:
		return "AT_SEQUENCE_NUMBER"
	case AfterSequenceNumber:
		return "AFTER_SEQUENCE_NUMBER"
	}
	return fmt.Sprintf("PositionKind(%d)", int(k))
}

// MarshalText implements [encoding.TextMarshaler] with [PositionKind.String].
func (k PositionKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the text of MarshalText.
func (k *PositionKind) UnmarshalText(text []byte) error {
	for kind := TrimHorizon; kind <= AfterSequenceNumber; kind++ {
		if kind.String() == string(text) {
			*k = kind
			return nil
		}
	}
	return fmt.Errorf("kcl: position kind %q; "+
		"want TRIM_HORIZON, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER", text)
}

// Position is where a source starts to read a shard. The zero value is TRIM_HORIZON.
type Position struct {
	// Kind decides which of the other fields counts.
	Kind PositionKind
	// SequenceNumber belongs to AtSequenceNumber and AfterSequenceNumber.
	SequenceNumber string
	// Timestamp belongs to AtTimestamp. Kinesis keeps milliseconds.
	Timestamp time.Time
}

// At returns the position of the record with the sequence number.
func At(sequenceNumber string) Position {
	return Position{Kind: AtSequenceNumber, SequenceNumber: sequenceNumber}
}

// After returns the position right after the record with the sequence number.
func After(sequenceNumber string) Position {
	return Position{Kind: AfterSequenceNumber, SequenceNumber: sequenceNumber}
}

// String returns the kind with its sequence number or timestamp, for logs.
func (p Position) String() string {
	switch p.Kind {
	case AtSequenceNumber, AfterSequenceNumber:
		return p.Kind.String() + " " + p.SequenceNumber
	case AtTimestamp:
		return p.Kind.String() + " " + p.Timestamp.UTC().Format(time.RFC3339Nano)
	}
	return p.Kind.String()
}

// MarshalText implements [encoding.TextMarshaler] with [Position.String].
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the text of MarshalText.
func (p *Position) UnmarshalText(text []byte) error {
	kind, rest, _ := strings.Cut(string(text), " ")
	var out Position
	if err := out.Kind.UnmarshalText([]byte(kind)); err != nil {
		return err
	}
	switch out.Kind {
	case AtSequenceNumber, AfterSequenceNumber:
		out.SequenceNumber = rest
		if _, err := ParseSequenceNumber(rest, 0); err != nil {
			return err
		}
	case AtTimestamp:
		var err error
		if out.Timestamp, err = time.Parse(time.RFC3339Nano, rest); err != nil {
			return fmt.Errorf("kcl: position %q: %w", text, err)
		}
	case TrimHorizon, Latest:
		if rest != "" {
			return fmt.Errorf("kcl: position %q: nothing follows %s", text, kind)
		}
	}
	*p = out
	return nil
}

// InitialPosition is where an application starts to read a stream without checkpoints
// (InitialPositionInStreamExtended in the KCL). The zero value is TRIM_HORIZON; the KCL starts at
// LATEST. Shards that are made later are always read from their beginning.
type InitialPosition struct {
	// Kind is TrimHorizon (the default), Latest or AtTimestamp.
	Kind PositionKind
	// Timestamp belongs to AtTimestamp and is required there.
	Timestamp time.Time
}

// Validate reports a kind that is no initial position, and a timestamp that is missing or not
// allowed.
func (p InitialPosition) Validate() error {
	switch p.Kind {
	case TrimHorizon, Latest:
		if !p.Timestamp.IsZero() {
			return fmt.Errorf("InitialPosition.Timestamp is set, but Kind is %s: "+
				"use Kind kcl.AtTimestamp or leave Timestamp out", p.Kind)
		}
	case AtTimestamp:
		if p.Timestamp.IsZero() {
			return errors.New("InitialPosition.Timestamp is missing: Kind kcl.AtTimestamp needs a time")
		}
	case AtSequenceNumber, AfterSequenceNumber:
		return fmt.Errorf("InitialPosition.Kind is %s: a sequence number belongs to one shard; "+
			"use kcl.TrimHorizon, kcl.Latest or kcl.AtTimestamp", p.Kind)
	default:
		return fmt.Errorf("InitialPosition.Kind is %d: use kcl.TrimHorizon, kcl.Latest or kcl.AtTimestamp", int(p.Kind))
	}
	return nil
}

// String returns the kind, with the time of AtTimestamp.
func (p InitialPosition) String() string { return p.Position().String() }

// LogValue implements [slog.LogValuer] with [InitialPosition.String].
func (p InitialPosition) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Position returns the position for a source.
func (p InitialPosition) Position() Position {
	return Position{Kind: p.Kind, Timestamp: p.Timestamp}
}

// Sentinel returns the checkpoint of a new lease: TRIM_HORIZON, LATEST or AT_TIMESTAMP.
func (p InitialPosition) Sentinel() ExtendedSequenceNumber {
	return ExtendedSequenceNumber{SequenceNumber: p.Kind.String()}
}
