package kinesistest

import (
	"bytes"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestFramesAreThoseOfTheService(t *testing.T) {
	t.Parallel()
	for _, c := range []codec{jsonCodec{}, cborCodec{}} {
		empty := map[string]string{contentTypeJSON: "{}", contentTypeCBOR: "\xa0"}[c.contentType()]
		f, rest, err := decodeFrame(initialResponseFrame(c))
		require.NoError(t, err)
		require.Empty(t, rest)
		require.Equal(t, []header{
			{":event-type", "initial-response"},
			{":content-type", c.contentType()},
			{":message-type", "event"},
		}, f.headers)
		require.Equal(t, empty, string(f.payload))

		f, _, err = decodeFrame(exceptionFrame("ResourceInUseException", "busy", c))
		require.NoError(t, err)
		require.Equal(t, []header{
			{":exception-type", "ResourceInUseException"},
			{":content-type", c.contentType()},
			{":message-type", "exception"},
		}, f.headers)
		var body struct {
			Message string `json:"message"`
		}
		require.NoError(t, c.decode(f.payload, &body))
		require.Equal(t, "busy", body.Message)
	}
	f, _, err := decodeFrame(errorFrame("InternalError", "oops"))
	require.NoError(t, err)
	require.Equal(t, []header{{":error-code", "InternalError"}, {":error-message", "oops"}, {":message-type", "error"}},
		f.headers)
	require.Empty(t, f.payload)
	require.Equal(t, "error", f.value(":message-type"))
	require.Empty(t, f.value(":event-type"))
}

// TestFramesAgreeWithTheSDK: the SDK reads ours and we read the SDK's, one after another in a
// buffer.
func TestFramesAgreeWithTheSDK(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		headers := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) header {
			return header{rapid.StringMatching(`[a-z:-]{1,40}`).Draw(t, "name"), rapid.StringN(0, 300, 2000).Draw(t, "value")}
		}), 0, 5).Draw(t, "headers")
		payload := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "payload")

		message := eventstream.Message{Payload: payload}
		for _, h := range headers {
			message.Headers = append(message.Headers, eventstream.Header{Name: h.name, Value: eventstream.StringValue(h.value)})
		}
		var theirs bytes.Buffer
		require.NoError(t, eventstream.NewEncoder().Encode(&theirs, message))
		ours := appendFrame([]byte("before"), headers, payload)
		require.Equal(t, append([]byte("before"), theirs.Bytes()...), ours)

		decoded, err := eventstream.NewDecoder().Decode(bytes.NewReader(ours[len("before"):]), nil)
		require.NoError(t, err)
		require.True(t, bytes.Equal(payload, decoded.Payload))
		f, rest, err := decodeFrame(append(theirs.Bytes(), "after"...))
		require.NoError(t, err)
		require.Equal(t, "after", string(rest))
		require.True(t, bytes.Equal(payload, f.payload))
		require.Len(t, f.headers, len(headers))
		for i, h := range headers {
			require.Equal(t, h, f.headers[i])
		}
	})
}

func TestDecodeFrameRefuses(t *testing.T) {
	t.Parallel()
	whole := appendFrame(nil, []header{{"a", "b"}}, []byte("payload"))
	for n := range whole {
		_, _, err := decodeFrame(whole[:n])
		require.ErrorIs(t, err, errFrameShort, "%d bytes", n)
	}
	for i := range whole { // any flipped bit shows
		bad := bytes.Clone(whole)
		bad[i] ^= 4
		_, _, err := decodeFrame(bad)
		require.Error(t, err, "byte %d", i)
	}
	require.Panics(t, func() { appendFrame(nil, []header{{string(make([]byte, 256)), ""}}, nil) })
}

// FuzzFrame: the decoder never panics, and what it accepts is exactly what we would have written.
func FuzzFrame(f *testing.F) {
	f.Add(initialResponseFrame(jsonCodec{}))
	f.Add(exceptionFrame("ResourceInUseException", "busy", cborCodec{}))
	f.Add(errorFrame("Code", "message"))
	f.Add(appendFrame(nil, eventHeaders(eventSubscribeToShard, jsonCodec{}),
		[]byte(`{"Records":[],"MillisBehindLatest":0}`)))
	f.Add(appendFrame(nil, nil, nil)[:14])
	f.Add([]byte("\x00\x00\x00\x10\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		decoded, rest, err := decodeFrame(b)
		if err != nil {
			return
		}
		require.Equal(t, b[:len(b)-len(rest)], appendFrame(nil, decoded.headers, decoded.payload))
	})
}
