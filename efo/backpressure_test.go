package efo_test

import (
	"context"
	"net"
	"net/http"
	"strings"
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

// counted is a connection that counts what was read from it.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// TestE08BlockedReadersBufferLittle: a process takes little from the network for shards whose loop
// bodies do not come back, even if the service has much. The stream's window and the events in hand
// bound it. Another shard on the same connection reads on.
func TestE08BlockedReadersBufferLittle(t *testing.T) {
	const (
		blocked = 10
		size    = 50_000
		perSh   = 100 // records, 5 MB
		event   = 1_500_000
		window  = 512 << 10
	)
	synctest.Test(t, func(t *testing.T) {
		network := newNetwork(t)
		w := newWorld(t, kinesistest.Config{
			Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: blocked + 1}}, DisableLimits: true, Network: network,
		})
		data := []byte(strings.Repeat("x", size))
		for shard := range blocked {
			for range perSh {
				_, err := w.srv.PutToShard("orders", shardID(shard), "k", data)
				require.NoError(t, err)
			}
		}
		var taken atomic.Int64
		client := derived(t, buildable(t, network, nil, func(tr *http.Transport) {
			tr.DialContext = func(ctx context.Context, net, addr string) (net.Conn, error) {
				conn, err := network.DialContext(ctx, net, addr)
				return counted{conn, &taken}, err
			}
		}), efo.TransportConfig{H2C: true, Logger: w.log})

		release := make(chan struct{})
		open := sync.OnceFunc(func() { close(release) })
		defer open()
		seen := make([]int, blocked)
		done := make(chan struct{}, blocked)
		for shard := range blocked {
			cfg := w.config()
			cfg.HTTPClient = client
			go func() { // ends with the shard's last record
				defer func() { done <- struct{}{} }()
				for b, err := range efo.NewSubscriber(cfg).Batches(t.Context(), shardID(shard), kcl.Position{}) {
					if err != nil {
						return
					}
					<-release
					if seen[shard] += len(b.Records); seen[shard] == perSh {
						return
					}
				}
			}()
		}
		cfg := w.config()
		cfg.HTTPClient = client
		free := w.start(cfg, shardID(blocked), kcl.Position{})
		time.Sleep(time.Minute)
		// One event is with the loop body, two are on their way through the SDK, and the rest is in the
		// window.
		require.Less(t, taken.Load(), int64(blocked*(window+3*event)))
		require.Greater(t, taken.Load(), int64(blocked*event/2), "every shard has an event in hand")
		before := taken.Load()
		time.Sleep(time.Minute)
		require.Less(t, taken.Load()-before, int64(64<<10), "and nothing more comes")

		_, err := w.srv.PutToShard("orders", shardID(blocked), "k", []byte("free"))
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Equal(t, []string{"free"}, free.now().data, "the shard beside them is read")

		open()
		for range blocked {
			<-done
		}
		for shard := range blocked {
			require.Equal(t, perSh, seen[shard], "nothing is lost")
		}
		free.wait()
	})
}
