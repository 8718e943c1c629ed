package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/cpu"
	"github.com/kinesis-go/kcl/internal/fleetstart"
	"github.com/kinesis-go/kcl/internal/guardedstore"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/polling"
)

// Scheduler is one worker of an application. [New] makes it. Its methods are safe for concurrent
// use.
type Scheduler struct {
	cfg     Config
	given   Config // the argument of New, for Validate
	factory kcl.ProcessorFactory
	log     *slog.Logger
	wall    func() time.Time // time.Now, except in tests

	status    phases
	consumers registry
	consumer  consumerConfig

	streams   *streamSet
	table     *rowTable
	seenRows  *rowMemory
	syncer    *syncer
	janitor   *janitor
	watchdog  *watchdog
	tip       *tipStop
	tracker   *tracker
	control   *controlPlane
	registrar *registrar
	sources   *sources
	coord     *coordinator.Coordinator
}

// ErrStarted is the error of a second call of [Scheduler.Run].
var ErrStarted = errors.New("scheduler: Run can be called once; make another Scheduler")

// New returns a Scheduler that delivers the records of cfg's streams to processors made by factory.
// It keeps a copy of cfg and sets the defaults in it. New starts nothing and checks nothing: Run
// returns the mistakes of cfg.
func New(cfg Config, factory kcl.ProcessorFactory) *Scheduler {
	cfg.Streams = slices.Clone(cfg.Streams)
	s := &Scheduler{cfg: cfg.withDefaults(), given: cfg, factory: factory, wall: time.Now}
	s.log = usercode.Logger(s.cfg.Logger).With("worker", s.cfg.WorkerID)
	s.cfg.Leases = guardedstore.New(s.cfg.Leases, callTimeout)
	s.sources = &sources{
		memory: polling.NewMemory(s.cfg.PollingMemory), idle: s.cfg.PollingIdleInterval, mode: cfg.RetrievalMode,
		fallback: cfg.Fallback, fallbackAfter: s.cfg.FallbackAfter, log: s.log,
	}
	if cfg.Kinesis != nil {
		// All parts share one client, which gives up silent connections.
		options := cfg.Kinesis.Options()
		options.HTTPClient = line.NewClient(options.HTTPClient)
		s.cfg.Kinesis = kinesis.New(options)
		s.sources.client = s.cfg.Kinesis
		if cfg.RetrievalMode == EFO {
			s.sources.http = efo.NewHTTPClient(cfg.Kinesis.Options().HTTPClient,
				efo.TransportConfig{H2C: cfg.H2C, Logger: s.log})
		}
	}
	s.streams = newStreamSet(s.cfg, s.log)
	s.control = &controlPlane{
		client: s.cfg.Kinesis, application: cfg.Application, multi: cfg.multi(), metrics: cfg.Metrics, log: s.log,
	}
	s.registrar = &registrar{
		client: s.cfg.Kinesis, application: cfg.Application, mode: cfg.RetrievalMode, fallback: cfg.Fallback,
		fallbackAfter: s.cfg.FallbackAfter, streams: s.streams, log: s.log,
	}
	s.table = &rowTable{s.cfg.Leases}
	s.coord = s.newCoordinator()
	s.tip = &tipStop{streams: s.streams, table: s.table, coord: s.coord, consumers: &s.consumers, log: s.log}
	s.seenRows = newRowMemory(s.cfg, s.table, s.streams, s.coord)
	s.syncer = newSyncer(s.cfg, s.streams, s.control, s.seenRows, s.log)
	s.janitor = &janitor{
		streams: s.streams, control: s.control, table: s.table, seen: s.seenRows, syncer: s.syncer, coord: s.coord,
		metrics: cfg.Metrics, log: s.log, memory: map[*stream]*cleanupMemory{},
	}
	s.tracker = s.newTracker()
	s.watchdog = &watchdog{
		streams: s.streams, coord: s.coord, consumers: &s.consumers, seen: s.seenRows, tip: s.tip,
		failover: s.cfg.FailoverTime, stallTimeout: s.cfg.StallTimeout, syncInterval: s.cfg.ShardSyncInterval, log: s.log,
	}
	s.consumer = consumerConfig{
		factory: factory, mode: cfg.RetrievalMode, decoder: cfg.Decoder, aggregates: cfg.Aggregates,
		checkpointInterval: cfg.CheckpointInterval, shutdownTimeout: s.cfg.ShutdownTimeout, holderTime: s.seenRows.holderTime,
		table: s.table, coord: s.coord, streams: s.streams, control: s.control, registrar: s.registrar, syncer: s.syncer,
		sources: s.sources, tip: s.tip, standstills: &s.watchdog.standstills, metrics: cfg.Metrics, log: s.log,
	}
	return s
}

func (s *Scheduler) newTracker() *tracker {
	listName := "Config.Streams"
	if s.cfg.StreamTracker != nil {
		listName = "Config.StreamTracker"
	}
	return &tracker{
		function: s.cfg.StreamTracker, interval: s.cfg.StreamRefreshInterval, validate: s.cfg.validateStreams,
		streams: s.streams, control: s.control, registrar: s.registrar, syncer: s.syncer, table: s.table, coord: s.coord,
		metrics: s.cfg.Metrics, log: s.log,
		list: s.cfg.Streams, listName: listName, current: true,
		former: &formerCleaner{
			policy: s.cfg.FormerStreams, wait: max(s.cfg.FormerStreams.Wait, 3*s.cfg.FailoverTime),
			application: s.cfg.Application, streams: s.streams, table: s.table, coord: s.coord,
			metrics: s.cfg.Metrics, log: s.log,
		},
	}
}

// Run works until ctx ends, and then stops gracefully. It takes no more leases and finishes the
// current batches. Then the processors may checkpoint, and Run releases the leases.
//
// Run returns nil after such a stop, and after a stop by Config.StopAtTip. A *leases.AbandonedError
// names the shards whose processors did not return within Config.ShutdownTimeout. Any other error
// ended the work or prevented the start: all mistakes of the configuration together,
// kcl.ErrStreamNotFound, kcl.ErrStreamRecreated, kcl.ErrAccessDenied (with the action to allow),
// leases.ErrForeignTable, leases.ErrMixedAssignment. Run waits for services that throttle or fail.
//
// Run may be called once. When it returns, all its goroutines have ended. Exceptions are abandoned
// processors, and a stream tracker that does not return.
func (s *Scheduler) Run(ctx context.Context) error {
	if !s.status.begin() {
		return ErrStarted
	}
	err := s.run(leases.WithLogger(ctx, s.log))
	s.status.end(err)
	if err == nil {
		s.log.InfoContext(ctx, "worker has stopped")
	} else {
		s.log.InfoContext(ctx, "worker has stopped", "err", err)
	}
	return err
}

func (s *Scheduler) run(ctx context.Context) error {
	if err := s.validate(); err != nil {
		return err
	}
	work, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s.streams.fail = func(err error) { fail(&failure{err}) }
	s.tip.end = func() { fail(errReadToTip) }

	s.log.InfoContext(ctx, "worker starts", "application", s.cfg.Application, "mode", s.cfg.RetrievalMode, "streams",
		len(s.cfg.Streams))
	defer s.closeConnections()
	if err := s.prepare(work); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it was ready
		}
		return err
	}
	err := s.work(work)
	if f, ok := errors.AsType[*failure](context.Cause(work)); ok {
		return errors.Join(f.error, err) // even if ctx has ended meanwhile
	}
	return err
}

// closeConnections closes the idle connections of subscriptions. It closes none of an HTTP client
// that the user made.
func (s *Scheduler) closeConnections() {
	switch s.given.Kinesis.Options().HTTPClient.(type) {
	case nil, *awshttp.BuildableClient:
		if c, ok := s.sources.http.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

func (s *Scheduler) validate() error {
	err := s.given.Validate()
	if s.factory == nil {
		err = errors.Join(err,
			errors.New("scheduler: the processor factory is nil: give New a function that returns a new processor"))
	}
	return err
}

// prepare does everything that must succeed before work begins. The tracker opens its streams
// later, one by one.
func (s *Scheduler) prepare(ctx context.Context) error {
	openShards := func(ctx context.Context) (int, error) { return s.control.openShards(ctx, s.cfg.Streams) }
	spread := fleetstart.Spread{
		List: s.table.List, OpenShards: openShards, FailoverTime: s.cfg.FailoverTime, Logger: s.log,
	}
	checksTag, err := spread.Wait(ctx)
	if err != nil {
		return err
	}
	s.registrar.trusted = !checksTag
	streams, err := s.describeAll(ctx)
	if err != nil {
		return err
	}
	if err := s.retryStart(ctx, "ask the stream tracker", s.tracker.refresh); err != nil {
		return err
	}
	if err := s.retryStart(ctx, "prepare lease table", s.cfg.Leases.Init); err != nil {
		return fmt.Errorf("prepare the lease table: %w", err)
	}
	if len(streams) == 0 {
		check := func(ctx context.Context) error { return s.table.check(ctx, s.cfg.Application, s.cfg.multi()) }
		if err := s.retryStart(ctx, "check lease table", check); err != nil {
			return err
		}
	}
	if err := s.syncFirst(ctx, streams); err != nil { // before register: the table may be another application's
		return err
	}
	for _, st := range streams {
		register := func(ctx context.Context) error { return s.registrar.register(ctx, st) }
		if err := s.retryStart(ctx, "register stream consumer", register); err != nil {
			return err
		}
	}
	if s.cfg.StopAtTip {
		if err := s.tip.setTarget(streams); err != nil {
			return err
		}
	}
	s.streams.set(streams)
	return nil
}

// describeAll asks the service for the streams of the configuration. If there are several, the
// tracker later opens those that are not ready or cannot be described now. They do not delay the
// other streams.
func (s *Scheduler) describeAll(ctx context.Context) ([]*stream, error) {
	var streams []*stream
	for i, cfg := range s.cfg.Streams {
		err := s.retryStart(ctx, "describe stream", func(ctx context.Context) error {
			st, err := s.control.describe(ctx, fmt.Sprintf("Config.Streams[%d]", i), cfg)
			switch {
			case err == nil:
				streams = append(streams, st)
			case s.cfg.multi() && retryable(err) == tryAgain:
				s.log.WarnContext(ctx, "stream cannot be read yet, reading the others", "stream", cfg.resource(), "err", err)
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return streams, nil
}

// newCoordinator makes the coordinator that Run runs.
func (s *Scheduler) newCoordinator() *coordinator.Coordinator {
	return coordinator.New(coordinator.Config{
		Store:              s.cfg.Leases,
		WorkerID:           s.cfg.WorkerID,
		Assignment:         s.cfg.Assignment,
		FailoverTime:       s.cfg.FailoverTime,
		MaxLeasesForWorker: s.cfg.MaxLeasesForWorker,
		Balance:            s.cfg.Balance,
		AssignmentStrategy: s.cfg.AssignmentStrategy,
		MaxThroughputKBps:  s.cfg.MaxThroughputKBps,
		CPU:                s.cpuMeter(),
		ShutdownTimeout:    s.cfg.ShutdownTimeout,
		Accept: func(row leases.Lease) bool {
			st := s.streams.ofRow(row)
			return st != nil && st.accepts(row) && !s.tip.reached(row)
		},
		Consume:   s.consume,
		WallClock: func() time.Time { return s.wall() },
		Logger:    s.log,
		Metrics:   s.cfg.Metrics,
	})
}

// cpuMeter returns the function that measures the CPU for reports to the leader of a fleet. It
// returns nil if DisableWorkerMetrics is set.
func (s *Scheduler) cpuMeter() func() (float64, bool) {
	if s.cfg.DisableWorkerMetrics {
		return nil
	}
	return cpu.NewMeter().Used
}

// work runs the coordinator and the six loops, and joins them.
func (s *Scheduler) work(ctx context.Context) error {
	watched, endWatch := context.WithCancel(context.WithoutCancel(ctx))
	working, endLoops := context.WithCancel(ctx) // an error may end the coordinator before ctx ends
	var wg sync.WaitGroup
	defer wg.Wait()
	defer endWatch()
	defer endLoops()
	wg.Go(func() { s.syncer.loop(working) })    // ends with ctx: a stopping worker makes no rows
	wg.Go(func() { s.janitor.loop(working) })   // ends with ctx: a stopping worker deletes no rows
	wg.Go(func() { s.registrar.loop(working) }) // ends with ctx
	wg.Go(func() { s.tracker.loop(working) })   // ends with ctx
	wg.Go(func() { s.tip.loop(working) })       // ends with ctx, or ends it
	wg.Go(func() { s.watchdog.loop(watched) })  // ends after the coordinator, to watch the stop
	s.status.running()
	s.log.InfoContext(ctx, "worker is ready")
	stop := context.AfterFunc(ctx, func() {
		s.status.stopping()
		s.log.InfoContext(ctx, "worker stops", "cause", context.Cause(ctx))
	})
	defer stop()
	return s.coord.Run(ctx)
}

// failure is an error that ends Run before its caller does.
type failure struct{ error }

// The phases of Run.
const (
	phaseCreated  = "created"
	phaseStarting = "starting"
	phaseRunning  = "running"
	phaseStopping = "stopping"
	phaseStopped  = "stopped"
)

// phases has the current phase of Run.
type phases struct {
	mu     sync.Mutex // guards the fields below
	now    string     // empty before Run
	detail string
}

func (p *phases) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != "" {
		return false
	}
	p.now = phaseStarting
	return true
}

func (p *phases) starting(step string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detail = step
	if err != nil {
		p.detail += ": " + err.Error()
	}
}

func (p *phases) running()  { p.set(phaseRunning, "") }
func (p *phases) stopping() { p.set(phaseStopping, "stop requested") }

func (p *phases) end(err error) {
	detail := "stop requested"
	if err != nil {
		detail = err.Error()
	}
	p.set(phaseStopped, detail)
}

func (p *phases) set(now, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != phaseStopped {
		p.now, p.detail = now, detail
	}
}

func (p *phases) phase() (now, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == "" {
		return phaseCreated, "Run has not been called"
	}
	return p.now, p.detail
}

// registry has the consumers of this worker by lease key.
type registry struct {
	mu    sync.Mutex // guards byKey
	byKey map[string]*consumer
}

func (r *registry) add(c *consumer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byKey == nil {
		r.byKey = map[string]*consumer{}
	}
	r.byKey[c.key] = c
}

func (r *registry) remove(c *consumer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byKey[c.key] == c { // a later consumer of the same shard may have come already
		delete(r.byKey, c.key)
	}
}

func (r *registry) all() map[string]*consumer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.byKey)
}
