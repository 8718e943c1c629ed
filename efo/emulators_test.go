package efo_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/kinesistest"
)

// emulator makes the streams of the fake those of a server that says less than
// AWS: rewrite changes the payload of every event before the client sees it.
// It returns false to withhold the event; idle makes it repeat the last
// continuation once a second after that, instead of ending the stream.
type emulator struct {
	next    kinesis.HTTPClient
	rewrite func(event map[string]json.RawMessage) bool
	idle    bool
}

func (e *emulator) Do(req *http.Request) (*http.Response, error) {
	resp, err := e.next.Do(req)
	if err != nil || resp.Header.Get("Content-Type") != "application/vnd.amazon.eventstream" {
		return resp, err
	}
	r, w := io.Pipe()
	closed := make(chan struct{})
	body := resp.Body
	go func() { // ends with the stream or when the client closes it
		_ = w.CloseWithError(e.copy(w, body, closed))
	}()
	resp.Body = &pipedBody{PipeReader: r, body: body, closed: closed}
	return resp, nil
}

type pipedBody struct {
	*io.PipeReader
	body   io.Closer
	closed chan struct{}
	once   sync.Once
}

func (p *pipedBody) Close() error {
	p.once.Do(func() { close(p.closed) })
	_ = p.PipeReader.Close()
	return p.body.Close()
}

func (e *emulator) copy(w io.Writer, r io.Reader, closed <-chan struct{}) error {
	var last map[string]json.RawMessage
	for {
		msg, err := eventstream.NewDecoder().Decode(r, nil)
		if err != nil {
			return err
		}
		if t := msg.Headers.Get(":event-type"); t != nil && t.String() == "SubscribeToShardEvent" {
			event := map[string]json.RawMessage{}
			if err := json.Unmarshal(msg.Payload, &event); err != nil {
				return err
			}
			keep := e.rewrite(event)
			for !keep && e.idle && last != nil {
				select {
				case <-time.After(time.Second):
				case <-closed:
					return io.EOF
				}
				last["Records"] = json.RawMessage("[]")
				msg.Payload, _ = json.Marshal(last)
				if err := send(w, msg); err != nil {
					return err
				}
			}
			if !keep {
				return io.EOF
			}
			last = event
			msg.Payload, _ = json.Marshal(event)
		}
		if err := send(w, msg); err != nil {
			return err
		}
	}
}

func send(w io.Writer, msg eventstream.Message) error {
	var b bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&b, msg); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// atEnd tells the last event of a closed shard.
func atEnd(event map[string]json.RawMessage) bool { return event["ChildShards"] != nil }

// Servers that never name children in a stream: the end is found by asking, and
// the records that GetRecords returns come first.
func TestShardEndOnServersWithoutChildShards(t *testing.T) {
	emulators := map[string]emulator{
		"stream ends before the end": {rewrite: func(ev map[string]json.RawMessage) bool { return !atEnd(ev) }},
		"stream never ends":          {rewrite: func(ev map[string]json.RawMessage) bool { return !atEnd(ev) }, idle: true},
		"nil continuation, no children": {rewrite: func(ev map[string]json.RawMessage) bool {
			delete(ev, "ChildShards")
			return true
		}},
		"children without parents": {rewrite: func(ev map[string]json.RawMessage) bool {
			if atEnd(ev) {
				ev["ChildShards"] = json.RawMessage(`[{"ShardId":"shardId-000000000001"},{"ShardId":"shardId-000000000002"}]`)
			}
			return true
		}},
		"continuation is 0 without records": {rewrite: func(ev map[string]json.RawMessage) bool {
			if string(ev["Records"]) == "[]" && !atEnd(ev) {
				ev["ContinuationSequenceNumber"] = json.RawMessage(`"0"`)
			}
			return !atEnd(ev)
		}},
	}
	for name, e := range emulators {
		for _, empty := range []bool{false, true} {
			sub := name
			if empty {
				sub += ", no records at all"
				if name == "stream never ends" {
					continue // it has an event to repeat only after a record
				}
			}
			t.Run(sub, func(t *testing.T) {
				inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
					cfg := w.config()
					em := e
					em.next = w.client.Options().HTTPClient
					cfg.HTTPClient = &em
					n := 0
					if !empty {
						n = 5
					}
					w.write(n)
					r := w.start(cfg, shard0, kcl.Position{})
					time.Sleep(20 * time.Second)
					w.write(n)
					w.split()
					time.Sleep(2 * time.Minute)
					got := r.now()
					require.NoError(t, got.err)
					require.Equal(t, numbers(0, 2*n), got.data)
					require.Equal(t, 1, got.ends)
					require.Len(t, got.last.End.Children, 2)
					require.Equal(t, []string{shard0}, got.last.End.Children[0].Parents)
					<-r.done
				})
			})
		}
	}
}

// Records that the stream never brought are delivered before the end.
func TestShardEndDeliversWhatGetRecordsReturns(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.write(10)
		w.split()
		w.srv.Inject(onSubscribe(0, kinesistest.EndStream(kinesistest.AfterEvents(0))))
		got := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 0)
		require.NoError(t, got.err)
		require.Equal(t, numbers(0, 10), got.data)
		require.Equal(t, 1, got.ends)
	})
}

// More than one answer's worth of them, with the throttling that follows large answers.
func TestShardEndDeliversEveryPage(t *testing.T) {
	cfg := kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", MaxRecordSizeKiB: 1024}}}
	inBubble(t, cfg, func(t *testing.T, w *world) {
		const n = 25
		for i := range n {
			w.writeData(fmt.Sprintf("%02d", i) + strings.Repeat("x", 900<<10))
			time.Sleep(2 * time.Second)
		}
		w.split()
		w.srv.Inject(onSubscribe(0, kinesistest.EndStream(kinesistest.AfterEvents(0))))
		cfg := w.config()
		got := w.read(t.Context(), cfg, shard0, kcl.Position{}, 0)
		require.NoError(t, got.err)
		require.Len(t, got.data, n)
		for i, d := range got.data {
			require.Equal(t, fmt.Sprintf("%02d", i), d[:2])
		}
		require.Equal(t, 1, got.ends)
		require.Len(t, cfg.Observer.(*watcher).opens(), 1)
	})
}

// Without permission for GetRecords the shard list is enough only when the
// position has passed the shard's last number.
func TestShardEndWithoutPermissionForGetRecords(t *testing.T) {
	deny := func(op, _ string) bool { return op == "GetRecords" || op == "GetShardIterator" }
	for name, past := range map[string]bool{"past the end": true, "before the end": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kinesistest.Config{Deny: deny}, func(t *testing.T, w *world) {
				w.write(3)
				w.split()
				shard, _, ok, err := lineage{w.client, w.stream}.Shard(t.Context(), shard0)
				require.NoError(t, err)
				require.True(t, ok)
				w.srv.Inject(onSubscribe(0, kinesistest.EndStream(kinesistest.AfterEvents(0))))
				from := kcl.Position{}
				if past {
					from = kcl.After(shard.EndingSequenceNumber)
				}
				r := w.start(w.config(), shard0, from)
				time.Sleep(time.Minute)
				require.NoError(t, r.now().err)
				require.Equal(t, past, r.now().ends == 1)
			})
		})
	}
}

// Open shards do not end, however often their streams do.
func TestOpenShardDoesNotEnd(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.srv.Inject(onSubscribe(20, kinesistest.EndStream(kinesistest.AfterEvents(1))))
		cfg := w.config()
		r := w.start(cfg, shard0, kcl.Position{})
		time.Sleep(10 * time.Minute)
		w.write(1)
		time.Sleep(time.Minute)
		got := r.wait()
		require.Equal(t, 0, got.ends)
		require.Equal(t, numbers(0, 1), got.data)
	})
}

// A nil continuation is no end while no children are known, neither to the event nor to ListShards.
func TestNilContinuationWithoutChildrenIsNoEnd(t *testing.T) {
	for name, behind := range map[string]time.Duration{"at the tip": 0, "far from it": time.Minute} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				w.write(5)
				w.srv.Inject(onSubscribe(5, kinesistest.SendFalseEnd(1, behind)))
				cfg := w.config()
				r := w.start(cfg, shard0, kcl.Position{})
				time.Sleep(3 * time.Minute)
				w.write(5)
				time.Sleep(time.Minute)
				require.Equal(t, numbers(0, 10), r.now().data)
				require.Equal(t, 0, r.now().ends)
				require.GreaterOrEqual(t, len(cfg.Observer.(*watcher).retries()), 5)
			})
		})
	}
}

// An event with children and a continuation is not the end: its records count and reading goes on.
func TestChildrenWithContinuationIsNotTheEnd(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		cfg := w.config()
		cfg.HTTPClient = &emulator{next: w.client.Options().HTTPClient, rewrite: func(ev map[string]json.RawMessage) bool {
			if !atEnd(ev) {
				ev["ChildShards"] = json.RawMessage(`[{"ShardId":"shardId-000000000001","ParentShards":["` + shard0 + `"]}]`)
			}
			return true
		}}
		r := w.start(cfg, shard0, kcl.Position{})
		for range 5 {
			w.write(1)
			time.Sleep(time.Second)
		}
		require.Equal(t, numbers(0, 5), r.now().data)
		require.Equal(t, 0, r.now().ends)
		w.split()
		require.Equal(t, 1, r.now().ends)
	})
}

// A server that answers 500 for what is not there: after some of them it is asked what is.
func TestPersistent500LeadsToALookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, kinesistest.Config{})
		require.NoError(t, efo.Deregister(t.Context(), w.client, w.consumer))
		time.Sleep(time.Second)
		w.srv.Inject(onSubscribe(0, kinesistest.Fail("InternalError", "no")))
		got := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 0)
		require.ErrorIs(t, got.err, efo.ErrConsumerNotFound)
	})
}
