package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/memnet"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/memory"
)

// buffer takes the output of the table. It is safe for concurrent use.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestPlay runs the whole demonstration in virtual time, with its metrics on an in-memory network.
func TestPlay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New()
		listener, err := network.Listen("metrics.test:80")
		require.NoError(t, err)
		client := network.HTTPClient(false)
		defer client.CloseIdleConnections()
		scrape := func() string {
			resp, err := client.Get("http://metrics.test:80/metrics")
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode, string(body))
			return string(body)
		}

		var out buffer
		var report Report
		var wg sync.WaitGroup
		wg.Go(func() {
			var err error
			report, err = play(t.Context(), newTable(&out, false), listener,
				slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
			require.NoError(t, err)
		})
		time.Sleep(28 * time.Second)
		text := scrape()
		for _, w := range []string{"worker-1", "worker-2", "worker-3"} {
			require.Contains(t, text, `kcl_records_total{shard="shardId-0000000000`, w)
			require.Contains(t, text, `kcl_leases_held{worker="`+w+`"}`)
		}
		time.Sleep(5 * time.Second)
		require.NotContains(t, scrape(), `worker="worker-2"`, "a dead process serves no metrics")
		wg.Wait()

		require.True(t, report.OK(), report)
		require.InDelta(t, keys*int(produceFor/produceEvery), report.Produced, keys)
		require.Equal(t, report.Produced, report.Processed)
		require.Equal(t, report.AfterKill, report.Duplicates, "without a crash nothing is processed twice")
		require.Greater(t, report.HandOver, failover*9/10, "the leases of the dead worker must expire first")
		require.Less(t, report.HandOver, 2*failover)

		require.NotContains(t, out.String(), "\x1b")
		for _, s := range script {
			require.Contains(t, out.String(), s.what)
		}
		require.Contains(t, out.String(), "worker-1 running, worker-2 killed, worker-3 stopped")
		require.Regexp(t, `shardId-000000000006  worker-1  PROCESSING +\d+ +\d+s +held, counter \d+\n`, out.String())
		require.True(t, strings.HasSuffix(out.String(), "every record was processed, in order\n"))
	})
}

// TestLagColumn: the table shows an unknown lag before the first batch, then 0s, and a lag that
// grows while no batch arrives.
func TestLagColumn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := kinesistest.New(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: stream, Shards: 1}}})
		s := &stage{srv: srv, leases: memory.New(), audit: NewAudit()}
		w, err := newWorker("worker-1", srv, s.leases, s.audit, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		s.workers = []*worker{w}
		silence := kinesistest.Fault{Client: "worker-1", Do: []kinesistest.Action{kinesistest.Silence()}, When: reads}
		shows := func(state, lag string) {
			t.Helper()
			require.Regexp(t, `SHARD +WORKER +STATE +RECORDS +LAG +LEASE\n`+
				` +shardId-000000000000  worker-1  `+state+` +0 +`+lag+` +held, counter \d+\n$`, shards(s))
		}

		speak := srv.Inject(silence)
		w.start(t.Context())
		time.Sleep(5 * time.Second)
		shows("PROCESSING", `\?`)
		speak()
		time.Sleep(time.Minute)
		shows("PROCESSING", "0s")
		srv.Inject(silence)
		srv.ResetConnections()
		time.Sleep(2 * time.Hour)
		shows("PROCESSING", `(1h59m|2h0m)\d+(\.\d+)?s`)
		require.NoError(t, w.stop())
	})
}

// reads tells whether a call reads records.
func reads(c *kinesistest.Call) bool {
	return c.Operation == "SubscribeToShard" || c.Operation == "GetRecords"
}

func TestAuditFinds(t *testing.T) {
	t.Parallel()
	k := func(n int) payload { return payload{Key: "k", N: n} }
	for name, test := range map[string]struct {
		do   func(*Audit)
		want Report
	}{
		"nothing wrong": {
			func(a *Audit) {
				w := a.Begin("w1", "s1")
				a.Processed(w, k(1))
				a.Processed(w, k(2))
				a.Processed(w, k(3))
			}, Report{Processed: 3},
		},
		"lost": {
			func(a *Audit) {
				w := a.Begin("w1", "s1")
				a.Processed(w, k(1))
				a.Processed(w, k(2))
			}, Report{Processed: 2, Lost: 1},
		},
		"skipped": {
			func(a *Audit) {
				w := a.Begin("w1", "s1")
				a.Processed(w, k(1))
				a.Processed(w, k(3))
			}, Report{Processed: 2, Lost: 1, Violations: 1},
		},
		"swapped": {
			func(a *Audit) {
				w := a.Begin("w1", "s1")
				a.Processed(w, k(1))
				a.Processed(w, k(3))
				a.Processed(w, k(2))
			}, Report{Processed: 3, Violations: 2},
		},
		"child before its parent": {
			func(a *Audit) {
				a.Processed(a.Begin("w1", "s2"), k(3))
				parent := a.Begin("w1", "s1")
				a.Processed(parent, k(1))
				a.Processed(parent, k(2))
			}, Report{Processed: 3, Violations: 1},
		},
		"again after a kill": {
			func(a *Audit) {
				dead := a.Begin("w1", "s1")
				a.Processed(dead, k(1))
				a.Processed(dead, k(2))
				a.Fence("w1")
				a.Processed(dead, k(3)) // ignored
				w := a.Begin("w2", "s1")
				a.Processed(w, k(1))
				a.Processed(w, k(2))
				a.Processed(w, k(3))
			}, Report{Processed: 3, Duplicates: 2, AfterKill: 2},
		},
		"again without a reason": {
			func(a *Audit) {
				w := a.Begin("w1", "s1")
				for n := range 3 {
					a.Processed(w, k(n+1))
				}
				a.End(w)
				a.Processed(a.Begin("w2", "s1"), k(3))
			}, Report{Processed: 3, Duplicates: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := NewAudit()
			for n := range 3 {
				a.Produced(k(n + 1))
			}
			test.do(a)
			got := a.Report()
			test.want.Produced, got.HandOver = 3, 0
			require.Equal(t, test.want, got)
			require.Equal(t, got.Lost == 0 && got.Violations == 0, got.OK())
			require.Equal(t, got.Lost == 0, a.Complete())
		})
	}
}

func TestAuditMeasuresHandOvers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := NewAudit()
		first := a.Begin("w1", "s1")
		time.Sleep(time.Minute)
		a.End(first)
		time.Sleep(3 * time.Second)
		a.Begin("w2", "s1")
		time.Sleep(time.Minute)
		a.Fence("w2")
		time.Sleep(7 * time.Second)
		a.Begin("w3", "s1")
		a.Begin("w3", "s2")
		require.Equal(t, 7*time.Second, a.Report().HandOver)
	})
}
