package efo_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/kinesistest"
)

// A dial that hangs, to an address that swallows packets, does not keep the
// other subscriptions from dialling.
func TestHangingDialHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		w := newWorld(t,
			kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 2}}, Network: network})
		var dials atomic.Int32
		client := derived(t, buildable(t, network, nil, func(tr *http.Transport) {
			tr.DialContext = func(ctx context.Context, netw, addr string) (net.Conn, error) {
				if dials.Add(1) == 1 {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return network.DialContext(ctx, netw, addr)
			}
		}), efo.TransportConfig{H2C: true})
		watchers := make([]*watcher, 2)
		for i := range watchers {
			cfg := w.config()
			cfg.HTTPClient = client
			watchers[i] = cfg.Observer.(*watcher)
			w.start(cfg, shardID(i), kcl.Position{})
			synctest.Wait()
		}
		time.Sleep(efo.DefaultCallTimeout - 5*time.Second)
		require.Empty(t, watchers[1].retries())
		require.Equal(t, int32(2), dials.Load())
		require.Equal(t, 1, network.Link("kinesis.test", "").Conns(), "the second is subscribed")
	})
}

// Subscriptions go through the proxy that the user has set, over HTTP/2.
func TestProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		w := newWorld(t, kinesistest.Config{TLS: true, Network: network})
		var connects atomic.Int32
		l, err := network.Listen("proxy.test:3128")
		require.NoError(t, err)
		go func() { // ends when the network is closed
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					req, err := http.ReadRequest(bufio.NewReader(c))
					if err != nil || req.Method != http.MethodConnect {
						return
					}
					connects.Add(1)
					up, err := network.Host("proxy.test").DialContext(context.Background(), "tcp", req.Host)
					if err != nil {
						return
					}
					defer up.Close()
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
					go func() { _, _ = io.Copy(up, c); _ = up.Close() }()
					_, _ = io.Copy(c, up)
				}()
			}
		}()
		s := &spy{next: derived(t, buildable(t, network, w.srv.CertPEM(), func(tr *http.Transport) {
			tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:3128"})
		}), efo.TransportConfig{})}
		cfg := w.config()
		cfg.HTTPClient = s
		w.write(3)
		require.Equal(t, numbers(0, 3), w.read(t.Context(), cfg, shard0, kcl.Position{}, 3).data)
		require.Equal(t, []int{2}, s.protocols())
		require.Equal(t, int32(1), connects.Load())
	})
}

// NO_PROXY and its kind see the port of the endpoint, which net/http leaves out
// when a connection is made by hand.
func TestProxyIsAskedWithThePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		w := newWorld(t, kinesistest.Config{Network: network})
		var mu sync.Mutex
		asked := map[string]bool{}
		cfg := w.config()
		cfg.HTTPClient = derived(t, buildable(t, network, nil, func(tr *http.Transport) {
			tr.Proxy = func(req *http.Request) (*url.URL, error) {
				mu.Lock()
				defer mu.Unlock()
				asked[req.URL.Host] = true
				return nil, nil
			}
		}), efo.TransportConfig{H2C: true})
		r := w.start(cfg, shard0, kcl.Position{})
		w.write(1)
		time.Sleep(10 * time.Second)
		require.Equal(t, numbers(0, 1), r.now().data)
		mu.Lock()
		defer mu.Unlock()
		endpoint, err := url.Parse(w.srv.URL())
		require.NoError(t, err)
		require.NotEmpty(t, endpoint.Port())
		require.Equal(t, map[string]bool{endpoint.Host: true}, asked)
	})
}

// A host of which some addresses speak HTTP/1.1 only: the connections that
// speak HTTP/2 go on being shared.
func TestHTTP1BesidesHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shards = 12
		network := newNetwork(t)
		w := newWorld(t, kinesistest.Config{
			Streams: []kinesistest.StreamConfig{
				{Name: "orders", Shards: shards},
			},
			TLS:                  true,
			Network:              network,
			MaxConcurrentStreams: 4,
		})
		var dials atomic.Int32
		base := buildable(t, network, w.srv.CertPEM(), func(tr *http.Transport) {
			tr.DialTLSContext = func(ctx context.Context, netw, addr string) (net.Conn, error) {
				conn, err := network.DialContext(ctx, netw, addr)
				if err != nil {
					return nil, err
				}
				cfg := tr.TLSClientConfig.Clone()
				cfg.ServerName, cfg.NextProtos = "kinesis.test", []string{"h2"}
				if dials.Add(1) == 2 {
					cfg.NextProtos = []string{"http/1.1"}
				}
				return tls.Client(conn, cfg), nil
			}
		})
		client := derived(t, base, efo.TransportConfig{Logger: w.log})
		var readings []*reading
		for i := range shards {
			cfg := w.config()
			cfg.HTTPClient = client
			readings = append(readings, w.start(cfg, shardID(i), kcl.Position{}))
			if i < 5 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		for i := range shards {
			_, err := w.srv.PutToShard("orders", shardID(i), "k", []byte("x"))
			require.NoError(t, err)
		}
		time.Sleep(10 * time.Second)
		for _, r := range readings {
			require.Equal(t, []string{"x"}, r.now().data)
		}
		require.Equal(t, int32(4), dials.Load(),
			"four on the first connection, one on that of HTTP/1.1, four and three on two more")
		for _, r := range readings {
			r.wait()
		}
		time.Sleep(2 * time.Minute)
		require.Equal(t, 0, network.Link("kinesis.test", "").Conns(), "none is forgotten")
	})
}

// A peer that allows few streams on a connection makes us dial often, and then
// not one connection after the other.
func TestFewStreamsOnAConnection(t *testing.T) {
	const shards = 64
	for streams, within := range map[int]time.Duration{1: 5 * time.Second, 3: 3 * time.Second} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newNetwork(t)
				w := newWorld(t, kinesistest.Config{
					Streams: []kinesistest.StreamConfig{
						{Name: "orders", Shards: shards},
					},
					MaxConcurrentStreams: streams,
					Network:              network,
				})
				network.Link("kinesis.test", "").SetLatency(100 * time.Millisecond)
				client := derived(t, buildable(t, network, nil), efo.TransportConfig{H2C: true, Logger: w.log})
				begin := time.Now()
				var watchers []*watcher
				for i := range shards {
					cfg := w.config()
					cfg.HTTPClient = client
					watchers = append(watchers, cfg.Observer.(*watcher))
					w.start(cfg, shardID(i), kcl.Position{})
				}
				time.Sleep(20 * time.Second)
				for _, o := range watchers {
					require.Len(t, o.opens(), 1)
					require.Less(t, o.opens()[0].Sub(begin), within)
				}
				require.Equal(t, (shards+streams-1)/streams, network.Link("kinesis.test", "").Conns())
			})
		})
	}
}

// TestE28CloseWhileDialling: the connection is not made, one reader dials, others wait for that,
// and others for their turn to open. All end with their context.
func TestE28CloseWhileDialling(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 7 * time.Second, 21 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newNetwork(t)
				w := newWorld(t, kinesistest.Config{Network: network})
				client := derived(t, buildable(t, network, nil, func(tr *http.Transport) {
					tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
						<-ctx.Done()
						return nil, ctx.Err()
					}
				}), efo.TransportConfig{H2C: true, MaxConcurrentOpens: 4, Logger: w.log})
				stop := errors.New("stop")
				ctx, cancel := context.WithCancelCause(t.Context())
				var wg sync.WaitGroup
				for range 10 {
					cfg := w.config()
					cfg.HTTPClient, cfg.Lineage = client, nil
					wg.Go(func() { require.Equal(t, stop, w.read(ctx, cfg, shard0, kcl.Position{}, 0).err) }) // ends with ctx
				}
				time.Sleep(after)
				cancel(stop)
				began := time.Now()
				wg.Wait()
				require.Less(t, time.Since(began), time.Second)
			})
		})
	}
}

// TestWaitingInOurOwnQueueIsNoSilence: the service takes a while for each answer. With 32 openings
// at a time the last shards wait longer than CallTimeout before they are asked for at all.
func TestWaitingInOurOwnQueueIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const shards, answer = 400, 3 * time.Second
		w, config, _ := manyShards(t, shards, 100)
		w.srv.Inject(
			kinesistest.Fault{Operation: "SubscribeToShard", Do: []kinesistest.Action{kinesistest.DelayAnswer(answer)}})
		var watchers []*watcher
		begin := time.Now()
		for i := range shards {
			cfg := config()
			watchers = append(watchers, cfg.Observer.(*watcher))
			w.start(cfg, shardID(i), kcl.Position{})
		}
		time.Sleep(2 * time.Minute)
		last := time.Duration(0)
		for _, o := range watchers {
			require.Empty(t, o.retries())
			require.NotEmpty(t, o.opens())
			last = max(last, o.opens()[0].Sub(begin))
		}
		require.Greater(t, last, efo.DefaultCallTimeout, "else the test shows nothing")
	})
}

// TestBadHostBehindAnOpenConnection: on the connection that is open one shard fails or hears
// nothing, while others keep it busy. That shard goes on over another connection.
func TestBadHostBehindAnOpenConnection(t *testing.T) {
	for name, do := range map[string]kinesistest.Action{
		"503":               kinesistest.Fail("ServiceUnavailable", "going away"),
		"silence":           kinesistest.Silence(),
		"silence of events": kinesistest.StallStream(kinesistest.AfterEvents(0)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := newNetwork(t)
				const shards = 10
				w := newWorld(
					t,
					kinesistest.Config{
						Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: shards}},
						TLS:     true,
						Network: network,
					},
				)
				var mu sync.Mutex
				bad := ""
				w.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
					mu.Lock()
					defer mu.Unlock()
					if c.Operation != "SubscribeToShard" {
						return nil
					}
					if bad == "" {
						bad = c.RemoteAddr
						return nil
					}
					if c.RemoteAddr != bad || c.Shard != shard0 {
						return nil
					}
					return &kinesistest.Fault{Do: []kinesistest.Action{do}}
				})
				client := derived(t, buildable(t, network, w.srv.CertPEM()), efo.TransportConfig{Logger: w.log})
				var first *reading
				for i := range shards {
					cfg := w.config()
					cfg.HTTPClient = client
					r := w.start(cfg, shardID(i), kcl.Position{})
					if i == 0 {
						first = r
						time.Sleep(20 * time.Second)
					}
				}
				time.Sleep(6 * time.Minute)
				for i := range 3 {
					_, err := w.srv.PutToShard("orders", shard0, "k", []byte(strconv.Itoa(i)))
					require.NoError(t, err)
				}
				time.Sleep(4 * time.Minute)
				require.Equal(t, []string{"0", "1", "2"}, first.now().data)
			})
		})
	}
}

// TestOldConnectionsAreReplaced: no connection carries subscriptions for ever, and none is left
// behind.
func TestOldConnectionsAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		w := newWorld(t,
			kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 5}}, Network: network})
		var mu sync.Mutex
		used := map[string]bool{}
		w.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
			mu.Lock()
			defer mu.Unlock()
			if c.Operation == "SubscribeToShard" {
				used[c.RemoteAddr] = true
			}
			return nil
		})
		client := derived(t, buildable(t, network, nil), efo.TransportConfig{H2C: true})
		var readings []*reading
		for i := range 5 {
			cfg := w.config()
			cfg.HTTPClient = client
			readings = append(readings, w.start(cfg, shardID(i), kcl.Position{}))
		}
		time.Sleep(4 * time.Hour)
		require.LessOrEqual(t, network.Link("kinesis.test", "").Conns(), 3, "those of the world's own client among them")
		for _, r := range readings {
			require.NoError(t, r.now().err)
		}
		mu.Lock()
		defer mu.Unlock()
		require.GreaterOrEqual(t, len(used), 5)
		require.LessOrEqual(t, len(used), 9)
	})
}
