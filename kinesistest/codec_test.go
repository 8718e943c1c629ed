package kinesistest

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wire has every kind of field that requests and answers have.
type wire struct {
	Text    string            `json:"Text,omitempty"`
	Pointer *string           `json:"Pointer"`
	Number  *int              `json:"Number,omitempty"`
	Flag    *bool             `json:"Flag,omitempty"`
	Blob    []byte            `json:"Blob,omitempty"`
	Time    *timestamp        `json:"Time,omitempty"`
	List    []wire            `json:"List,omitempty"`
	Tags    map[string]string `json:"Tags,omitempty"`
}

func TestCodecFor(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]string{
		"application/x-amz-json-1.1":                contentTypeJSON,
		"Application/X-Amz-Json-1.1; charset=UTF-8": contentTypeJSON,
		"application/json":                          contentTypeJSON,
		"application/x-amz-cbor-1.1":                contentTypeCBOR,
		"":                                          "",
		"text/plain":                                "",
		"application/x-amz-json-1.0":                "",
		"application/;;":                            "",
	} {
		c, ok := codecFor(contentType)
		require.Equal(t, want != "", ok, contentType)
		if ok {
			require.Equal(t, want, c.contentType())
		}
	}
}

func TestCodecsEncode(t *testing.T) {
	t.Parallel()
	at := newTimestamp(time.UnixMilli(1_700_000_000_123).Add(987 * time.Microsecond))
	seven, yes := 7, true
	v := wire{Text: "a", Number: &seven, Flag: &yes, Blob: []byte{0, 255}, Time: &at, List: []wire{{}}}

	got, err := jsonCodec{}.encode(v)
	require.NoError(t, err)
	const want = `{"Text":"a","Pointer":null,"Number":7,"Flag":true,"Blob":"AP8=","Time":1700000000.123,` +
		`"List":[{"Pointer":null}]}`
	require.Equal(t, want, string(got)) //nolint:testifylint // byte for byte: JSONEq forgives the decimals of the time

	got, err = cborCodec{}.encode(v)
	require.NoError(t, err)
	require.Equal(t, "a7"+
		"6454657874"+"6161"+ // Text: "a"
		"67506f696e746572"+"f6"+ // Pointer: null
		"664e756d626572"+"07"+ // Number: 7
		"64466c6167"+"f5"+ // Flag: true
		"64426c6f62"+"4200ff"+ // Blob: two bytes
		"6454696d65"+"c11b0000018bcfe5687b"+ // Time: tag 1, 1700000000123
		"644c697374"+"81a167506f696e746572f6", // List
		hex.EncodeToString(got))
}

func TestCodecsRoundTrip(t *testing.T) {
	t.Parallel()
	at := newTimestamp(time.UnixMilli(1_700_000_000_123))
	long := newTimestamp(time.UnixMilli(maxMillis))
	before := newTimestamp(time.UnixMilli(-1500))
	text := "x"
	for _, c := range []codec{jsonCodec{}, cborCodec{}} {
		for _, want := range []wire{
			{},
			{Text: "ü", Pointer: &text, Blob: []byte{1, 2, 3}, Time: &at, Tags: map[string]string{"k": "v"}},
			{Time: &long},
			{Time: &before},
		} {
			b, err := c.encode(want)
			require.NoError(t, err)
			var got wire
			require.NoError(t, c.decode(b, &got))
			require.Equal(t, want, got)
		}
		var got wire
		require.NoError(t, c.decode(nil, &got), "an empty body is an empty request")
		b, err := c.encode(wire{Time: &timestamp{}})
		require.NoError(t, err)
		require.NoError(t, c.decode(b, &got))
		require.Nil(t, got.Time, "a zero time is null")
	}
}

func TestJSONDecodes(t *testing.T) {
	t.Parallel()
	var got wire
	require.NoError(t, jsonCodec{}.decode([]byte(`{"Unknown":{"a":[1]},"Time":1.7000000001234E9,"Text":null}`), &got))
	require.Equal(t, time.UnixMilli(1_700_000_000_123).UTC(), got.Time.Time)
	require.Empty(t, got.Text)
}

// TestCBORDecodesWhatJavaSends has maps, lists, texts and byte strings of indefinite length and
// times as Java's SDK writes them.
func TestCBORDecodesWhatJavaSends(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"indefinite": "bf" + "6454657874" + "7f61616162ff" + "64426c6f62" + "5f4100 41ffff" +
			"6454696d65" + "c11b0000018bcfe5687b" + "644c697374" + "9fa0ff" +
			"67556e6b6e6f776e" + "bf6161f6ff" + "ff",
		"definite": "a4" + "6454657874" + "626162" + "64426c6f62" + "4200ff" +
			"6454696d65" + "c11b0000018bcfe5687b" + "644c697374" + "81a0",
		"untaggedTime": "a4" + "6454657874" + "626162" + "64426c6f62" + "4200ff" +
			"6454696d65" + "1b0000018bcfe5687b" + "644c697374" + "81a0",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := hex.DecodeString(strings.ReplaceAll(body, " ", ""))
			require.NoError(t, err)
			var got wire
			require.NoError(t, cborCodec{}.decode(b, &got))
			at := newTimestamp(time.UnixMilli(1_700_000_000_123))
			require.Equal(t, wire{Text: "ab", Blob: []byte{0, 255}, Time: &at, List: []wire{{}}}, got)
		})
	}
}

func TestCodecsRefuse(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"syntax": `{`, "array": `[]`, "text": `{"Text":1}`, "blob": `{"Blob":"%"}`, "number": `{"Number":"1"}`,
		"time":      `{"Time":"2024"}`,
		"timeRange": `{"Time":1e300}`, "trailing": `{} {}`,
	} {
		var got wire
		var refused *decodeError
		require.ErrorAs(t, jsonCodec{}.decode([]byte(body), &got), &refused, "JSON %s", name)
	}
	for name, body := range map[string]string{
		"syntax": "bf", "array": "80", "text": "a1645465787401", "textBytes": "a164546578744161", "utf8": "a1645465787461ff",
		"blobText": "a164426c6f626161", "timeDouble": "a16454696d65c1fb41d954fc40000000",
		"timeFloat": "a16454696d65fb41d954fc40000000",
		"timeTag":   "a16454696d65c001", "timeText": "a16454696d65c16161", "timeRange": "a16454696d651bffffffffffffffff",
		"trailing": "a0a0", "nested": strings.Repeat("81", 100) + "80",
	} {
		b, err := hex.DecodeString(body)
		require.NoError(t, err)
		var got wire
		var refused *decodeError
		require.ErrorAs(t, cborCodec{}.decode(b, &got), &refused, "CBOR %s", name)
	}
}

// FuzzCodecs: whatever comes, the decoders answer with an error of theirs or with something that
// can be sent back.
func FuzzCodecs(f *testing.F) {
	for _, seed := range []string{
		`{"Text":"a","Blob":"AP8=","Time":1700000000.123,"List":[{"Tags":{"a":"b"}}]}`, `{"Number":1e2}`, `null`,
		`{"Time":-0.0005}`,
		"\xa1\x64Text\x61a", "\xbf\x64Time\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x7b\xff",
		"\xa1\x64Blob\x5f\x41\x00\xff", "\xf6",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []codec{jsonCodec{}, cborCodec{}} {
			var first wire
			if err := c.decode(b, &first); err != nil {
				var refused *decodeError
				require.ErrorAs(t, err, &refused)
				continue
			}
			again, err := c.encode(first)
			require.NoError(t, err)
			var second wire
			require.NoError(t, c.decode(again, &second))
			third, err := c.encode(second)
			require.NoError(t, err)
			require.Equal(t, again, third)
		}
	})
}
