package kinesistest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"mime"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Two encodings carry the same wire structs: JSON 1.1 (Go, Python, JavaScript clients) and CBOR
// (Java clients).
//
//	                JSON                                 CBOR
//	blob            base64 text                          byte string
//	timestamp       number of seconds, with a fraction   tag 1, integer milliseconds
//	error           {"__type": ..., "message": ...}      the same as a map
//
// A wire struct is a plain struct with json tags, which the CBOR library reads too. Blobs are
// []byte, times are timestamp (or *timestamp where the field may be absent).

// Content types of the two encodings.
const (
	contentTypeJSON = "application/x-amz-json-1.1"
	contentTypeCBOR = "application/x-amz-cbor-1.1"
)

// codec decodes bodies of requests into wire structs, and encodes answers and payloads of events.
type codec interface {
	contentType() string
	// decode fills the struct that into points to. It ignores unknown fields. An empty body is an
	// empty struct. Its error is a *decodeError, for which the answer is SerializationException.
	decode(body []byte, into any) error
	encode(v any) ([]byte, error)
}

// codecFor returns the codec for the Content-Type of a request; false when the service does not
// speak it.
func codecFor(contentType string) (codec, bool) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, false
	}
	switch media {
	case contentTypeJSON, "application/json":
		return jsonCodec{}, true
	case contentTypeCBOR:
		return cborCodec{}, true
	}
	return nil, false
}

// decodeError says that a request could not be decoded.
type decodeError struct{ err error }

func (e *decodeError) Error() string {
	return "kinesistest: cannot decode the request: " + e.err.Error()
}
func (e *decodeError) Unwrap() error { return e.err }

type jsonCodec struct{}

func (jsonCodec) contentType() string { return contentTypeJSON }

func (jsonCodec) decode(body []byte, into any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	// Every element except the first follows a comma. A full PutRecords has fewer elements than commas
	// are allowed.
	if bytes.Count(body, []byte{','}) > maxElements {
		return &decodeError{fmt.Errorf("more than %d elements", maxElements)}
	}
	if err := json.Unmarshal(body, into); err != nil {
		return &decodeError{err}
	}
	return nil
}

func (jsonCodec) encode(v any) ([]byte, error) { return json.Marshal(v) }

type cborCodec struct{}

func (cborCodec) contentType() string { return contentTypeCBOR }

func (cborCodec) decode(body []byte, into any) error {
	if len(body) == 0 {
		return nil
	}
	if err := cborDecoding.Unmarshal(body, into); err != nil {
		return &decodeError{err}
	}
	return nil
}

func (cborCodec) encode(v any) ([]byte, error) { return cborEncoding.Marshal(v) }

// maxElements bounds the memory for a small body. {} in a list of records takes three bytes and
// becomes forty.
const maxElements = 1 << 17

var (
	cborDecoding = must(cbor.DecOptions{
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		MaxArrayElements:  maxElements,
		MaxNestedLevels:   32,
	}.DecMode())
	cborEncoding = must(cbor.EncOptions{}.EncMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options are constant
	}
	return v
}

// cborTagEpoch marks a time in CBOR. By the standard it counts seconds; Amazon's clients and
// services count milliseconds.
const cborTagEpoch = 1

// timestamp is a time on the wire, to the millisecond.
type timestamp struct{ time.Time }

// maxMillis bounds the times that are accepted: the year 9999.
const maxMillis = 253402300799999

// newTimestamp returns t to the millisecond, as the service keeps it.
func newTimestamp(t time.Time) timestamp { return timestamp{time.UnixMilli(t.UnixMilli()).UTC()} }

// MarshalJSON writes seconds with three decimals.
func (t timestamp) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(t.UnixMilli())/1000, 'f', 3, 64), nil
}

// UnmarshalJSON reads a number of seconds. null leaves the time unchanged.
func (t *timestamp) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	seconds, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return fmt.Errorf("timestamp %.40q is not a number of seconds", b)
	}
	ms := math.Round(seconds * 1000)
	if math.Abs(ms) > maxMillis {
		return fmt.Errorf("timestamp %s is out of range", b)
	}
	t.Time = time.UnixMilli(int64(ms)).UTC()
	return nil
}

// MarshalCBOR writes tag 1 and integer milliseconds.
func (t timestamp) MarshalCBOR() ([]byte, error) {
	if t.IsZero() {
		return cborEncoding.Marshal(nil)
	}
	return cborEncoding.Marshal(cbor.Tag{Number: cborTagEpoch, Content: t.UnixMilli()})
}

// UnmarshalCBOR reads integer milliseconds, with or without tag 1. null leaves the time unchanged.
// It refuses floating point, as the service does.
func (t *timestamp) UnmarshalCBOR(b []byte) error {
	const null, majorType, tagged = 0xf6, 0xe0, 0xc0
	if len(b) == 1 && b[0] == null {
		return nil
	}
	if len(b) > 0 && b[0]&majorType == tagged {
		var tag cbor.RawTag
		if err := cborDecoding.Unmarshal(b, &tag); err != nil {
			return err
		}
		if tag.Number != cborTagEpoch {
			return fmt.Errorf("timestamp has tag %d, want %d", tag.Number, cborTagEpoch)
		}
		b = tag.Content
	}
	var ms int64
	if err := cborDecoding.Unmarshal(b, &ms); err != nil {
		return fmt.Errorf("timestamp: expected integer milliseconds: %w", err)
	}
	if ms > maxMillis || ms < -maxMillis {
		return fmt.Errorf("timestamp %d ms is out of range", ms)
	}
	t.Time = time.UnixMilli(ms).UTC()
	return nil
}
