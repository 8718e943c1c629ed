package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/multilangd/internal/settings"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/metrics/prometheus"
	"github.com/kinesis-go/kcl/multilang"
	"github.com/kinesis-go/kcl/scheduler"
)

// overrun is how long the daemon waits for a stop that takes longer than its grace.
const overrun = 3 * time.Second

// daemon is one worker with its children.
type daemon struct {
	cfg      settings.Config
	clients  clients
	command  *multilang.Command
	config   scheduler.Config     // of the worker
	worker   *scheduler.Scheduler // made by run
	registry *prom.Registry
	log      *slog.Logger

	failures chan error // takes the first failure of a child, with childFailure = exit
}

// childError is the failure of a child that ends the daemon.
type childError struct{ error }

// newDaemon connects the parts. It sends no request and starts no process.
func newDaemon(ctx context.Context, cfg settings.Config, log *slog.Logger) (*daemon, error) {
	d := &daemon{cfg: cfg, log: log, registry: prom.NewRegistry(), failures: make(chan error, 1)}
	var err, notFound error
	d.clients, err = newClients(ctx, cfg, log)
	d.command, notFound = multilang.NewCommand(multilang.CommandConfig{
		Args: cfg.Executable, Timeout: cfg.Timeout, Logger: log, OnFailure: d.childFailed,
	})
	if notFound != nil {
		return nil, errors.Join(fmt.Errorf("executableName: %w", notFound), err)
	}
	d.config = d.workerConfig()
	if err == nil {
		err = d.config.Validate()
	}
	if err == nil {
		d.config.Metrics, err = newMetrics(d.registry, d.command)
	}
	if err != nil {
		d.command.Close()
		return nil, err
	}
	return d, nil
}

// newMetrics exports the metrics of the worker and of its children.
func newMetrics(registry *prom.Registry, command *multilang.Command) (*metrics.Metrics, error) {
	sink, err := prometheus.New(registry)
	if err != nil {
		return nil, err
	}
	return metrics.New(sink), registry.Register(childMetrics{command})
}

// workerConfig is the configuration of the worker with its clients.
func (d *daemon) workerConfig() scheduler.Config {
	cfg := d.cfg.Scheduler
	cfg.Kinesis = d.clients.kinesis
	table := d.cfg.Table
	table.Client = d.clients.dynamoDB
	cfg.Leases = dynamodb.New(table)
	cfg.Logger = d.log
	return cfg
}

// childFailed is called for each failure of a child. It never blocks.
func (d *daemon) childFailed(stream kcl.StreamIdentifier, shard kcl.Shard, err error) {
	if !d.cfg.ExitOnChildFailure {
		return
	}
	select {
	case d.failures <- childError{fmt.Errorf("child of stream %s shard %s: %w", stream.Name, shard.ID, err)}:
	default: // another child was the first
	}
}

// run works until ctx ends or something fails. listen is the address of the HTTP server, or "".
func (d *daemon) run(ctx context.Context, listen string) error {
	kill := sync.OnceFunc(d.command.Close)
	defer kill()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	d.config.PollingMemory = d.size(ctx)
	d.worker = scheduler.New(d.config, d.command.NewProcessor)
	beside, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	if listen != "" {
		serve, err := d.listen(ctx, listen)
		if err != nil {
			return err
		}
		wg.Go(func() { serve(beside) }) // ends with beside, so that a stop can be watched
	}
	wg.Go(func() { // ends with beside
		select {
		case err := <-d.failures:
			fail(err)
		case <-beside.Done():
		}
	})
	if d.cfg.ShutdownGrace == 0 {
		// Children that are dead leave nothing to wait for. Run then gives the leases back.
		defer context.AfterFunc(ctx, kill)()
	}
	err := d.work(ctx)
	if failed, ok := errors.AsType[childError](context.Cause(ctx)); ok {
		return errors.Join(fmt.Errorf("childFailure = exit: %w", failed.error), err)
	}
	return err
}

// work runs the worker. It waits no longer than the grace and a little more for its end.
func (d *daemon) work(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- d.worker.Run(ctx) }() // ends with ctx; a worker that overruns ends with the process
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(d.cfg.ShutdownGrace + overrun)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
	}
	return fmt.Errorf("the stop took longer than shutdownGraceMillis = %d: leases that are left expire",
		d.cfg.ShutdownGrace.Milliseconds())
}
