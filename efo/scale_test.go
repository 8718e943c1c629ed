package efo_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/metrics"
)

// manyShards is a world whose readers share one derived client.
func manyShards(t *testing.T, shards, streams int) (w *world, config func() efo.Config, conns func() int) {
	network := newNetwork(t)
	w = newWorld(t, kinesistest.Config{
		Streams: []kinesistest.StreamConfig{
			{Name: "orders", Shards: shards},
		},
		MaxConcurrentStreams: streams,
		Network:              network,
	})
	link := network.Link("kinesis.test", "")
	link.SetLatency(20 * time.Millisecond)
	client := derived(t, buildable(t, network, nil), efo.TransportConfig{H2C: true, Logger: w.log})
	config = func() efo.Config {
		cfg := w.config()
		cfg.HTTPClient, cfg.Lineage, cfg.Logger = client, nil, slog.New(slog.DiscardHandler)
		return cfg
	}
	return w, config, link.Conns
}

// TestE06TwoThousandShards opens all subscriptions within 30 seconds if the service allows a
// hundred streams on a connection. Other calls do not wait meanwhile.
func TestE06TwoThousandShards(t *testing.T) {
	shards := testsize.Pick(300, 2000, 2000)
	synctest.Test(t, func(t *testing.T) {
		w, config, conns := manyShards(t, shards, 100)
		begin := time.Now()
		var watchers []*watcher
		for i := range shards {
			cfg := config()
			watchers = append(watchers, cfg.Observer.(*watcher))
			w.start(cfg, shardID(i), kcl.Position{})
		}
		for range 30 {
			before := time.Now()
			_, err := w.client.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{StreamARN: &w.stream})
			require.NoError(t, err)
			require.Less(t, time.Since(before), 100*time.Millisecond)
			time.Sleep(time.Second)
		}
		var last time.Duration
		for _, o := range watchers {
			require.Len(t, o.opens(), 1)
			last = max(last, o.opens()[0].Sub(begin))
		}
		require.Less(t, last, 30*time.Second)
		require.Equal(t, (shards+63)/64, conns(), "64 subscriptions on each")
		t.Logf("the last of %d subscriptions is open after %s", shards, last)
	})
}

// TestE03FiveHundredStreams: the service closes the connections of 500
// subscriptions, some of which are opening or being renewed; every one of them
// has another within two seconds of when the service allows it.
func TestE03FiveHundredStreams(t *testing.T) {
	shards := testsize.Pick(130, 500, 500)
	synctest.Test(t, func(t *testing.T) {
		w, config, conns := manyShards(t, shards, 100)
		noted := &renewals{ended: map[string][]time.Time{}}
		all := metrics.New(noted)
		var watchers []*watcher
		for i := range shards {
			cfg := config()
			cfg.Metrics = all.Shard("orders", shardID(i))
			watchers = append(watchers, cfg.Observer.(*watcher))
			w.start(cfg, shardID(i), kcl.Position{})
		}
		rng := rand.New(rand.NewPCG(3, 0))
		time.Sleep(10 * time.Second)
		for range testsize.Pick(4, 8, 8) {
			time.Sleep(10*time.Second + time.Duration(rng.Int64N(int64(20*time.Second))))
			w.srv.GoAway()
			if rng.IntN(2) == 0 {
				time.Sleep(50 * time.Millisecond)
				w.srv.CloseConnections()
			}
		}
		time.Sleep(10 * time.Second)
		require.Equal(t, shards, w.srv.Subscriptions())
		require.LessOrEqual(t, conns(), 2*(shards+63)/64, "those that went away and still carry streams, and new ones")
		noted.mu.Lock()
		defer noted.mu.Unlock()
		var longest time.Duration
		for i, o := range watchers {
			opens := o.opens()
			for n, at := range opens[1:] {
				from := noted.ended[shardID(i)][n]
				if free := opens[n].Add(5 * time.Second); from.Before(free) {
					from = free // before that the service refuses another
				}
				longest = max(longest, at.Sub(from))
			}
		}
		t.Logf("longest gap %s", longest)
		require.LessOrEqual(t, longest, 2*time.Second)
	})
}

// renewals is a metrics.Sink that notes when subscriptions end.
type renewals struct {
	mu    sync.Mutex // guards the field below
	ended map[string][]time.Time
}

func (r *renewals) Series(d *metrics.Desc, labels ...string) metrics.Series {
	if d != metrics.SubscriptionsEnded {
		return ignored{}
	}
	return ending{r, labels[1]}
}

func (*renewals) Remove(*metrics.Desc, ...string) {}

type ignored struct{}

func (ignored) Record(float64) {}

type ending struct {
	r     *renewals
	shard string
}

func (e ending) Record(float64) {
	e.r.mu.Lock()
	defer e.r.mu.Unlock()
	e.r.ended[e.shard] = append(e.r.ended[e.shard], time.Now())
}

// TestE07FourThousandShards: subscriptions were opened together. In any second at most three times
// the mean number of them are renewed, and a shard is without one for less than a second.
func TestE07FourThousandShards(t *testing.T) {
	shards := testsize.Pick(150, 500, 4000)
	if raceEnabled {
		shards = min(shards, 500)
	}
	synctest.Test(t, func(t *testing.T) {
		// A server that is quieter than the fake: one event in 30 seconds, for five minutes.
		beat := event("100")
		s := newScript(t, true, beat)
		s.network.Link("script.test", "").SetLatency(20 * time.Millisecond)
		s.send = func(_ int, w http.ResponseWriter, r *http.Request, _ int, _ []byte) {
			out := slices.Concat(initialResponse(), beat.bytes)
			for range 10 {
				_, _ = w.Write(out)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(30 * time.Second):
				case <-r.Context().Done():
					return
				}
				out = beat.bytes
			}
		}
		noted := &renewals{ended: map[string][]time.Time{}}
		all := metrics.New(noted)
		watchers := make([]*watcher, shards)
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		defer wg.Wait()
		defer cancel()
		for i := range shards {
			watchers[i] = &watcher{}
			cfg := s.config(watchers[i])
			cfg.HTTPClient = s.client.Options().HTTPClient
			cfg.Metrics = all.Shard("orders", shardID(i))
			wg.Go(func() { // ends with ctx
				for range efo.NewSubscriber(cfg).Batches(ctx, shardID(i), kcl.Position{}) {
				}
			})
		}
		time.Sleep(11 * time.Minute)
		var again []time.Time
		var gaps []time.Duration
		noted.mu.Lock()
		defer noted.mu.Unlock()
		for i, o := range watchers {
			opens := o.opens()
			require.GreaterOrEqual(t, len(opens), 3, "one early renewal, one after five minutes")
			require.Empty(t, o.retries())
			again = append(again, opens[1:]...)
			for n, at := range opens[1:] {
				gaps = append(gaps, at.Sub(noted.ended[shardID(i)][n]))
			}
		}
		slices.SortFunc(again, time.Time.Compare)
		most := 0
		for i, first := 0, 0; i < len(again); i++ {
			for again[i].Sub(again[first]) >= time.Second {
				first++
			}
			most = max(most, i-first+1)
		}
		slices.Sort(gaps)
		p99 := gaps[len(gaps)*99/100]
		t.Logf("%d renewals of %d shards, at most %d in any second; gap p99 %s, at most %s", len(again), shards, most, p99,
			gaps[len(gaps)-1])
		require.LessOrEqual(t, most, max(10, 3*shards/300))
		require.LessOrEqual(t, p99, time.Second)
	})
}

// TestE07SpreadAgainAfterAReset: all connections break at one moment, long after the first
// renewals. The subscriptions that replace them are opened together, and must not be renewed
// together for ever after.
func TestE07SpreadAgainAfterAReset(t *testing.T) {
	shards := testsize.Pick(40, 100, 150)
	synctest.Test(t, func(t *testing.T) {
		w, config, _ := manyShards(t, shards, 100)
		var watchers []*watcher
		for i := range shards {
			cfg := config()
			watchers = append(watchers, cfg.Observer.(*watcher))
			w.start(cfg, shardID(i), kcl.Position{})
		}
		time.Sleep(6 * time.Minute) // each has been renewed early
		w.srv.ResetConnections()
		time.Sleep(time.Minute)
		since := time.Now()
		time.Sleep(11 * time.Minute)
		perSecond, total, most := map[int64]int{}, 0, 0
		for _, o := range watchers {
			for _, at := range o.opens() {
				if at.After(since) {
					total++
					perSecond[at.Unix()]++
					most = max(most, perSecond[at.Unix()])
				}
			}
		}
		t.Logf("%d renewals, at most %d in a second", total, most)
		require.GreaterOrEqual(t, total, 2*shards)
		require.LessOrEqual(t, most, 10)
	})
}
