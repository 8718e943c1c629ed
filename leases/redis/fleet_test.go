package redis_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	sdk "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases/redis"
)

// fleet is several coordinators on one table.
type fleet struct {
	t   *testing.T
	srv *miniredis.Miniredis

	mu      sync.Mutex // guards the fields below
	readers map[string]string
	active  map[string]int // readers of a key
	doubles []string
}

func newFleet(t *testing.T, srv *miniredis.Miniredis, s *redis.Store, shards int) *fleet {
	t.Helper()
	require.NoError(t, s.Init(t.Context()))
	for i := range shards {
		require.NoError(t, s.Create(t.Context(), lease(fmt.Sprintf("shardId-%012d", i))))
	}
	return &fleet{t: t, srv: srv, readers: map[string]string{}, active: map[string]int{}}
}

// worker is a coordinator with a client of its own.
type worker struct {
	client *sdk.Client
	stop   func()

	mu    sync.Mutex // guards the fields below
	dead  bool
	conns []net.Conn
}

// kill cuts the worker off from Redis for ever.
func (w *worker) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	for _, c := range w.conns {
		_ = c.Close()
	}
}

func (w *worker) dial(srv *miniredis.Miniredis) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return nil, errInjected
	}
	c, err := srv.Dial()
	if err == nil {
		w.conns = append(w.conns, c)
	}
	return c, err
}

// start runs a worker that checkpoints every second.
func (f *fleet) start(id string) *worker {
	ctx, cancel := context.WithCancel(f.t.Context())
	w := &worker{}
	w.client = sdk.NewClient(&sdk.Options{
		Addr:   noLookup,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return w.dial(f.srv) },
	})
	c := coordinator.New(coordinator.Config{
		Store:    redis.New(redis.Config{Client: w.client, Application: application, Logger: slog.New(slog.DiscardHandler)}),
		WorkerID: id, Logger: slog.New(slog.DiscardHandler),
		Consume: func(ctx context.Context, h *holder.Holder) { f.consume(ctx, id, h) },
	})
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(ctx) }) // ends with stop
	w.stop = func() {
		cancel()
		wg.Wait()
		_ = w.client.Close()
	}
	return w
}

func (f *fleet) consume(ctx context.Context, id string, h *holder.Holder) {
	key := h.Lease().Key
	f.mu.Lock()
	if other, taken := f.readers[key]; taken {
		f.doubles = append(f.doubles, fmt.Sprintf("%s by %s and %s", key, other, id))
	}
	f.readers[key] = id
	f.active[key]++
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.active[key]--
		if f.readers[key] == id {
			delete(f.readers, key)
		}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-h.Stopping():
			return
		case <-tick.C:
			_ = h.Checkpoint(ctx, kcl.ExtendedSequenceNumber{SequenceNumber: fmt.Sprint(n)})
		}
	}
}

func (f *fleet) load() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	load := map[string]int{}
	for _, id := range f.readers {
		load[id]++
	}
	return load
}

// TestFleetOverRedis: two workers share the leases of a table. When one of them dies, the other
// takes all leases within the bound. A worker that stops releases its leases at once.
func TestFleetOverRedis(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, s := serve(t)
		f := newFleet(t, srv, s, 16)
		a, b := f.start("a"), f.start("b")
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a": 8, "b": 8}, f.load())
		require.Empty(t, f.doubles)

		b.kill()
		time.Sleep(17500 * time.Millisecond)
		require.Equal(t, map[string]int{"a": 16}, f.load())
		require.Empty(t, f.doubles, "b stopped reading before a began")
		b.stop()
		time.Sleep(2 * time.Second) // its client's last attempt to connect

		a.stop()
		l, err := s.List(t.Context())
		require.NoError(t, err)
		for _, row := range l.Leases {
			require.Empty(t, row.Owner, "released at once")
		}
	})
}

// TestS11LostWrites: the table goes back by some seconds, as after a failover to a replica that
// lagged. After FailoverTime no lease has two readers. In the end the readers are those that the
// table names.
func TestS11LostWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, s := serve(t)
		const shards = 8
		f := newFleet(t, srv, s, shards)
		a := f.start("a")
		time.Sleep(10 * time.Second)
		before, err := s.List(t.Context()) // a holds all: what the replica has seen
		require.NoError(t, err)
		b := f.start("b")
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a": 4, "b": 4}, f.load())
		require.Empty(t, f.doubles)

		for _, row := range before.Leases {
			srv.HSet(rowKey+row.Key, "leaseOwner", row.Owner, "leaseCounter", fmt.Sprint(row.Counter), "checkpoint",
				row.Checkpoint.SequenceNumber, "lastWrite", "lost")
		}
		time.Sleep(10 * time.Second)
		f.mu.Lock()
		for key, readers := range f.active {
			require.LessOrEqual(t, readers, 1, key)
		}
		f.mu.Unlock()
		time.Sleep(50 * time.Second)
		require.Equal(t, map[string]int{"a": 4, "b": 4}, f.load())
		l, err := s.List(t.Context())
		require.NoError(t, err)
		require.Empty(t, l.Bad)
		require.Len(t, l.Leases, shards)
		f.mu.Lock()
		for _, row := range l.Leases {
			require.Equal(t, f.readers[row.Key], row.Owner, "what is read and what the table says")
			require.False(t, row.Checkpoint.IsSentinel())
		}
		f.mu.Unlock()
		a.stop()
		b.stop()
	})
}
