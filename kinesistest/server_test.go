package kinesistest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/memnet"
	"github.com/kinesis-go/kcl/kinesistest"
)

const testStream = "orders"

// sdk is an AWS client of the server without retries, through an HTTP client of the server's.
func sdk(srv *kinesistest.Server, client *http.Client) *kinesis.Client {
	return kinesis.New(kinesis.Options{
		BaseEndpoint: aws.String(srv.URL()), Region: "us-east-1", HTTPClient: client, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
}

// start is a server with one stream, its first shard's records numbered from 0, and a consumer of
// it.
func start(t *testing.T, cfg kinesistest.Config, shards, records int) (srv *kinesistest.Server, consumerARN string) {
	t.Helper()
	cfg.Streams = []kinesistest.StreamConfig{{Name: testStream, Shards: shards}}
	srv = kinesistest.New(t, cfg)
	consumerARN, err := srv.RegisterConsumer(testStream, "app")
	require.NoError(t, err)
	for i := range records {
		put(t, srv, 0, fmt.Sprint(i))
	}
	return srv, consumerARN
}

func shardID(n int) string { return fmt.Sprintf("shardId-%012d", n) }

func put(t *testing.T, srv *kinesistest.Server, shard int, data string) {
	t.Helper()
	_, err := srv.PutToShard(testStream, shardID(shard), "key", []byte(data))
	require.NoError(t, err)
}

// subscribe opens a subscription from TRIM_HORIZON with a protocol object of its own (a shared one
// races in the SDK).
func subscribe(ctx context.Context, client *kinesis.Client, consumerARN string,
	shard int,
) (*kinesis.SubscribeToShardEventStream, error) {
	out, err := client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: &consumerARN, ShardId: aws.String(shardID(shard)),
		StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
	}, func(o *kinesis.Options) { o.Protocol = awsjson.New11(schemas.Kinesis_20131202) })
	if err != nil {
		return nil, err
	}
	return out.GetStream(), nil
}

// nextRecord returns the data of the first record of the next event that has some, "" when the
// stream has ended.
func nextRecord(stream *kinesis.SubscribeToShardEventStream) string {
	for event := range stream.Events() {
		e, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
		if ok && len(e.Value.Records) > 0 {
			return string(e.Value.Records[0].Data)
		}
	}
	return ""
}

// protocols notes the versions of HTTP that answers came by.
type protocols struct {
	http.RoundTripper
	mu   sync.Mutex
	seen map[string]bool
}

func (p *protocols) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := p.RoundTripper.RoundTrip(r)
	if err == nil {
		p.mu.Lock()
		p.seen[resp.Proto] = true
		p.mu.Unlock()
	}
	return resp, err
}

func TestTransports(t *testing.T) {
	t.Parallel()
	for _, cfg := range []kinesistest.Config{
		{},
		{HTTP1: true},
		{TLS: true},
		{TLS: true, HTTP1: true},
		{Listen: "127.0.0.1:0"},
		{Listen: "127.0.0.1:0", HTTP1: true},
		{Listen: "127.0.0.1:0", TLS: true},
		{Listen: "localhost:0", TLS: true, HTTP1: true},
	} {
		t.Run(fmt.Sprintf("listen=%s tls=%t http1=%t", cfg.Listen, cfg.TLS, cfg.HTTP1), func(t *testing.T) {
			t.Parallel()
			srv, consumer := start(t, cfg, 1, 1)
			require.Equal(t, cfg.TLS, srv.CertPEM() != nil)
			httpClient := srv.HTTPClient()
			seen := &protocols{RoundTripper: httpClient.Transport, seen: map[string]bool{}}
			httpClient.Transport = seen
			client := sdk(srv, httpClient)
			list, err := client.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
			require.NoError(t, err)
			require.Equal(t, []string{testStream}, list.StreamNames)
			stream, err := subscribe(t.Context(), client, consumer, 0)
			require.NoError(t, err)
			require.Equal(t, "0", nextRecord(stream))
			require.NoError(t, stream.Close())
			want := map[string]bool{"HTTP/2.0": true}
			if cfg.HTTP1 {
				want = map[string]bool{"HTTP/1.1": true}
			}
			require.Equal(t, want, seen.seen)
		})
	}
}

// TestFiveMinutesInBubble: every in-memory transport passes a whole subscription of five virtual
// minutes, and ends.
func TestFiveMinutesInBubble(t *testing.T) {
	for _, cfg := range []kinesistest.Config{{}, {HTTP1: true}, {TLS: true}} {
		t.Run(fmt.Sprintf("tls=%t http1=%t", cfg.TLS, cfg.HTTP1), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, consumer := start(t, cfg, 1, 0)
				srv.SetLatency("client", 20*time.Millisecond)
				stream, err := subscribe(t.Context(), sdk(srv, srv.HTTPClient()), consumer, 0)
				require.NoError(t, err)
				began, events := time.Now(), 0
				for range stream.Events() {
					events++
				}
				require.NoError(t, stream.Err())
				require.NoError(t, stream.Close())
				require.InDelta(t, 300, time.Since(began).Seconds(), 1)
				require.InDelta(t, 60, events, 2)
			})
		})
	}
}

// TestPortSpeaksEverything: one port without TLS takes HTTP/1.1 and h2c, whatever Config.HTTP1 says
// of its own clients.
func TestPortSpeaksEverything(t *testing.T) {
	t.Parallel()
	srv := kinesistest.New(t, kinesistest.Config{Listen: "127.0.0.1:0"})
	for _, http2 := range []bool{false, true} {
		p := new(http.Protocols)
		p.SetHTTP1(!http2)
		p.SetUnencryptedHTTP2(http2)
		transport := &http.Transport{Protocols: p}
		_, err := sdk(srv, &http.Client{Transport: transport}).ListStreams(t.Context(), &kinesis.ListStreamsInput{})
		require.NoError(t, err)
		transport.CloseIdleConnections()
	}
}

// TestHTTP2WithoutALPN: over TLS, too, a client may begin HTTP/2 with prior knowledge. The Java SDK
// does.
func TestHTTP2WithoutALPN(t *testing.T) {
	t.Parallel()
	srv := kinesistest.New(t, kinesistest.Config{Listen: "127.0.0.1:0", TLS: true})
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(srv.CertPEM()))
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols: p,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			d := tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}} // no NextProtos, no ALPN
			return d.DialContext(ctx, network, addr)
		},
	}
	defer transport.CloseIdleConnections()
	client := sdk(srv, &http.Client{Transport: transport})
	_, err := client.ListStreams(t.Context(), &kinesis.ListStreamsInput{}, func(o *kinesis.Options) {
		o.BaseEndpoint = aws.String(strings.Replace(srv.URL(), "https://", "http://",
			1)) // so that the transport does not add TLS of its own
	})
	require.NoError(t, err)
}

func TestSubscriptionsShareConnections(t *testing.T) {
	for _, tc := range []struct{ limit, want int }{{0, 1}, {10, 3}} {
		t.Run(fmt.Sprint(tc.limit), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const shards = 30
				srv, consumer := start(t, kinesistest.Config{MaxConcurrentStreams: tc.limit}, shards, 0)
				client := sdk(srv, srv.HTTPClient())
				for i := range shards {
					stream, err := subscribe(t.Context(), client, consumer, i)
					require.NoError(t, err)
					t.Cleanup(func() { _ = stream.Close() })
				}
				synctest.Wait()
				require.Equal(t, shards, srv.Subscriptions())
				require.Equal(t, tc.want, srv.Connections())
			})
		})
	}
}

// TestSlowReaderBlocksOnlyItself: a client that does not read one of its subscriptions receives the
// other over the same connection.
func TestSlowReaderBlocksOnlyItself(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http1=%t", http1), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, consumer := start(t, kinesistest.Config{HTTP1: http1}, 2, 0)
				client := sdk(srv, srv.HTTPClient())
				for range 12 { // far more than any window
					data := bytes.Repeat([]byte{'x'}, 500_000)
					_, err := srv.PutToShard(testStream, shardID(0), "key", data)
					require.NoError(t, err)
				}
				unread, err := subscribe(t.Context(), client, consumer, 0)
				require.NoError(t, err)
				read, err := subscribe(t.Context(), client, consumer, 1)
				require.NoError(t, err)
				time.Sleep(time.Minute)
				for i := range 100 {
					put(t, srv, 1, fmt.Sprint(i))
					require.Equal(t, fmt.Sprint(i), nextRecord(read))
				}
				got := 0
				for got < 12 { // and what was not read is not lost
					event, ok := (<-unread.Events()).(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
					require.True(t, ok)
					got += len(event.Value.Records)
				}
				require.NoError(t, read.Close())
				require.NoError(t, unread.Close())
			})
		})
	}
}

// TestCloseEndsWhateverWaits: the bubble fails when a goroutine of the server is left.
func TestCloseEndsWhateverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, consumer := start(t, kinesistest.Config{}, 2, 1)
		client := sdk(srv, srv.HTTPClient())
		stalled, err := subscribe(t.Context(), client, consumer, 1)
		require.NoError(t, err)
		srv.Inject(kinesistest.Fault{
			Operation: "SubscribeToShard",
			Do:        []kinesistest.Action{kinesistest.StallStream(kinesistest.AfterEvents(0))},
		})
		srv.Inject(kinesistest.Fault{Operation: "ListStreams", Do: []kinesistest.Action{kinesistest.Silence()}})
		srv.Inject(kinesistest.Fault{Operation: "ListShards", Do: []kinesistest.Action{kinesistest.Delay(time.Hour)}})
		srv.Freeze(func(c *kinesistest.Call) bool { return c.Operation == "DescribeLimits" })
		idle, err := subscribe(t.Context(), client, consumer, 0)
		require.NoError(t, err)
		var wg sync.WaitGroup
		var errs [3]error
		wg.Go(func() { _, errs[0] = client.ListStreams(t.Context(), &kinesis.ListStreamsInput{}) })
		wg.Go(func() {
			_, errs[1] = client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String(testStream)})
		})
		wg.Go(func() { _, errs[2] = client.DescribeLimits(t.Context(), &kinesis.DescribeLimitsInput{}) })
		synctest.Wait()
		srv.Close()
		srv.Close()
		wg.Wait()
		for _, err := range errs {
			require.Error(t, err)
		}
		for _, stream := range []*kinesis.SubscribeToShardEventStream{stalled, idle} {
			for range stream.Events() { // with an error or, when the end of the connection comes first, without
				continue
			}
			_ = stream.Close()
		}
	})
}

func TestGoAwayLetsSubscriptionsRun(t *testing.T) {
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%t", tls), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, consumer := start(t, kinesistest.Config{TLS: tls}, 2, 1)
				client := sdk(srv, srv.HTTPClient())
				old, err := subscribe(t.Context(), client, consumer, 0)
				require.NoError(t, err)
				require.Equal(t, "0", nextRecord(old))
				srv.GoAway()
				time.Sleep(time.Second)
				next, err := subscribe(t.Context(), client, consumer, 1)
				require.NoError(t, err)
				require.Equal(t, 2, srv.Connections())
				put(t, srv, 0, "after")
				require.Equal(t, "after", nextRecord(old))
				require.NoError(t, old.Close())
				time.Sleep(5 * time.Second)
				require.Equal(t, 1, srv.Connections(), "the old connection closes after its last stream")
				require.NoError(t, next.Close())
			})
		})
	}
}

func TestConnectionsCut(t *testing.T) {
	for _, cfg := range []kinesistest.Config{{}, {HTTP1: true}, {TLS: true}, {Listen: "127.0.0.1:0"}} {
		for name, cut := range map[string]func(*kinesistest.Server){
			"close": (*kinesistest.Server).CloseConnections, "reset": (*kinesistest.Server).ResetConnections,
		} {
			t.Run(fmt.Sprintf("%s listen=%s tls=%t http1=%t", name, cfg.Listen, cfg.TLS, cfg.HTTP1), func(t *testing.T) {
				t.Parallel()
				srv, consumer := start(t, cfg, 1, 1)
				client := sdk(srv, srv.HTTPClient())
				stream, err := subscribe(t.Context(), client, consumer, 0)
				require.NoError(t, err)
				require.Equal(t, "0", nextRecord(stream))
				cut(srv)
				require.Empty(t, nextRecord(stream), "the stream ends")
				if name == "reset" && !cfg.HTTP1 { // else the SDK does not tell a cut from an end
					require.Error(t, stream.Err())
				}
				_ = stream.Close()
				_, err = client.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
				require.NoError(t, err, "new connections are welcome")
			})
		}
	}
}

// TestHosts: hosts of the in-memory network can be slow, cut off for a while, or die.
func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := start(t, kinesistest.Config{}, 1, 0)
		clients := map[string]*kinesis.Client{}
		for _, host := range []string{"a", "b"} {
			clients[host] = sdk(srv, srv.HTTPClientFrom(host))
		}
		call := func(host string) (time.Duration, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			began := time.Now()
			_, err := clients[host].ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String(testStream)})
			return time.Since(began), err
		}
		seen := map[string]int{}
		srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault { seen[c.Client]++; return nil })
		for host := range clients {
			took, err := call(host)
			require.NoError(t, err)
			require.Zero(t, took)
		}
		require.Equal(t, map[string]int{"a": 1, "b": 1}, seen)

		srv.SetLatency("a", 50*time.Millisecond)
		took, err := call("a")
		require.NoError(t, err)
		require.Equal(t, 100*time.Millisecond, took)

		heal := srv.Partition("a")
		_, err = call("a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = call("b")
		require.NoError(t, err)
		heal()
		_, err = call("a")
		require.NoError(t, err)

		srv.Kill("a")
		_, err = call("a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = call("b")
		require.NoError(t, err)
	})
}

// TestServersShareANetwork: two servers, one network, and a worker that can lose its way to both at
// once.
func TestServersShareANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		one := kinesistest.New(t, kinesistest.Config{Network: network})
		two := kinesistest.New(t, kinesistest.Config{Network: network})
		require.NotEqual(t, one.URL(), two.URL())
		httpClient := network.Host("worker").HTTPClient(true)
		for _, srv := range []*kinesistest.Server{one, two} {
			_, err := sdk(srv, httpClient).ListStreams(t.Context(), &kinesis.ListStreamsInput{})
			require.NoError(t, err)
		}
		one.Close()
		_, err := sdk(two, httpClient).ListStreams(t.Context(), &kinesis.ListStreamsInput{})
		require.NoError(t, err, "closing one leaves the network and the other alone")
	})
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]kinesistest.Config{
		"Config.AccountID": {AccountID: "12"},
		"Config.Listen":    {Listen: "127.0.0.1:notaport"},
		"Config.Network":   {Listen: "127.0.0.1:0", Network: memnet.New()},
	} {
		_, err := kinesistest.Start(cfg)
		require.ErrorContains(t, err, want)
	}
}

// TestHTTP1AnswersSurviveTheSDK: without what HTTPClient does about it, one answer in eight of this
// kind is lost.
func TestHTTP1AnswersSurviveTheSDK(t *testing.T) {
	t.Parallel()
	srv := kinesistest.New(t, kinesistest.Config{
		Listen: "127.0.0.1:0", HTTP1: true, DisableLimits: true, Streams: []kinesistest.StreamConfig{{Name: testStream}},
	})
	for range 2 {
		_, err := srv.PutToShard(testStream, shardID(0), "key", make([]byte, 150_000))
		require.NoError(t, err)
	}
	client := sdk(srv, srv.HTTPClient())
	iterator, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
		StreamName: aws.String(testStream), ShardId: aws.String(shardID(0)),
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	require.NoError(t, err)
	for i := range 100 {
		out, err := client.GetRecords(t.Context(), &kinesis.GetRecordsInput{ShardIterator: iterator.ShardIterator})
		require.NoError(t, err, "call %d", i)
		require.Len(t, out.Records, 2)
	}
}
