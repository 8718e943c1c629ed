package kinesistest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Frames of application/vnd.amazon.eventstream, big endian:
//
//	frame:  u32 total length | u32 headers' length | u32 crc32 of these 8 bytes | headers | payload |
//	        u32 crc32 of all before
//	header: u8 name length | name | u8 type, 7 = string | u16 value length | value
//
// SubscribeToShard sends, in this order of headers:
//
//	initial-response   :event-type, :content-type, :message-type=event      payload {}
//	event              :event-type=SubscribeToShardEvent, :content-type, :message-type=event
//	exception          :exception-type, :content-type, :message-type=exception   payload {"message": ...}
//	error              :error-code, :error-message, :message-type=error     no payload

// Names of headers and their well-known values.
const (
	headerEventType     = ":event-type"
	headerExceptionType = ":exception-type"
	headerContentType   = ":content-type"
	headerMessageType   = ":message-type"
	headerErrorCode     = ":error-code"
	headerErrorMessage  = ":error-message"

	eventInitialResponse  = "initial-response"
	eventSubscribeToShard = "SubscribeToShardEvent"

	contentTypeEventStream = "application/vnd.amazon.eventstream"
)

const (
	preludeLen   = 12 // two lengths and their checksum
	trailerLen   = 4  // the checksum of the whole
	headerString = 7  // the only type of header value that is used here
)

// header is one header of a frame.
type header struct{ name, value string }

// appendFrame appends one frame to dst and returns the extended slice. It panics if a name has more
// than 255 bytes or a value more than 65535. Only a bug of this package can cause that.
func appendFrame(dst []byte, headers []header, payload []byte) []byte {
	start := len(dst)
	headersLen := 0
	for _, h := range headers {
		if len(h.name) > 0xff || len(h.value) > 0xffff {
			panic("kinesistest: frame header too long: " + h.name)
		}
		headersLen += 1 + len(h.name) + 1 + 2 + len(h.value)
	}
	total := preludeLen + headersLen + len(payload) + trailerLen
	dst = binary.BigEndian.AppendUint32(dst, uint32(total))
	dst = binary.BigEndian.AppendUint32(dst, uint32(headersLen))
	dst = binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:]))
	for _, h := range headers {
		dst = append(dst, byte(len(h.name)))
		dst = append(dst, h.name...)
		dst = append(dst, headerString)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.value)))
		dst = append(dst, h.value...)
	}
	dst = append(dst, payload...)
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:]))
}

// initialResponseFrame is the first frame of every subscription.
func initialResponseFrame(c codec) []byte {
	payload, err := c.encode(struct{}{})
	if err != nil {
		panic(err) // an empty struct always encodes
	}
	return appendFrame(nil, eventHeaders(eventInitialResponse, c), payload)
}

// eventHeaders are the headers of an event of the given type, in the order AWS sends them.
func eventHeaders(eventType string, c codec) []header {
	return []header{
		{headerEventType, eventType},
		{headerContentType, c.contentType()},
		{headerMessageType, "event"},
	}
}

// exceptionFrame is an exception inside a stream; name is its bare name, such as
// ResourceInUseException.
func exceptionFrame(name, message string, c codec) []byte {
	payload, err := c.encode(struct {
		Message string `json:"message"`
	}{message})
	if err != nil {
		panic(err) // a string always encodes
	}
	return appendFrame(nil, []header{
		{headerExceptionType, name},
		{headerContentType, c.contentType()},
		{headerMessageType, "exception"},
	}, payload)
}

// errorFrame is an error that the model of the service does not know.
func errorFrame(code, message string) []byte {
	return appendFrame(nil, []header{
		{headerErrorCode, code},
		{headerErrorMessage, message},
		{headerMessageType, "error"},
	}, nil)
}

// errFrameShort means that more bytes are needed.
var errFrameShort = errors.New("kinesistest: frame is not complete")

// frame is a decoded frame; its payload shares memory with what was decoded.
type frame struct {
	headers []header
	payload []byte
}

// value returns the value of a header, "" when the frame has none of that name.
func (f frame) value(name string) string {
	for _, h := range f.headers {
		if h.name == name {
			return h.value
		}
	}
	return ""
}

// decodeFrame decodes the first frame of b and returns what follows it. It checks lengths and both
// checksums, accepts only string headers, and returns errFrameShort when b ends inside the frame.
func decodeFrame(b []byte) (f frame, rest []byte, err error) {
	if len(b) < preludeLen {
		return frame{}, b, errFrameShort
	}
	total, headersLen := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if got, want := crc32.ChecksumIEEE(b[:8]), binary.BigEndian.Uint32(b[8:]); got != want {
		return frame{}, b, fmt.Errorf("kinesistest: prelude checksum is %08x, want %08x", got, want)
	}
	if total < preludeLen+trailerLen || headersLen > total-preludeLen-trailerLen {
		return frame{}, b, fmt.Errorf("kinesistest: frame of %d bytes with %d bytes of headers", total, headersLen)
	}
	if uint64(len(b)) < uint64(total) {
		return frame{}, b, errFrameShort
	}
	body, rest := b[:total-trailerLen], b[total:]
	if got, want := crc32.ChecksumIEEE(body), binary.BigEndian.Uint32(b[total-trailerLen:]); got != want {
		return frame{}, b, fmt.Errorf("kinesistest: frame checksum is %08x, want %08x", got, want)
	}
	hs := body[preludeLen : preludeLen+headersLen]
	f.payload = body[preludeLen+headersLen:]
	for len(hs) > 0 {
		var h header
		if h, hs, err = decodeHeader(hs); err != nil {
			return frame{}, b, err
		}
		f.headers = append(f.headers, h)
	}
	return f, rest, nil
}

func decodeHeader(b []byte) (header, []byte, error) {
	nameLen := int(b[0])
	if len(b) < 1+nameLen+3 {
		return header{}, nil, errors.New("kinesistest: frame header cut short")
	}
	name, b := string(b[1:1+nameLen]), b[1+nameLen:]
	if b[0] != headerString {
		return header{}, nil, fmt.Errorf("kinesistest: frame header %q has type %d, want %d", name, b[0], headerString)
	}
	valueLen := int(binary.BigEndian.Uint16(b[1:]))
	if b = b[3:]; len(b) < valueLen {
		return header{}, nil, fmt.Errorf("kinesistest: value of frame header %q cut short", name)
	}
	return header{name, string(b[:valueLen])}, b[valueLen:], nil
}
