package efo_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
)

// source takes numbers from fuzzed bytes; it gives 0 when there are none left.
type source struct{ b []byte }

func (s *source) empty() bool { return len(s.b) == 0 }

func (s *source) n(below int) int {
	v := 0
	for range 2 {
		if len(s.b) > 0 {
			v = v<<8 | int(s.b[0])
			s.b = s.b[1:]
		}
	}
	return v % below
}

// exceptions are those of the service's model and some that nobody knows.
var exceptions = []string{
	"InternalFailureException",
	"ResourceInUseException",
	"ResourceNotFoundException",
	"KMSDisabledException",
	"KMSInvalidStateException",
	"KMSAccessDeniedException",
	"KMSNotFoundException",
	"KMSOptInRequired",
	"KMSThrottlingException",
	"NobodyKnowsException",
	"",
}

func special(kind, code string) []byte {
	var m eventstream.Message
	m.Payload = []byte(`{"message":"no"}`)
	m.Headers.Set(":message-type", eventstream.StringValue(kind))
	switch kind {
	case "exception":
		m.Headers.Set(":exception-type", eventstream.StringValue(code))
		m.Headers.Set(":content-type", eventstream.StringValue("application/x-amz-json-1.1"))
	case "error":
		m.Headers.Set(":error-code", eventstream.StringValue(code))
		m.Headers.Set(":error-message", eventstream.StringValue("no"))
	case "event":
		m.Headers.Set(":event-type", eventstream.StringValue("Event"+code))
		m.Headers.Set(":content-type", eventstream.StringValue("application/x-amz-json-1.1"))
	}
	return encode(m)
}

// FuzzEventStream serves the events of a shard, to its end, over as many subscriptions as the bytes
// describe. Each is cut, silenced, damaged, or ended by an exception, at any place. Every record
// arrives exactly once and in order, and the shard ends exactly once. Each subscribe asks for the
// place after the last whole event before it.
func FuzzEventStream(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("one cut\x00\x01\x02"))
	for kind := range byte(10) {
		f.Add([]byte{0, 20, 1, 1, 0, 1, 1, 1, 0, kind, 2, 10, 0, 3, 0, kind, 4, 200, 0, 9, 0, kind, 0, 100})
		f.Add(bytes.Repeat([]byte{0, kind, kind, 77, 1, kind}, 12))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 400 {
			return
		}
		synctest.Test(t, func(t *testing.T) { fuzzStream(t, &source{script}) })
	})
}

func fuzzStream(t *testing.T, in *source) {
	http2 := in.n(4) != 1
	var frames []frame
	var want []string
	for i := range in.n(24) {
		var records []string
		for range in.n(4) {
			records = append(records, fmt.Sprint(len(want)+len(records)))
		}
		want = append(want, records...)
		frames = append(frames, event(fmt.Sprintf("%d00", 100+i), records...))
	}
	s := newScript(t, http2, append(frames, shardEndEvent())...)
	type conduct struct{ kind, at, arg int }
	var conducts []conduct
	for !in.empty() && len(conducts) < 12 {
		conducts = append(conducts, conduct{in.n(10), in.n(1 << 14), in.n(1 << 12)})
	}
	var seen []int // frames that were whole by the end of each attempt
	s.send = func(attempt int, w http.ResponseWriter, r *http.Request, from int, out []byte) {
		if attempt >= len(conducts) {
			seen = append(seen, len(s.frames))
			healthy(attempt, w, r, from, out)
			return
		}
		c := conducts[attempt]
		at := c.at % (len(out) + 1)
		ends := frameEnds(s.frames[from:])
		whole := func(n int) int {
			return from + max(0, slices.IndexFunc(append(ends, n+1), func(e int) bool { return e > n })-1)
		}
		boundary := ends[c.arg%len(ends)]
		bad := slices.Clone(out)
		good := at // bytes before the damage
		switch c.kind {
		case 0, 1, 2: // FIN, RST, silence
			bad = bad[:at]
		case 3: // a bit is flipped
			if at == len(out) {
				at--
			}
			bad[at] ^= 1 << (c.arg % 8)
			good = at
		case 4: // a few bytes are lost, fewer than a frame has
			bad = slices.Delete(bad, at, min(len(bad), at+1+c.arg%8))
		case 5: // a few bytes too many
			bad = slices.Insert(bad, at, bytes.Repeat([]byte{byte(c.arg)}, 1+c.arg%40)...)
		case 6:
			good = boundary
			bad = append(bad[:good:good], special("exception", exceptions[c.at%len(exceptions)])...)
		case 7:
			good = boundary
			bad = append(bad[:good:good], special("error", exceptions[c.at%len(exceptions)])...)
		case 8: // an event of a kind that nobody knows, which changes nothing
			good = len(out)
			bad = slices.Insert(bad, boundary, special("event", exceptions[c.at%len(exceptions)])...)
		case 9: // no initial response
			good = 0
			bad = bad[ends[0]:]
		}
		seen = append(seen, whole(good))
		for len(bad) > 0 { // in pieces
			n := min(len(bad), 1+c.arg%1500)
			if _, err := w.Write(bad[:n]); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			bad = bad[n:]
		}
		time.Sleep(time.Millisecond) // all that was sent has been read
		switch c.kind {
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			<-r.Context().Done()
		}
	}
	got := s.read(s.config(&watcher{}), kcl.Position{})
	require.NoError(t, got.err)
	require.Equal(t, want, got.data)
	require.Equal(t, 1, got.ends)
	asked := s.positions()
	require.Equal(t, 0, asked[0])
	for i := 1; i < len(asked); i++ {
		require.Equal(t, seen[i-1], asked[i], "subscribe %d", i)
	}
}

// FuzzSubscribeToShardEvent sends any bytes as the payload of an event, between
// two events that are in order. Those two are delivered once each, whatever the
// payload is; its own records are what it says, or none; and reading goes on
// after a number that the service has sent.
func FuzzSubscribeToShardEvent(f *testing.F) {
	record := `{"Data":"eA==","PartitionKey":"k","SequenceNumber":"150","ApproximateArrivalTimestamp":1.7e9,` +
		`"EncryptionType":"KMS"}`
	for _, payload := range []string{
		``, `{}`, `null`, `[]`, `{"Records":null}`, `{"Records":[null]}`, `{"Records":[{}]}`, `{"Records":{}}`,
		`{"Records":[` + record + `],"ContinuationSequenceNumber":"151","MillisBehindLatest":10}`,
		`{"Records":[` + record + `,` + record + `],"ContinuationSequenceNumber":""}`,
		`{"Records":[` + record + `],"ContinuationSequenceNumber":"0"}`,
		`{"Records":[` + record + `],"ContinuationSequenceNumber":null}`,
		`{"Records":[` + record + `],"ContinuationSequenceNumber":"abc","Unknown":{"a":[1,2,{}]}}`,
		`{"Records":[` + record +
			`],"ContinuationSequenceNumber":null,"ChildShards":[{"ShardId":"shardId-1","ParentShards":["shardId-0"]}]}`,
		`{"Records":[],"ContinuationSequenceNumber":"152","ChildShards":[{"ShardId":"shardId-1"}]}`,
		`{"Records":[{"Data":"not base64","SequenceNumber":"150"}]}`, `{"Records":[{"Data":1,"SequenceNumber":"150"}]}`,
		`{"Records":[{"Data":"eA==","PartitionKey":null,"SequenceNumber":"1\u0035\u0030"}],` +
			`"ContinuationSequenceNumber":"151"}`,
		`{"Records":[{"Data":"eA==","SequenceNumber":"150","ApproximateArrivalTimestamp":"2020-01-01T00:00:00Z"}],` +
			`"ContinuationSequenceNumber":"151"}`,
		`{"MillisBehindLatest":-1}`, `{"MillisBehindLatest":1e400}`, `{"MillisBehindLatest":"x"}`, "{\"Records\":[\xff]}",
		`{"Records":[]`,
	} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) > 1<<14 {
			return
		}
		synctest.Test(t, func(t *testing.T) { fuzzPayload(t, payload) })
	})
}

func fuzzPayload(t *testing.T, payload []byte) {
	s := newScript(t, true, event("10000", "before"))
	var asked []string
	s.raw = func(attempt int, w http.ResponseWriter, r *http.Request, position string) {
		asked = append(asked, position)
		out := slices.Concat(initialResponse(), event("10000", "before").bytes,
			encode(message("SubscribeToShardEvent", string(payload))))
		if attempt > 0 {
			out = slices.Concat(initialResponse(), event("20000", "after").bytes, shardEndEvent().bytes)
		}
		_, _ = w.Write(out)
		_ = http.NewResponseController(w).Flush()
		if attempt > 0 {
			<-r.Context().Done()
			return
		}
		time.Sleep(time.Millisecond)
	}
	got := s.read(s.config(&watcher{}), kcl.Position{})
	require.NoError(t, got.err)
	require.Equal(t, 1, got.ends)
	require.NotEmpty(t, got.data)
	require.Equal(t, "before", got.data[0])
	require.Equal(t, "TRIM_HORIZON ", asked[0])
	middle := got.data[1:]
	says, strict := decodeEvent(payload)
	if len(asked) == 2 {
		require.Equal(t, "after", middle[len(middle)-1], "the shard had not ended")
		middle = middle[:len(middle)-1]
		number, ok := strings.CutPrefix(asked[1], "AFTER_SEQUENCE_NUMBER ")
		require.True(t, ok, asked[1])
		require.NoError(t, kcl.ExtendedSequenceNumber{SequenceNumber: number}.Validate(), "a place to go on from")
	} else {
		require.Len(t, asked, 1)
		require.NotContains(t, middle, "after")
	}
	require.NotContains(t, middle, "before", "once")
	if !strict {
		return
	}
	if len(middle) > 0 {
		require.Equal(t, says.data, middle, "all of its records, as they are")
	}
	if len(asked) == 2 {
		after := []string{"10000"} // what the event was refused for is not known here
		if len(middle) > 0 || len(says.data) == 0 {
			after = append(after, says.next...)
		}
		require.Contains(t, after, strings.TrimPrefix(asked[1], "AFTER_SEQUENCE_NUMBER "))
		if len(middle) > 0 && len(says.next) > 0 {
			require.Equal(t, "AFTER_SEQUENCE_NUMBER "+says.next[0], asked[1])
		}
	}
}

// said is what a payload says: data of its records, and after which numbers
// reading may go on, the best first.
type said struct {
	data []string
	next []string
}

// decodeEvent reads a payload with encoding/json. strict is false for one that
// decoders may take for several things: not JSON, or with a key twice.
func decodeEvent(payload []byte) (says said, strict bool) {
	if twice(json.NewDecoder(bytes.NewReader(payload))) {
		return said{}, false
	}
	var ev map[string]any
	if json.Unmarshal(payload, &ev) != nil {
		return said{}, false
	}
	if c, ok := ev["ContinuationSequenceNumber"].(string); ok && c != "0" &&
		(kcl.ExtendedSequenceNumber{SequenceNumber: c}).Validate() == nil {
		says.next = append(says.next, c)
	}
	records, ok := ev["Records"].([]any)
	if !ok && ev["Records"] != nil {
		return said{}, false
	}
	for _, r := range records {
		fields, ok := r.(map[string]any)
		if !ok {
			return said{}, false
		}
		text, isText := fields["Data"].(string)
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil || !isText {
			return said{}, false
		}
		says.data = append(says.data, string(data))
	}
	if n := len(records); n > 0 {
		if last, ok := records[n-1].(map[string]any)["SequenceNumber"].(string); ok {
			says.next = append(says.next, last)
		}
	}
	return says, true
}

// twice tells whether the JSON has an object with a key twice, or is none.
func twice(dec *json.Decoder) bool {
	dec.UseNumber()
	type level struct {
		keys  map[string]bool // nil in an array
		value bool            // a value comes next
	}
	var stack []level
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			return true
		}
		top := len(stack) - 1
		if top >= 0 && stack[top].keys != nil && tok != json.Delim('}') {
			if !stack[top].value {
				key := tok.(string)
				if stack[top].keys[key] {
					return true
				}
				stack[top].keys[key], stack[top].value = true, true
				continue
			}
			stack[top].value = false
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, level{keys: map[string]bool{}})
		case json.Delim('['):
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
	}
}
