package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serveMetrics serves the metrics of all workers that are alive, until ctx ends. In a real fleet
// every process serves its own.
func serveMetrics(ctx context.Context, listener net.Listener, workers []*worker) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		var alive prom.Gatherers
		for _, worker := range workers {
			if worker.state() != "killed" {
				alive = append(alive, worker.registry)
			}
		}
		promhttp.HandlerFor(alive, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { // ends with ctx
		<-ctx.Done()
		_ = server.Close()
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		slog.Error("metrics are not served any more", slog.Any("err", err))
	}
}
