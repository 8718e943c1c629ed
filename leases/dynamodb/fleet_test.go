package dynamodb_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// fleet is several coordinators on one table, over the network.
type fleet struct {
	t   *testing.T
	srv *dynamotest.Server

	mu      sync.Mutex // guards the fields below
	readers map[string]string
	doubles []string
}

func newFleet(t *testing.T, srv *dynamotest.Server, shards int) *fleet {
	t.Helper()
	s := storeOn(t, srv)
	require.NoError(t, s.Init(t.Context()))
	for i := range shards {
		require.NoError(t, s.Create(t.Context(), lease(fmt.Sprintf("shardId-%012d", i))))
	}
	return &fleet{t: t, srv: srv, readers: map[string]string{}}
}

// start runs a worker on a host of its own until stop is called. Its consumers checkpoint once each
// interval. 0 means never.
func (f *fleet) start(id string, checkpoint time.Duration) (stop func()) {
	return f.run(id, func(ctx context.Context, h *holder.Holder) { f.consume(ctx, id, h, checkpoint) })
}

// run is start with other consumers.
func (f *fleet) run(id string, consume func(ctx context.Context, h *holder.Holder)) (stop func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	c := coordinator.New(coordinator.Config{
		Store: dynamodb.New(dynamodb.Config{
			Client: awstest.DynamoDBFrom(f.t, f.srv, id), Table: table, Logger: slog.New(slog.DiscardHandler),
		}),
		WorkerID: id, Logger: slog.New(slog.DiscardHandler),
		Consume: consume,
	})
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(ctx) }) // ends with stop
	return func() {
		cancel()
		wg.Wait()
	}
}

func (f *fleet) consume(ctx context.Context, id string, h *holder.Holder, every time.Duration) {
	key := h.Lease().Key
	f.mu.Lock()
	if other, taken := f.readers[key]; taken {
		f.doubles = append(f.doubles, fmt.Sprintf("%s by %s and %s", key, other, id))
	}
	f.readers[key] = id
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.readers[key] == id {
			delete(f.readers, key)
		}
	}()
	var tick <-chan time.Time
	if every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-h.Stopping():
			return
		case <-tick:
			_ = h.Checkpoint(ctx, kcl.ExtendedSequenceNumber{SequenceNumber: fmt.Sprint(n)})
		}
	}
}

func (f *fleet) read() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	load := map[string]int{}
	for _, id := range f.readers {
		load[id]++
	}
	return load
}

// TestFleetOverDynamoDB: two workers share the leases of a table. When one of them dies, the other
// takes all leases within the bound.
func TestFleetOverDynamoDB(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{Lag: 100 * time.Millisecond, PageRows: 5})
		defer srv.Close()
		f := newFleet(t, srv, 16)
		stopA, stopB := f.start("a", time.Second), f.start("b", time.Second)
		defer stopA()
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a": 8, "b": 8}, f.read())
		require.Empty(t, f.doubles)

		srv.Network().Host("b").Kill()
		time.Sleep(17500 * time.Millisecond)
		require.Equal(t, map[string]int{"a": 16}, f.read())
		require.Empty(t, f.doubles, "b stopped reading before a began")
		stopB()

		stopA()
		l, err := storeOn(t, srv, func(c *dynamodb.Config) { c.ConsistentList = true }).List(t.Context())
		require.NoError(t, err)
		for _, row := range l.Leases {
			require.Empty(t, row.Owner, "released at once")
		}
	})
}

// TestCostOfLeases measures the cost of a quiet and of a busy fleet, for each shard and second of
// virtual time. A quiet Java KCL writes 0.30 for each shard and second, and one more for each
// checkpoint. Here a checkpoint is a renewal.
func TestCostOfLeases(t *testing.T) {
	t.Parallel()
	const workers, minutes = 3, 3
	shards := testsize.Pick(6, 12, 12)
	for _, tt := range []struct {
		name       string
		checkpoint time.Duration
		writes     float64 // the most for each shard and second
	}{
		{"quiet", 0, 0.33},
		{"checkpoint every 10 s", 10 * time.Second, 0.42},
		{"checkpoint every second", time.Second, 1.05},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := dynamotest.Start(dynamotest.Config{})
				t.Cleanup(srv.Close)
				f := newFleet(t, srv, shards)
				for i := range workers {
					t.Cleanup(f.start(fmt.Sprintf("worker-%d", i), tt.checkpoint))
				}
				time.Sleep(time.Minute) // until the leases are shared out
				before := srv.AllCalls()
				time.Sleep(minutes * time.Minute)
				after := srv.AllCalls()
				per := func(operation string, of float64) float64 {
					return float64(after[operation]-before[operation]) / of / (minutes * 60)
				}
				writes, scans, gets := per("UpdateItem", float64(shards)), per("Scan", workers), per("GetItem", workers)
				t.Logf("%.3f writes a shard-second, %.3f scans and %.3f gets a worker-second", writes, scans, gets)
				require.LessOrEqual(t, writes, tt.writes)
				require.LessOrEqual(t, scans, 0.5)
				require.LessOrEqual(t, gets, 0.025, "nothing but the state of the migration to KCL 3.x, once a minute")
			})
		})
	}
}
