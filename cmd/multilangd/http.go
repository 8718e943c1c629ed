package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kinesis-go/kcl/multilang"
	"github.com/kinesis-go/kcl/scheduler"
)

// phaseRunning is the phase of a worker whose start has finished, in scheduler.Status.
const phaseRunning = "running"

// listen opens the port. serve answers requests until its context ends.
func (d *daemon) listen(ctx context.Context, address string) (serve func(context.Context), err error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("-listen %s: %w", address, err)
	}
	d.log.InfoContext(ctx, "serving metrics and health", "address", listener.Addr().String())
	server := &http.Server{
		Handler: d.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
	}
	return func(ctx context.Context) {
		defer context.AfterFunc(ctx, func() { _ = server.Close() })()
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			d.log.ErrorContext(ctx, "metrics and health are not served any more", "err", err)
		}
	}, nil
}

// handler answers the paths of the HTTP server.
func (d *daemon) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.health()) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) { answer(w, d.ready()) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(struct {
			scheduler.Status
			Children multilang.Stats
		}{d.worker.Status(), d.command.Stats()})
	})
	return mux
}

// health returns what is wrong with a running worker. A worker that starts or stops is healthy.
func (d *daemon) health() error {
	if d.worker.Status().Phase != phaseRunning {
		return nil
	}
	return d.worker.Healthy()
}

// ready returns an error until the start has finished, and from the beginning of a stop.
func (d *daemon) ready() error {
	if s := d.worker.Status(); s.Phase != phaseRunning {
		return fmt.Errorf("%s: %s", s.Phase, s.Detail)
	}
	return nil
}

// answer sends 200 for nil, and 503 with the text of an error.
func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err == nil {
		_, _ = fmt.Fprintln(w, "ok")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = fmt.Fprintln(w, err)
}

// childMetrics exports the numbers about children.
type childMetrics struct{ command *multilang.Command }

var (
	childrenDesc = prom.NewDesc("kcl_multilang_children", "Child processes that run now.", nil, nil)
	startsDesc   = prom.NewDesc("kcl_multilang_child_starts_total", "Child processes that have been started.", nil, nil)
	failuresDesc = prom.NewDesc("kcl_multilang_child_failures_total", "Failures of children.", []string{"reason"}, nil)
	noiseDesc    = prom.NewDesc("kcl_multilang_noise_lines_total",
		"Lines on the standard output of children that were no messages.", nil, nil)
	keysDesc = prom.NewDesc("kcl_multilang_replaced_keys_total", "Partition keys that were no UTF-8.", nil, nil)
)

// Describe implements [prom.Collector].
func (c childMetrics) Describe(out chan<- *prom.Desc) { prom.DescribeByCollect(c, out) }

// Collect implements [prom.Collector].
func (c childMetrics) Collect(out chan<- prom.Metric) {
	s := c.command.Stats()
	counter := func(desc *prom.Desc, n int64, labels ...string) {
		out <- prom.MustNewConstMetric(desc, prom.CounterValue, float64(n), labels...)
	}
	out <- prom.MustNewConstMetric(childrenDesc, prom.GaugeValue, float64(s.Children))
	counter(startsDesc, s.Starts)
	counter(failuresDesc, s.NotStarted, "not_started")
	counter(failuresDesc, s.EndedEarly, "ended_early")
	counter(failuresDesc, s.WrongAnswers, "wrong_answer")
	counter(failuresDesc, s.TooLate, "too_late")
	counter(failuresDesc, s.UnfinishedShards, "unfinished_shard")
	counter(noiseDesc, s.NoiseLines)
	counter(keysDesc, s.ReplacedKeys)
}
