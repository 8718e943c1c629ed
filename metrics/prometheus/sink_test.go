package prometheus_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/metrics/prometheus"
)

func newSink(t *testing.T) (*prom.Registry, *metrics.Metrics) {
	t.Helper()
	reg := prom.NewPedanticRegistry()
	sink, err := prometheus.New(reg)
	require.NoError(t, err)
	return reg, metrics.New(sink)
}

// scrape returns the text that a Prometheus server would get.
func scrape(t *testing.T, g prom.Gatherer) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{}).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	body, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.Code, string(body))
	return string(body)
}

func TestEveryMetricIsExported(t *testing.T) {
	t.Parallel()
	reg := prom.NewPedanticRegistry()
	sink, err := prometheus.New(reg)
	require.NoError(t, err)
	for _, d := range metrics.All() {
		values := make([]string, len(d.Labels))
		for i := range values {
			values[i] = fmt.Sprintf("v%d", i)
		}
		sink.Series(d, values...).Record(3)
	}

	text := scrape(t, reg)
	types := map[metrics.Kind]string{
		metrics.KindCounter:   "counter",
		metrics.KindGauge:     "gauge",
		metrics.KindLag:       "gauge",
		metrics.KindHistogram: "histogram",
	}
	for _, d := range metrics.All() {
		require.Contains(t, text, "# HELP "+d.Name+" "+d.Help+"\n")
		require.Contains(t, text, "# TYPE "+d.Name+" "+types[d.Kind]+"\n")
		series, want := d.Name, " 3\n"
		if d.Kind == metrics.KindHistogram {
			series, want = series+"_count", " 1\n"
		}
		for i, l := range d.Labels {
			require.Regexp(t, series+`\{.*\b`+l+`="`+fmt.Sprintf("v%d", i)+`"`, text)
		}
		require.Regexp(t, `(?m)^`+series+`(\{.*\})?`+want, text)
	}
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestValues(t *testing.T) {
	t.Parallel()
	reg, m := newSink(t)
	s := m.Shard("orders", "shardId-000000000001")
	s.Batch(3, 300, 1500*time.Millisecond, true)
	s.Batch(2, 200, 250*time.Millisecond, true)
	s.Batch(0, 0, 0, true)
	s.Retried("GetRecords", "ProvisionedThroughputExceededException")
	s.Retried("GetRecords", "ProvisionedThroughputExceededException")
	s.ProcessorFailed("process_records", "panic")
	s.Processed(30 * time.Millisecond)
	s.SetFanOut(true)
	s.SetStalled(true)
	s.SetStalled(false)
	s.Checkpointed("lost", time.Millisecond)
	m.SetLeasesHeld(7)
	m.SetLeasesHeld(6)
	m.LeaseTaken("expired")

	text := scrape(t, reg)
	for _, line := range []string{
		`kcl_records_total{shard="shardId-000000000001",stream="orders"} 5`,
		`kcl_bytes_total{shard="shardId-000000000001",stream="orders"} 500`,
		`kcl_batches_total{shard="shardId-000000000001",stream="orders"} 3`,
		`kcl_behind_latest_seconds{shard="shardId-000000000001",stream="orders"} 0`,
		`kcl_read_retries_total{code="ProvisionedThroughputExceededException",operation="GetRecords",` +
			`shard="shardId-000000000001",stream="orders"} 2`,
		`kcl_processor_errors_total{cause="panic",method="process_records",shard="shardId-000000000001",stream="orders"} 1`,
		`kcl_process_records_seconds_bucket{shard="shardId-000000000001",stream="orders",le="0.025"} 0`,
		`kcl_process_records_seconds_bucket{shard="shardId-000000000001",stream="orders",le="0.05"} 1`,
		`kcl_process_records_seconds_sum{shard="shardId-000000000001",stream="orders"} 0.03`,
		`kcl_retrieval_mode{shard="shardId-000000000001",stream="orders"} 1`,
		`kcl_shard_stalled{shard="shardId-000000000001",stream="orders"} 0`,
		`kcl_checkpoints_total{result="lost",shard="shardId-000000000001",stream="orders"} 1`,
		`kcl_leases_held 6`,
		`kcl_leases_taken_total{reason="expired"} 1`,
	} {
		require.Contains(t, text, line+"\n")
	}
}

// TestO02StalledReaderLagGrows: a lag that changes only when an answer arrives would look healthy
// for ever after the last answer.
func TestO02StalledReaderLagGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg, m := newSink(t)
		s := m.Shard("orders", "shardId-000000000001")
		lag := func(seconds string) {
			t.Helper()
			require.Contains(t, scrape(t, reg),
				`kcl_behind_latest_seconds{shard="shardId-000000000001",stream="orders"} `+seconds+"\n")
		}
		s.Batch(0, 0, 0, true)
		time.Sleep(5 * time.Second) // an idle subscription sends an event every five seconds
		lag("0")
		time.Sleep(10 * time.Second)
		lag("15")
		time.Sleep(time.Hour)
		lag("3615")
		s.Batch(1, 1, 2*time.Second, true)
		lag("2")
	})
}

// TestO03ShardsThatAreGivenUpDisappear: otherwise two processes would export one shard, and the one
// that lost it would show its last lag until a restart.
func TestO03ShardsThatAreGivenUpDisappear(t *testing.T) {
	t.Parallel()
	reg, m := newSink(t)
	use := func(s *metrics.Shard) {
		s.Batch(1, 10, time.Second, true)
		s.ProcessorFailed("process_records", "error")
		s.SubscriptionOpened()
		s.SubscriptionEnded("expired")
		s.Retried("GetRecords", "timeout")
		s.Checkpointed("ok", time.Millisecond)
	}
	lost, kept, other := m.Shard("orders", "shardId-1"), m.Shard("orders", "shardId-10"), m.Shard("clicks", "shardId-1")
	use(lost)
	use(kept)
	use(other)
	before := strings.Count(scrape(t, reg), `shard="shardId-10"`)

	lost.Close()
	use(lost) // a processor that was abandoned may come back late
	text := scrape(t, reg)
	require.NotContains(t, text, `shard="shardId-1",stream="orders"`)
	require.Equal(t, before, strings.Count(text, `shard="shardId-10"`))
	require.Equal(t, before, strings.Count(text, `stream="clicks"`))

	again := m.Shard("orders", "shardId-1")
	use(again)
	require.Contains(t, scrape(t, reg), `kcl_records_total{shard="shardId-1",stream="orders"} 1`+"\n",
		"a shard that comes back starts at zero")
}

func TestRegisteringTwice(t *testing.T) {
	t.Parallel()
	reg, _ := newSink(t)
	_, err := prometheus.New(reg)
	require.ErrorContains(t, err, "already registered")
	require.ErrorContains(t, err, "WrapRegistererWith")

	_, err = prometheus.New(nil)
	require.ErrorContains(t, err, "registerer is nil")
}

func TestFailureLeavesRegistryAsItWas(t *testing.T) {
	t.Parallel()
	reg := prom.NewPedanticRegistry()
	mine := prom.NewGauge(prom.GaugeOpts{Name: metrics.LeasesHeld.Name, Help: metrics.LeasesHeld.Help})
	reg.MustRegister(mine)
	_, err := prometheus.New(reg)
	require.ErrorContains(t, err, "kcl_leases_held")

	require.True(t, reg.Unregister(mine))
	_, err = prometheus.New(reg)
	require.NoError(t, err)
}

func TestSeveralSchedulersInOneRegistry(t *testing.T) {
	t.Parallel()
	reg := prom.NewPedanticRegistry()
	for i, worker := range []string{"a", "b"} {
		sink, err := prometheus.New(prom.WrapRegistererWith(prom.Labels{"worker": worker}, reg))
		require.NoError(t, err)
		metrics.New(sink).SetLeasesHeld(i + 1)
	}
	text := scrape(t, reg)
	require.Contains(t, text, `kcl_leases_held{worker="a"} 1`+"\n")
	require.Contains(t, text, `kcl_leases_held{worker="b"} 2`+"\n")
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	reg, m := newSink(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				s := m.Shard("orders", fmt.Sprintf("shardId-%d", i%4))
				s.Batch(1, 1, time.Second, true)
				s.Retried("GetRecords", "timeout")
				if i >= 4 {
					s.Close()
				}
			}
		})
	}
	for range 20 {
		scrape(t, reg)
	}
	wg.Wait()
}

func BenchmarkBatch(b *testing.B) {
	sink, err := prometheus.New(prom.NewRegistry())
	require.NoError(b, err)
	s := metrics.New(sink).Shard("orders", "shardId-000000000001")
	b.ReportAllocs()
	for b.Loop() {
		s.Batch(100, 100_000, time.Second, true)
	}
}

// closing calls close while a series of d is made, as another goroutine may do.
type closing struct {
	metrics.Sink
	d     *metrics.Desc
	close func()
}

func (c *closing) Series(d *metrics.Desc, labels ...string) metrics.Series {
	if d == c.d {
		c.close()
	}
	return c.Sink.Series(d, labels...)
}

// Series are removed while one of them is counted. None of them stays.
func TestStragglerBringsNoSeriesBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		d     *metrics.Desc
		count func(m *metrics.Metrics, c *closing)
	}{
		"shard": {metrics.Checkpoints, func(m *metrics.Metrics, c *closing) {
			s := m.Shard("orders", "shardId-1")
			c.close = s.Close
			s.Checkpointed("ok", time.Millisecond)
		}},
		"stream": {metrics.ShardSyncErrors, func(m *metrics.Metrics, c *closing) {
			s := m.Stream("orders")
			c.close = s.Close
			s.ShardSyncError()
			s.SetHashRangeHoles(1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := prom.NewPedanticRegistry()
			sink, err := prometheus.New(reg)
			require.NoError(t, err)
			c := &closing{Sink: sink, d: test.d}
			test.count(metrics.New(c), c)
			require.NotContains(t, scrape(t, reg), `stream="orders"`)
		})
	}
}
