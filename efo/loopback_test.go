package efo_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
)

// A server on the same machine answers at once. Then the SDK sometimes gives up its own HTTP/1.1
// connection, unless plainBody replaces the SDK's request body. It does not happen over TLS, where
// the peer's offer tells HTTP/1.1 and HTTP/2 apart. The test needs a real socket: a fake that waits
// hides the failure.
func TestLoopbackAnswersAtOnce(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){
		"http":           (*httptest.Server).Start,
		"https HTTP/1.1": (*httptest.Server).StartTLS,
		"https HTTP/2":   func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		streams := 600
		if name != "http" {
			streams = 100 // handshakes take long, and the trap is not there
		}
		t.Run(name, func(t *testing.T) { loopback(t, streams, start) })
	}
}

func loopback(t *testing.T, streams int, start func(*httptest.Server)) {
	const workers = 20
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
		_ = send(w, message("initial-response", `{}`))
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
		_ = send(
			w,
			message("SubscribeToShardEvent", `{"Records":[],"ContinuationSequenceNumber":"7","MillisBehindLatest":0}`),
		)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	start(srv)
	t.Cleanup(srv.Close)
	client := kinesis.New(kinesis.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(srv.URL),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
			if srv.TLS != nil {
				tr.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			}
		}),
	})
	const stream = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
	cfg := efo.Config{
		Client: client, HTTPClient: derived(t, client.Options().HTTPClient, efo.TransportConfig{}),
		StreamARN: stream, ConsumerARN: stream + "/consumer/app:1", Logger: slog.New(slog.DiscardHandler),
	}
	var died atomic.Int32
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { // ends after its share of streams
			for range streams / workers {
				c := cfg
				o := &watcher{}
				c.Observer = o
				for _, err := range efo.NewSubscriber(c).Batches(t.Context(), shard0, kcl.Position{}) {
					if err != nil {
						t.Error(err)
					}
					break
				}
				died.Add(int32(len(o.retries())))
			}
		})
	}
	wg.Wait()
	require.Zero(t, died.Load(), "streams that died before their first event")
}

func message(event, payload string) eventstream.Message {
	m := eventstream.Message{Payload: []byte(payload)}
	m.Headers.Set(":event-type", eventstream.StringValue(event))
	m.Headers.Set(":content-type", eventstream.StringValue("application/x-amz-json-1.1"))
	m.Headers.Set(":message-type", eventstream.StringValue("event"))
	return m
}
