package efo_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
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
		w := newWorld(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 2}}, Network: network})
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
