package efo_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/memnet"
	"github.com/kinesis-go/kcl/kinesistest"
)

// newNetwork is a network that is closed last, so that no connection outlives the bubble.
func newNetwork(tb testing.TB) *memnet.Network {
	tb.Helper()
	n := memnet.New()
	tb.Cleanup(func() { _ = n.Close() })
	return n
}

// buildable is the SDK's own kind of HTTP client, dialling the network.
func buildable(
	tb testing.TB,
	network *memnet.Network,
	cert []byte,
	opts ...func(*http.Transport),
) *awshttp.BuildableClient {
	tb.Helper()
	return awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.Proxy = nil
		tr.DialContext = network.DialContext
		if cert != nil {
			pool := x509.NewCertPool()
			require.True(tb, pool.AppendCertsFromPEM(cert))
			tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		}
		for _, opt := range opts {
			opt(tr)
		}
	})
}

// derived is NewHTTPClient for the life of the test.
func derived(tb testing.TB, base aws.HTTPClient, cfg efo.TransportConfig) aws.HTTPClient {
	tb.Helper()
	c := efo.NewHTTPClient(base, cfg)
	tb.Cleanup(c.(interface{ CloseIdleConnections() }).CloseIdleConnections)
	return c
}

// The derived client keeps what the user set and changes what streams need.
// Two settings that are known to hang must never be made.
func TestTransportSettings(t *testing.T) {
	t.Parallel()
	base := awshttp.NewBuildableClient().
		WithTimeout(time.Second).
		WithReadTimeout(time.Second).
		WithTransportOptions(func(tr *http.Transport) {
			tr.TLSClientConfig = &tls.Config{ServerName: "kept", MinVersion: tls.VersionTLS12}
			tr.ResponseHeaderTimeout = time.Second
			tr.HTTP2 = &http.HTTP2Config{
				MaxReceiveBufferPerConnection: 1 << 20,
				StrictMaxConcurrentRequests:   true,
				MaxReadFrameSize:              1 << 20,
			}
		})
	for _, h2c := range []bool{false, true} {
		own := efo.Derived(efo.NewHTTPClient(base, efo.TransportConfig{H2C: h2c}))
		tr := efo.TransportOf(own)
		require.Equal(t, "kept", tr.TLSClientConfig.ServerName)
		require.Equal(t, &http.HTTP2Config{
			MaxReceiveBufferPerStream: 512 << 10, MaxReadFrameSize: 1 << 20,
			SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second, WriteByteTimeout: 15 * time.Second,
		}, tr.HTTP2)
		require.Zero(t, tr.ResponseHeaderTimeout)
		require.Zero(t, tr.MaxConnsPerHost)
		require.Zero(t, own.Timeout)
		if h2c {
			require.True(t, tr.Protocols.UnencryptedHTTP2())
		} else {
			require.Nil(t, tr.Protocols)
		}
	}
	require.NotNil(t, efo.NewHTTPClient(nil, efo.TransportConfig{}))
}

// Each way of reaching an endpoint reads records through the derived client.
func TestTransportProtocols(t *testing.T) {
	for name, test := range map[string]struct {
		tls, http1Only, h2c bool
		proto               int
		warned              bool
	}{
		"https prefers HTTP/2":        {tls: true, proto: 2},
		"https with HTTP/1.1 is told": {tls: true, http1Only: true, proto: 1, warned: true},
		"http is HTTP/1.1":            {proto: 1},
		"http with h2c":               {h2c: true, proto: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newNetwork(t)
				w := newWorld(t, kinesistest.Config{TLS: test.tls, Network: network})
				base := buildable(t, network, w.srv.CertPEM(), func(tr *http.Transport) {
					if test.http1Only {
						tr.Protocols = new(http.Protocols)
						tr.Protocols.SetHTTP1(true)
					}
				})
				var mu sync.Mutex
				var log bytes.Buffer
				client := derived(t, base,
					efo.TransportConfig{H2C: test.h2c, Logger: slog.New(slog.NewTextHandler(&lockedWriter{&mu, &log}, nil))})
				spy := &spy{next: client}
				cfg := w.config()
				cfg.HTTPClient = spy
				r := w.start(cfg, shard0, kcl.Position{})
				w.write(5)
				time.Sleep(6 * time.Minute)
				w.write(5)
				time.Sleep(time.Second)
				require.NoError(t, r.now().err)
				require.Equal(t, numbers(0, 10), r.wait().data)
				require.Equal(t, []int{test.proto}, spy.protocols())
				mu.Lock()
				defer mu.Unlock()
				require.Equal(t, test.warned, bytes.Count(log.Bytes(), []byte("HTTP/1.1")) == 1, log.String())
			})
		})
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// spy notes the protocol of every answer.
type spy struct {
	next  kinesis.HTTPClient
	mu    sync.Mutex // guards the field below
	proto map[int]bool
}

func (s *spy) Do(req *http.Request) (*http.Response, error) {
	resp, err := s.next.Do(req)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.proto == nil {
			s.proto = map[int]bool{}
		}
		s.proto[resp.ProtoMajor] = true
	}
	return resp, err
}

func (s *spy) protocols() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []int
	for p := range s.proto {
		all = append(all, p)
	}
	return all
}

// A dead connection is noticed by pings, long before the silence of its streams.
func TestE01PingsNoticeADeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		w := newWorld(t, kinesistest.Config{Network: network})
		cfg := w.config()
		cfg.Lineage = nil
		cfg.HTTPClient = derived(t, buildable(t, network, nil), efo.TransportConfig{H2C: true})
		r := w.start(cfg, shard0, kcl.Position{})
		time.Sleep(20 * time.Second)
		network.Link("kinesis.test", "").Hold()
		begin := time.Now()
		time.Sleep(21 * time.Second)
		network.Link("kinesis.test", "").Release()
		require.NotEmpty(t, cfg.Observer.(*watcher).retries(), "within 15s and 5s")
		w.write(1)
		time.Sleep(10 * time.Second)
		require.Equal(t, numbers(0, 1), r.now().data)
		require.Less(t, time.Since(begin), efo.DefaultSilenceTimeout)
	})
}

// Connections that carry nothing do not stay.
func TestTransportClosesIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		w := newWorld(
			t,
			kinesistest.Config{
				Streams:              []kinesistest.StreamConfig{{Name: "orders", Shards: 3}},
				Network:              network,
				MaxConcurrentStreams: 1,
			},
		)
		client := derived(t, buildable(t, network, nil), efo.TransportConfig{H2C: true})
		var readings []*reading
		for i := range 3 {
			cfg := w.config()
			cfg.HTTPClient = client
			readings = append(readings, w.start(cfg, shardID(i), kcl.Position{}))
		}
		link := network.Link("kinesis.test", "")
		time.Sleep(20 * time.Second)
		require.Equal(t, 3, link.Conns())
		for _, r := range readings {
			r.wait()
		}
		time.Sleep(time.Minute)
		require.Equal(t, 3, link.Conns())
		time.Sleep(time.Minute)
		require.Equal(t, 0, link.Conns())

		w.write(1)
		cfg := w.config()
		cfg.HTTPClient = client
		require.Equal(t, numbers(0, 1), w.read(t.Context(), cfg, shard0, kcl.Position{}, 1).data)
	})
}

// TestTimeoutOfTheUsersClientCutsNoSubscription: an http.Client's Timeout counts the whole of a
// subscription. It is left out, and the log names it.
func TestTimeoutOfTheUsersClientCutsNoSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, kinesistest.Config{})
		var mu sync.Mutex
		var log bytes.Buffer
		own := w.srv.HTTPClient()
		t.Cleanup(own.CloseIdleConnections)
		own.Timeout = 30 * time.Second
		cfg := w.config()
		cfg.HTTPClient = efo.NewHTTPClient(own,
			efo.TransportConfig{Logger: slog.New(slog.NewTextHandler(&lockedWriter{&mu, &log}, nil))})
		r := w.start(cfg, shard0, kcl.Position{})
		w.write(5)
		time.Sleep(20 * time.Minute)
		require.NoError(t, r.now().err)
		require.Empty(t, cfg.Observer.(*watcher).retries())
		require.Equal(t, 30*time.Second, own.Timeout, "the user's is not touched")
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, 1,
			bytes.Count(log.Bytes(), []byte("Timeout of the Kinesis client's http.Client would cut every subscription")),
			log.String())
		require.Contains(t, log.String(), "timeout=30s")
	})
}
