// Command worker is the consumer of integration/chaos. It notes each record in a file before it
// checkpoints, and it can be killed at any time.
//
//	worker -stream NAME -application NAME -worker ID -journal FILE [-mode efo|polling] [-h2c]
//		[-failover 5s] [-checkpoints 0s] [-metrics ADDRESS]
//
// The file must not exist. Package journal has its format. With -checkpoints the library makes the
// checkpoints, otherwise the processor does. Region, credentials and endpoints come from the usual
// environment. The log goes to standard error. SIGTERM stops the worker, with status 0. Status 2
// means a mistake in the command line, and 1 any other error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/kinesis-go/kcl/integration/chaos/journal"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/metrics/prometheus"
	"github.com/kinesis-go/kcl/scheduler"
)

// Times of a worker under chaos. It must stop quickly, and notice new shards soon.
const (
	shutdownTimeout   = 10 * time.Second
	shardSyncInterval = 10 * time.Second
)

// options holds the values of the command line.
type options struct {
	stream, application, worker, journal, mode, metrics string
	h2c                                                 bool
	failover, checkpoints                               time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.stream, "stream", "", "`name` of the stream")
	flag.StringVar(&o.application, "application", "", "`name` of the application and its lease table")
	flag.StringVar(&o.worker, "worker", "", "`id` of this worker")
	flag.StringVar(&o.journal, "journal", "", "`file` for what is processed; it must not exist")
	flag.StringVar(&o.mode, "mode", "efo", "efo or polling")
	flag.BoolVar(&o.h2c, "h2c", false, "read with HTTP/2")
	flag.DurationVar(&o.failover, "failover", 5*time.Second, "`time` until other workers take a lease")
	flag.DurationVar(&o.checkpoints, "checkpoints", 0, "`time` between the library's checkpoints; 0: none")
	flag.StringVar(&o.metrics, "metrics", "", "`address` to serve metrics at")
	flag.Parse()
	if o.stream == "" || o.application == "" || o.journal == "" || o.mode != "efo" && o.mode != "polling" {
		fmt.Fprintln(os.Stderr, "worker: -stream, -application and -journal are required; -mode is efo or polling")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := o.run(ctx)
	stop()
	if err != nil {
		slog.Error("stopped by an error", slog.Any("err", err))
		os.Exit(1)
	}
}

// run reads the stream until ctx ends.
func (o options) run(ctx context.Context) (err error) {
	file, err := journal.Create(o.journal)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	aws, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	registry := prom.NewRegistry()
	sink, err := prometheus.New(registry)
	if err != nil {
		return err
	}
	if o.metrics != "" {
		registry.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
			collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile("^/gc/heap/live:bytes$")},
		)))
		server := &http.Server{
			Addr: o.metrics, Handler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
			ReadHeaderTimeout: 5 * time.Second,
		}
		served := make(chan error, 1)
		go func() { served <- server.ListenAndServe() }() // ends with Close below
		defer func() {
			_ = server.Close() // its only error would be that of the listener
			if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
				err = errors.Join(err, serveErr)
			}
		}()
	}
	mode := scheduler.EFO
	if o.mode == "polling" {
		mode = scheduler.Polling
	}
	factory := processors{file: file, checkpoints: o.checkpoints == 0}
	return scheduler.New(scheduler.Config{
		Application:        o.application,
		WorkerID:           o.worker,
		Streams:            []scheduler.StreamConfig{{Name: o.stream}},
		Kinesis:            kinesis.NewFromConfig(aws),
		Leases:             dynamodb.New(dynamodb.Config{Client: ddb.NewFromConfig(aws), Table: o.application}),
		RetrievalMode:      mode,
		H2C:                o.h2c,
		FailoverTime:       o.failover,
		ShutdownTimeout:    shutdownTimeout,
		ShardSyncInterval:  shardSyncInterval,
		CheckpointInterval: o.checkpoints,
		Logger:             slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Metrics:            metrics.New(sink),
	}, factory.processor).Run(ctx)
}
