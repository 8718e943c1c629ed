package kinesistest

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
)

// request sends one raw request to the handler.
func (s *Server) request(tb testing.TB, contentType, target, body string) *httptest.ResponseRecorder {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Amz-Target", target)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestHandlerErrors(t *testing.T) {
	t.Parallel()
	s := New(t, Config{})
	for name, c := range map[string]struct {
		contentType, target, body string
		code                      string
	}{
		"unknown operation":    {contentTypeJSON, "Kinesis_20131202.Nonsense", "{}", "UnknownOperationException"},
		"unknown version":      {contentTypeJSON, "Kinesis_20990101.ListStreams", "{}", "UnknownOperationException"},
		"no target":            {contentTypeJSON, "", "{}", "UnknownOperationException"},
		"unknown content type": {"text/plain", "Kinesis_20131202.ListStreams", "{}", "UnknownOperationException"},
		"not JSON":             {contentTypeJSON, "Kinesis_20131202.ListStreams", "{", "SerializationException"},
		"wrong type":           {contentTypeJSON, "Kinesis_20131202.ListStreams", `{"Limit":"x"}`, "SerializationException"},
		"bad base64":           {contentTypeJSON, "Kinesis_20131202.PutRecord", `{"Data":"%"}`, "SerializationException"},
		"not CBOR":             {contentTypeCBOR, "Kinesis_20131202.ListStreams", "{", "SerializationException"},
		"missing member":       {contentTypeJSON, "Kinesis_20131202.GetRecords", "{}", "ValidationException"},
		"not found": {
			contentTypeJSON, "Kinesis_20131202.DescribeStream", `{"StreamName":"s"}`,
			"ResourceNotFoundException",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := s.request(t, c.contentType, c.target, c.body)
			require.Equal(t, http.StatusBadRequest, w.Code)
			cod, ok := codecFor(c.contentType)
			if !ok {
				cod = jsonCodec{}
			}
			require.Equal(t, cod.contentType(), w.Header().Get("Content-Type"))
			var body errorBody
			require.NoError(t, cod.decode(w.Body.Bytes(), &body))
			require.Equal(t, c.code, body.Type)
			require.NotEmpty(t, body.Message)
			require.NotEmpty(t, w.Header().Get("x-amzn-RequestId"))
		})
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

// TestHandlerOthers: requests of another service go to Config.Others. All of Kinesis stays here,
// and so do requests without a target.
func TestHandlerOthers(t *testing.T) {
	t.Parallel()
	others := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }
	s := New(t, Config{Others: http.HandlerFunc(others)})
	for target, status := range map[string]int{
		"DynamoDB_20120810.ListTables": http.StatusTeapot,
		"Kinesis_20131202.ListStreams": http.StatusOK,
		"Kinesis_20131202.Nothing":     http.StatusBadRequest,
		"":                             http.StatusBadRequest,
	} {
		require.Equal(t, status, s.request(t, "application/x-amz-json-1.1", target, "{}").Code, target)
	}
}

func TestHandlerRequestTooLarge(t *testing.T) {
	t.Parallel()
	w := New(t, Config{}).request(t, contentTypeJSON, "Kinesis_20131202.PutRecords",
		strings.Repeat(" ", maxRequestBytes+1))
	require.Equal(t, http.StatusRequestEntityTooLarge, w.Code)
}

// TestHandlerBrokenBody: a body that cannot be read to its end is no success.
func TestHandlerBrokenBody(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", iotest.ErrReader(errors.New("malformed chunk")))
	r.Header.Set("Content-Type", contentTypeJSON)
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.ListStreams")
	w := httptest.NewRecorder()
	New(t, Config{}).ServeHTTP(w, r)
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "malformed chunk")
}

// TestHandlerManyElements: a body of the size that is allowed does not become gigabytes in memory.
func TestHandlerManyElements(t *testing.T) {
	t.Parallel()
	s := New(t, Config{})
	w := s.request(t, contentTypeJSON, "Kinesis_20131202.PutRecords",
		`{"StreamName":"s","Records":[`+strings.Repeat("{},", maxElements)+`{}]}`)
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "SerializationException")
	w = s.request(t, contentTypeCBOR, "Kinesis_20131202.PutRecords",
		"\xa1\x67Records\x9f"+strings.Repeat("\xa0", maxElements+1)+"\xff")
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "SerializationException")

	full := `{"PartitionKey":"` + strings.Repeat(",", maxPartitionKey) + `","Data":"AA==","ExplicitHashKey":"0"}`
	w = s.request(t, contentTypeJSON, "Kinesis_20131202.PutRecords",
		`{"StreamName":"s","Records":[`+strings.Repeat(full+",", maxRecords-1)+full+`]}`)
	require.Contains(t, w.Body.String(), "ResourceNotFoundException", "as many commas as a good request can have")
}

// TestHandlerDate: the Date of an answer is the server's clock, virtual or not.
func TestHandlerDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t, Config{})
		time.Sleep(90 * time.Minute)
		w := s.request(t, contentTypeJSON, "Kinesis_20131202.ListStreams", "{}")
		date, err := http.ParseTime(w.Header().Get("Date"))
		require.NoError(t, err)
		require.Equal(t, time.Now().Truncate(time.Second).UTC(), date.UTC())
	})
}

// TestHandlerDeny refuses each operation in turn, on its resource, in the words of AWS.
func TestHandlerDeny(t *testing.T) {
	t.Parallel()
	var denied, resource string
	s := New(t, Config{
		DisableLimits: true, Streams: []StreamConfig{{Name: "s"}},
		Deny: func(op, arn string) bool {
			resource = arn
			return op == denied
		},
	})
	stream := "arn:aws:kinesis:us-east-1:000000000000:stream/s"
	consumer, err := s.RegisterConsumer("s", "c")
	require.NoError(t, err)
	iterator := s.request(t, contentTypeJSON, "Kinesis_20131202.GetShardIterator",
		`{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"LATEST"}`)
	require.Equal(t, http.StatusOK, iterator.Code)
	var it getShardIteratorOutput
	require.NoError(t, json.Unmarshal(iterator.Body.Bytes(), &it))

	bodies := map[string]string{
		"GetRecords":               `{"ShardIterator":"` + it.ShardIterator + `"}`,
		"SubscribeToShard":         `{"ConsumerARN":"` + consumer + `"}`,
		"DescribeStreamConsumer":   `{"ConsumerARN":"` + consumer + `"}`,
		"DeregisterStreamConsumer": `{"ConsumerARN":"` + consumer + `"}`,
		"TagResource":              `{"ResourceARN":"` + stream + `"}`, "UntagResource": `{"ResourceARN":"` + stream + `"}`,
		"ListTagsForResource": `{"ResourceARN":"` + stream + `"}`,
		"PutResourcePolicy":   `{"ResourceARN":"` + stream + `"}`, "GetResourcePolicy": `{"ResourceARN":"` + stream + `"}`,
		"DeleteResourcePolicy":   `{"ResourceARN":"` + stream + `"}`,
		"RegisterStreamConsumer": `{"StreamARN":"` + stream + `"}`, "ListStreamConsumers": `{"StreamARN":"` + stream + `"}`,
	}
	for _, op := range slices.Sorted(maps.Keys(operations)) {
		denied = op
		body, ok := bodies[op]
		if !ok {
			body = `{"StreamName":"s"}`
		}
		want := stream
		switch op {
		case "ListStreams", "DescribeLimits", "DescribeAccountSettings", "UpdateAccountSettings":
			want = "*"
		case "SubscribeToShard", "DescribeStreamConsumer", "DeregisterStreamConsumer":
			want = consumer
		}
		w := s.request(t, contentTypeJSON, targetPrefix+op, body)
		var e errorBody
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e), op)
		require.Equal(t, "AccessDeniedException", e.Type, op)
		require.Equal(t, "User: arn:aws:iam::000000000000:user/kinesistest is not authorized to perform: kinesis:"+op+
			" on resource: "+want+" because no identity-based policy allows the kinesis:"+op+" action", e.Message)
		require.Equal(t, want, resource)
	}
}

// FuzzRequest: whatever is sent, the answer is well formed.
func FuzzRequest(f *testing.F) {
	names := slices.Sorted(maps.Keys(operations))
	for i := range names {
		f.Add(uint8(i), false, []byte(`{"StreamName":"s","StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s",`+
			`"ShardId":"shardId-000000000000","Limit":1}`))
		f.Add(uint8(i), true, []byte("\xbf\x6aStreamName\x61s\xff"))
	}
	f.Add(uint8(slices.Index(names, "PutRecords")), false,
		[]byte(`{"StreamName":"s","Records":[{"Data":"eA==","PartitionKey":"k","ExplicitHashKey":"1"}]}`))
	f.Add(uint8(slices.Index(names, "SplitShard")), false,
		[]byte(`{"StreamName":"s","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"100"}`))
	f.Add(uint8(slices.Index(names, "GetShardIterator")), false,
		[]byte(`{"StreamName":"s","ShardId":"shardId-000000000000","ShardIteratorType":"AT_TIMESTAMP","Timestamp":1e9}`))
	f.Add(uint8(slices.Index(names, "ListShards")), false,
		[]byte(`{"StreamName":"s","ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":1.5}}`))
	f.Add(uint8(slices.Index(names, "SubscribeToShard")), false,
		[]byte(`{"ConsumerARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1",`+
			`"ShardId":"shardId-000000000000","StartingPosition":{"Type":"LATEST"}}`))
	f.Fuzz(func(t *testing.T, op uint8, cborBody bool, body []byte) {
		// No listener: only the handler, so that many requests fit in a second.
		s := &Server{
			faults:  newFaults(),
			backend: newBackend(Config{ShardLimit: 100, StateDelay: -1, Streams: []StreamConfig{{Name: "s", Shards: 2}}}),
		}
		contentType := contentTypeJSON
		if cborBody {
			contentType = contentTypeCBOR
		}
		name := names[int(op)%len(names)]
		w := s.request(t, contentType, targetPrefix+name, string(body))
		c, _ := codecFor(contentType)
		require.Equal(t, c.contentType(), w.Header().Get("Content-Type"))
		if w.Code == http.StatusOK {
			return
		}
		require.Equal(t, http.StatusBadRequest, w.Code, w.Body.String())
		var e errorBody
		require.NoError(t, c.decode(w.Body.Bytes(), &e))
		require.NotEmpty(t, e.Type)
		require.NotEmpty(t, e.Message)
	})
}

// TestHandlerCBOR writes and reads a record as a Java client does.
func TestHandlerCBOR(t *testing.T) {
	t.Parallel()
	s := New(t, Config{Streams: []StreamConfig{{Name: "s"}}})
	call := func(op string, in, out any) {
		t.Helper()
		body, err := cborEncoding.Marshal(in)
		require.NoError(t, err)
		w := s.request(t, contentTypeCBOR, targetPrefix+op, string(body))
		require.Equal(t, http.StatusOK, w.Code, "%s %x", op, w.Body.Bytes())
		require.Equal(t, contentTypeCBOR, w.Header().Get("Content-Type"))
		require.NoError(t, cborDecoding.Unmarshal(w.Body.Bytes(), out))
	}
	var put struct {
		ShardID        string `json:"ShardId"`
		SequenceNumber string
	}
	call("PutRecord", map[string]any{"StreamName": "s", "PartitionKey": "k", "Data": []byte{0, 1, 2}}, &put)
	var it struct{ ShardIterator string }
	call("GetShardIterator", map[string]any{
		"StreamName": "s", "ShardId": put.ShardID, "ShardIteratorType": "AT_TIMESTAMP",
		"Timestamp": cbor.Tag{Number: 1, Content: time.Now().Add(-time.Minute).UnixMilli()},
	}, &it)
	var got struct {
		Records []struct {
			Data                        []byte
			ApproximateArrivalTimestamp cbor.RawTag
			PartitionKey                string
			SequenceNumber              string
		}
		NextShardIterator string
	}
	call("GetRecords", map[string]any{"ShardIterator": it.ShardIterator}, &got)
	require.Len(t, got.Records, 1)
	require.Equal(t, []byte{0, 1, 2}, got.Records[0].Data)
	require.Equal(t, "k", got.Records[0].PartitionKey)
	require.Equal(t, put.SequenceNumber, got.Records[0].SequenceNumber)
	require.Equal(t, uint64(1), got.Records[0].ApproximateArrivalTimestamp.Number)
	var ms int64
	require.NoError(t, cborDecoding.Unmarshal(got.Records[0].ApproximateArrivalTimestamp.Content, &ms))
	require.WithinDuration(t, time.Now(), time.UnixMilli(ms), time.Minute)
	require.NotEmpty(t, got.NextShardIterator)

	// The events of a subscription are CBOR too: the end of a shard as the Java KCL wants it.
	arn, err := s.RegisterConsumer("s", "c")
	require.NoError(t, err)
	_, _, err = s.SplitShard("s", put.ShardID)
	require.NoError(t, err)
	body, err := cborEncoding.Marshal(map[string]any{
		"ConsumerARN": arn, "ShardId": put.ShardID, "StartingPosition": map[string]any{"Type": "TRIM_HORIZON"},
	})
	require.NoError(t, err)
	w := s.request(t, contentTypeCBOR, targetPrefix+"SubscribeToShard", string(body))
	require.Equal(t, contentTypeEventStream, w.Header().Get("Content-Type"))
	var events []map[string]any
	for rest := w.Body.Bytes(); len(rest) > 0; {
		var f frame
		f, rest, err = decodeFrame(rest)
		require.NoError(t, err)
		require.Equal(t, contentTypeCBOR, f.value(headerContentType))
		var payload map[string]any
		require.NoError(t, cborDecoding.Unmarshal(f.payload, &payload))
		events = append(events, payload)
	}
	require.Len(t, events, 3)
	require.Empty(t, events[0])
	record := events[1]["Records"].([]any)[0].(map[any]any)
	require.Equal(t, []byte{0, 1, 2}, record["Data"])
	require.NotContains(t, events[1], "ChildShards")
	require.Contains(t, events[2], "ContinuationSequenceNumber")
	require.Nil(t, events[2]["ContinuationSequenceNumber"])
	require.Len(t, events[2]["ChildShards"], 2)
	require.Empty(t, events[2]["Records"])
}

// TestDocNamesTests: the table of behaviours names tests that exist.
func TestDocNamesTests(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	var tests strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		tests.Write(text)
	}
	rows := 0
	for line := range strings.Lines(string(doc)) {
		for _, name := range regexp.MustCompile(`\bTest\w+`).FindAllString(line, -1) {
			require.Contains(t, tests.String(), "\nfunc "+name+"(", line)
			rows++
		}
	}
	require.Greater(t, rows, 80)
}
