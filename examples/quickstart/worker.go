package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/metrics/prometheus"
	"github.com/kinesis-go/kcl/scheduler"
)

const (
	stream      = "orders"
	application = "quickstart"
	// failover is shorter than the default of ten seconds, so that the demonstration is short.
	failover = 5 * time.Second
)

// worker is one worker of the fleet. A real worker is a process of its own.
type worker struct {
	name      string
	scheduler *scheduler.Scheduler
	registry  *prom.Registry       // the metrics of this worker
	faults    *leasefault.Injector // the faults that this worker sees in the lease table
	cancel    context.CancelFunc
	done      chan struct{} // closed when Run has returned
	err       error         // the error of Run, once done is closed
	gone      atomic.Value  // "killed" or "stopped", once the worker is that
}

// newWorker assembles a worker. A program of your own has no more to do than this.
func newWorker(
	name string, srv *kinesistest.Server, table *memory.Store, audit *Audit, log *slog.Logger,
) (*worker, error) {
	w := &worker{name: name, registry: prom.NewRegistry(), faults: leasefault.New(table), done: make(chan struct{})}
	sink, err := prometheus.New(prom.WrapRegistererWith(prom.Labels{"worker": name}, w.registry))
	if err != nil {
		return nil, err
	}
	w.scheduler = scheduler.New(scheduler.Config{
		Application:     application,
		WorkerID:        name,
		Streams:         []scheduler.StreamConfig{{Name: stream}},
		Kinesis:         newClient(srv, name),
		Leases:          w.faults.Store(),
		FailoverTime:    failover,
		ShutdownTimeout: failover,
		Logger:          log,
		Metrics:         metrics.New(sink),
	}, func(_ kcl.StreamIdentifier, shard kcl.Shard) kcl.Processor {
		return &processor{worker: w, shard: shard.ID, audit: audit}
	})
	return w, nil
}

// newClient returns a client for the fake, on a host of that name. For AWS use
// kinesis.NewFromConfig(cfg).
func newClient(srv *kinesistest.Server, host string) *kinesis.Client {
	return kinesis.New(kinesis.Options{
		Region:       kinesistest.DefaultRegion,
		BaseEndpoint: aws.String(srv.URL()),
		HTTPClient:   srv.HTTPClientFrom(host),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
	})
}

// start runs the worker until it is stopped.
func (w *worker) start(ctx context.Context) {
	ctx, w.cancel = context.WithCancel(ctx)
	go func() { // ends when Run returns; stop waits for done
		defer close(w.done)
		w.err = w.scheduler.Run(ctx)
	}()
}

// stop stops the worker gracefully: the worker finishes its batches and releases its leases, so
// that others go on at once.
func (w *worker) stop() error {
	w.cancel()
	<-w.done
	w.gone.CompareAndSwap(nil, "stopped")
	if w.err != nil {
		return fmt.Errorf("%s: %w", w.name, w.err)
	}
	return nil
}

// kill acts on the worker like kill -9 on a process, as far as a process can do that to a part of
// itself. The worker's actions have no effect any more, and no answer reaches the worker. Other
// workers are not told.
func (w *worker) kill(srv *kinesistest.Server, audit *Audit) {
	// The audit comes last: a record that the audit ignores must not be checkpointed.
	w.faults.SetFault(leasefault.Silent)
	srv.Kill(w.name)
	audit.Fence(w.name)
	w.gone.Store("killed")
}

// state returns running, killed or stopped.
func (w *worker) state() string {
	if s, ok := w.gone.Load().(string); ok {
		return s
	}
	return w.scheduler.Status().Phase
}
