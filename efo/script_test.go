package efo_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/memnet"
	"github.com/kinesis-go/kcl/internal/testsize"
)

const (
	scriptStream   = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
	scriptConsumer = scriptStream + "/consumer/app:1"
)

// frame is one message of a scripted event stream.
type frame struct {
	bytes   []byte
	records []string // data of the records in it
	next    string   // the continuation; "" when it moves nothing or is the end
	end     bool     // the end of the shard
}

func encode(m eventstream.Message) []byte {
	var b bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// event is a SubscribeToShardEvent after which reading goes on after next.
func event(next string, records ...string) frame {
	type record struct {
		Data                         []byte
		PartitionKey, SequenceNumber string
		ApproximateArrivalTimestamp  int64
	}
	payload := struct {
		Records                    []record
		ContinuationSequenceNumber string
		MillisBehindLatest         int
	}{Records: []record{}, ContinuationSequenceNumber: next}
	for i, data := range records {
		number := next
		if i < len(records)-1 {
			number = fmt.Sprintf("%s%02d", next[:len(next)-2], i+1)
		}
		payload.Records = append(payload.Records, record{[]byte(data), "k", number, 1})
	}
	b, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	return frame{bytes: encode(message("SubscribeToShardEvent", string(b))), records: records, next: next}
}

func shardEndEvent() frame {
	return frame{end: true, bytes: encode(message("SubscribeToShardEvent",
		`{"Records":[],"ContinuationSequenceNumber":null,"MillisBehindLatest":0,"ChildShards":[`+
			`{"ShardId":"shardId-000000000001","ParentShards":["`+shard0+`"],"HashKeyRange":{"StartingHashKey":"0",`+
			`"EndingHashKey":"1"}},`+
			`{"ShardId":"shardId-000000000002","ParentShards":["`+shard0+`"],"HashKeyRange":{"StartingHashKey":"2",`+
			`"EndingHashKey":"3"}}]}`))}
}

func initialResponse() []byte { return encode(message("initial-response", `{}`)) }

// frameEnds says where the initial response ends in what a healthy server sends,
// and where each of the frames does.
func frameEnds(frames []frame) []int {
	ends := []int{len(initialResponse())}
	for _, f := range frames {
		ends = append(ends, ends[len(ends)-1]+len(f.bytes))
	}
	return ends
}

// script serves the frames of one shard on an in-memory network: from the
// position that a subscribe asks for, in the way that send says, with whole
// frames by itself. Any other position than one between two frames fails the test.
type script struct {
	tb      testing.TB
	network *memnet.Network
	client  *kinesis.Client
	frames  []frame
	// send writes the answer to the attempt-th subscribe; out is what a healthy
	// server would send. It may panic with http.ErrAbortHandler.
	send func(attempt int, w http.ResponseWriter, r *http.Request, from int, out []byte)
	// raw, if set, is send for any position, which it gets as type and number.
	raw func(attempt int, w http.ResponseWriter, r *http.Request, position string)

	handlers sync.WaitGroup

	mu    sync.Mutex // guards the field below
	asked []int      // index of the first frame that each subscribe asked for
}

func newScript(tb testing.TB, http2 bool, frames ...frame) *script {
	tb.Helper()
	s := &script{tb: tb, network: newNetwork(tb), frames: frames, send: healthy}
	l, err := s.network.Listen("script.test:80")
	require.NoError(tb, err)
	srv := &http.Server{Handler: http.HandlerFunc(s.serve), Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { // ends with the server
		defer close(done)
		_ = srv.Serve(l)
	}()
	hc := derived(tb, buildable(tb, s.network, nil),
		efo.TransportConfig{H2C: http2, Logger: slog.New(slog.DiscardHandler)})
	s.client = kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://script.test"), HTTPClient: hc, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
	tb.Cleanup(func() { _ = srv.Close(); <-done; s.handlers.Wait() })
	return s
}

func (s *script) config(o kcl.ReadObserver) efo.Config {
	return efo.Config{
		Client:      s.client,
		StreamARN:   scriptStream,
		ConsumerARN: scriptConsumer,
		Observer:    o,
		Logger:      slog.New(slog.DiscardHandler),
	}
}

// begin forgets what was asked and makes send the server's next conduct.
func (s *script) begin(send func(attempt int, w http.ResponseWriter, r *http.Request, from int, out []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked, s.send = nil, send
}

func (s *script) positions() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *script) serve(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	if r.Header.Get("X-Amz-Target") != "Kinesis_20131202.SubscribeToShard" {
		// What else a reader may ask is not known here, as on a server that is small.
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"InternalFailure"}`)
		return
	}
	var in struct {
		StartingPosition struct{ Type, SequenceNumber string }
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		s.tb.Error(err)
	}
	from := 0
	if s.raw == nil && in.StartingPosition.Type != "TRIM_HORIZON" {
		from = s.after(in.StartingPosition.SequenceNumber)
		if in.StartingPosition.Type != "AFTER_SEQUENCE_NUMBER" || from < 0 {
			s.tb.Errorf("subscribe asks for %+v, which was never given", in.StartingPosition)
			from = 0
		}
	}
	s.mu.Lock()
	attempt, send := len(s.asked), s.send
	s.asked = append(s.asked, from)
	s.mu.Unlock()
	out := initialResponse()
	for _, f := range s.frames[from:] {
		out = append(out, f.bytes...)
	}
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	if s.raw != nil {
		s.raw(attempt, w, r, in.StartingPosition.Type+" "+in.StartingPosition.SequenceNumber)
		return
	}
	send(attempt, w, r, from, out)
}

// after is the index of the frame after the continuation; negative when no frame has it.
func (s *script) after(number string) int {
	for i := len(s.frames) - 1; i >= 0; i-- {
		if s.frames[i].next == number {
			return i + 1
		}
	}
	return -1
}

// healthy sends everything and keeps the stream open.
func healthy(_ int, w http.ResponseWriter, r *http.Request, _ int, out []byte) {
	_, _ = w.Write(out)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// delivered is what a reader of a script was given, and what follows from its batches.
type delivered struct {
	data []string
	next kcl.Position
	ends int
	err  error
}

func (s *script) read(cfg efo.Config, from kcl.Position) (got delivered) {
	got.next = from
	for b, err := range efo.NewSubscriber(cfg).Batches(s.tb.Context(), shard0, from) {
		if err != nil {
			got.err = err
			return got
		}
		for _, r := range b.Records {
			got.data = append(got.data, string(r.Data()))
		}
		if b.End != nil {
			got.ends++
		}
		got.next = b.Next
	}
	return got
}

// longScript has 24 events of every kind that a shard sends: with one record,
// with several, without any, and its end.
func longScript() (frames []frame, data []string) {
	n := 0
	for i := range 23 {
		var records []string
		for range []int{1, 0, 1, 2}[i%4] {
			records = append(records, fmt.Sprint(n))
			n++
		}
		data = append(data, records...)
		frames = append(frames, event(fmt.Sprintf("%d00", 100+i), records...))
	}
	return append(frames, shardEndEvent()), data
}

// TestE04TwentyEventsCutAtEveryByte cuts a stream of 24 events, the end of its
// shard among them, at every byte (over HTTP/1.1 at every seventh): by the end of
// the stream (FIN), by a reset (RST) and by silence; 23,952 cuts in all. What was
// whole is delivered before the cut, and reading goes on exactly after it.
func TestE04TwentyEventsCutAtEveryByte(t *testing.T) {
	frames, want := longScript()
	for _, kind := range []string{"fin", "rst", "silence"} {
		for _, http2 := range []bool{true, false} {
			t.Run(fmt.Sprint(kind, " http2=", http2), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newScript(t, http2, frames...)
					ends := frameEnds(frames)
					total := ends[len(ends)-1]
					step := testsize.Pick(97, 17, 1) // primes meet every part of a frame
					switch {
					case raceEnabled:
						step = 97
					case !http2:
						step = max(step, 13)
					}
					cuts := 0
					for at := 0; at < total; at += step {
						cuts++
						whole := -1 // frames before the cut, the initial response not counted
						for whole+1 < len(ends) && ends[whole+1] <= at {
							whole++
						}
						s.begin(func(attempt int, w http.ResponseWriter, r *http.Request, from int, out []byte) {
							if attempt > 0 {
								healthy(attempt, w, r, from, out)
								return
							}
							_, _ = w.Write(out[:at])
							_ = http.NewResponseController(w).Flush()
							time.Sleep(time.Millisecond) // all that was sent has been read
							switch kind {
							case "rst":
								if !http2 {
									s.network.Link("script.test", "").Reset()
								}
								panic(http.ErrAbortHandler) // RST_STREAM
							case "silence":
								<-r.Context().Done()
							}
						})
						o := &watcher{}
						got := s.read(s.config(o), kcl.Position{})
						require.NoError(t, got.err, "cut at byte %d", at)
						require.Equal(t, want, got.data, "cut at byte %d", at)
						require.Equal(t, 1, got.ends, "cut at byte %d", at)
						require.Equal(t, []int{0, max(0, whole)}, s.positions(), "cut at byte %d: goes on after what was whole", at)
					}
					t.Logf("%d cuts in %d bytes of %d events", cuts, total, len(frames))
				})
			})
		}
	}
}
