package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/metrics"
)

const uncheckpointed = 10 * time.Minute // deliveries without a checkpoint for this long are logged

// outcome says how a step of a consumer ended.
type outcome int

const (
	done      outcome = iota // the step succeeded, and the next one follows
	ended                    // the shard has been read to its end
	stopped                  // the consumer is asked to finish
	lost                     // the processor's context has ended
	restarted                // the processor asks for its replacement
)

// errStopping is the cause that ends reading after a request to finish. It does not end calls of
// the processor.
var errStopping = errors.New("the worker stops or hands the shard over")

// consumerConfig has what all consumers of a worker share.
type consumerConfig struct {
	factory            kcl.ProcessorFactory
	mode               RetrievalMode
	decoder            kcl.Decoder
	aggregates         Aggregates
	checkpointInterval time.Duration
	shutdownTimeout    time.Duration
	holderTime         time.Duration // see rowMemory
	table              *rowTable
	coord              *coordinator.Coordinator
	streams            *streamSet
	control            *controlPlane
	registrar          *registrar
	syncer             *syncer
	sources            *sources
	tip                *tipStop
	standstills        *standstills
	metrics            *metrics.Metrics
	log                *slog.Logger
}

// consumer reads one shard under one lease, from the end of the parents to the end of the shard. It
// runs on one goroutine, which the coordinator starts and joins. Other goroutines may use progress,
// metrics and delivery.report.
type consumer struct {
	*shardLease
	begun    time.Time
	parents  parentWait
	gaps     gapWatch
	delivery delivery

	src      source       // made for the first processor, and kept for later ones
	next     kcl.Position // where the source reads next
	children []kcl.ChildShard
	finished bool // ShardEnded has returned nil
	missing  bool // the last read did not find the shard
	restarts restarts

	warned time.Time // belongs to the watchdog: when a missing checkpoint was logged
}

func newConsumer(l *shardLease) *consumer {
	return &consumer{
		shardLease: l, begun: time.Now(),
		parents: parentWait{shardLease: l}, gaps: gapWatch{shardLease: l}, delivery: delivery{shardLease: l},
	}
}

// consume runs the consumer of one lease. The coordinator starts a goroutine for each call. ctx
// ends with ErrLeaseLost or ErrShutdownTimeout.
func (s *Scheduler) consume(ctx context.Context, h *holder.Holder) {
	row := h.Lease()
	st := s.streams.ofRow(row)
	if st == nil || row.Finished() {
		return
	}
	c := newConsumer(newShardLease(&s.consumer, st, h))
	s.consumers.add(c)
	defer s.consumers.remove(c)
	defer c.metrics.Close()
	defer c.logUnexpectedEnd(ctx)
	c.run(ctx)
	if s.cfg.RetrievalMode == EFO && !c.finished {
		// The next owner of the lease would subscribe too soon.
		_ = retry.Sleep(ctx, c.progress.untilNextSubscription())
	}
}

// run takes the consumer through its states, one after the other.
func (c *consumer) run(lease context.Context) {
	ctx, reading, end := c.lifetime(lease)
	defer end()
	c.become(ctx, StateWaitingOnParents)
	if c.adopt(ctx) == done && c.parents.wait(ctx) == done {
		for c.runProcessor(ctx, reading) == restarted && c.restart(ctx, reading) == done {
		}
	} else {
		c.recordBreak(ctx)
	}
	c.recordTarget(ctx)
	c.become(ctx, StateShutdownComplete)
}

// lifetime derives two contexts from that of the lease. ctx is for the processor's calls. It ends
// if the lease is lost, if a shutdown takes too long, and after the last call. A request to finish
// ends only reading. The function end ends both.
func (c *consumer) lifetime(lease context.Context) (ctx, reading context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(lease)
	reading, halt := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { // ends with ctx
		select {
		case <-c.holder.Stopping():
		case <-c.stream.stopped:
		case <-ctx.Done():
			return
		}
		halt(errStopping)
		select {
		case <-c.stream.stopped: // the holder has no timer for a stopped stream
		case <-ctx.Done():
			return
		}
		timer := time.NewTimer(c.cfg.shutdownTimeout)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(kcl.ErrShutdownTimeout)
		case <-ctx.Done():
		}
	})
	return ctx, reading, func() {
		cancel(kcl.ErrLeaseLost)
		wg.Wait()
	}
}

// runProcessor runs one processor from its first call to its last.
func (c *consumer) runProcessor(ctx, reading context.Context) outcome {
	ctx, end := context.WithCancelCause(ctx)
	c.become(ctx, StateInitializing)
	out := c.initialize(ctx)
	if out == done {
		c.become(ctx, StateProcessing)
		if out = c.process(ctx, reading); out == stopped {
			c.become(ctx, StateShutdownRequested)
			c.delivery.shutdownRequested(ctx)
		}
	}
	if out == ended {
		c.become(ctx, StateShuttingDown)
		if out = c.shardEnded(ctx); out == stopped {
			c.delivery.shutdownRequested(ctx) // ShardEnded has not returned nil: let the processor checkpoint
		}
	}
	cause := kcl.ErrLeaseLost
	if out == restarted {
		cause = errReplaced
	}
	c.delivery.checkpointer.Close(cause)
	over := ctx.Err() != nil || out == restarted
	end(cause)
	if over {
		c.recordBreak(ctx)
	}
	if over && !c.finished {
		if c.progress.stateNow() != StateShuttingDown {
			c.become(ctx, StateShuttingDown)
		}
		c.delivery.leaseLost(ctx)
	}
	return out
}

func (c *consumer) become(ctx context.Context, next State) {
	c.progress.become(next)
	c.log.DebugContext(ctx, "consumer changed state", "state", next)
}

// warnUncheckpointed logs every ten minutes that a shard has deliveries and no checkpoint. The
// watchdog calls it.
func (c *consumer) warnUncheckpointed(ctx context.Context, now time.Time, stallTimeout time.Duration) {
	r := c.delivery.report()
	if c.progress.blocked(now, stallTimeout) {
		return // the processor has not returned, and Healthy reports that
	}
	if c.cfg.checkpointInterval > 0 || r.OpenSince.IsZero() || now.Sub(r.OpenSince) < uncheckpointed ||
		now.Sub(c.warned) < uncheckpointed {
		return
	}
	c.warned = now
	c.log.WarnContext(ctx,
		"records are delivered and nothing is checkpointed: call Checkpoint in the processor, or set CheckpointInterval",
		"since", r.OpenSince, "checkpoint", r.Last)
}

// initialize prepares the consumer for a processor, and calls the processor's Initialize.
func (c *consumer) initialize(ctx context.Context) outcome {
	c.delivery.begin()
	c.next, _ = c.start.Start() // the row has the time of its start, because adopt has succeeded
	if c.stopping() {
		return stopped
	}
	c.gaps.begin(ctx, c.next)
	out := c.delivery.initialize(ctx)
	if out == done {
		c.log.InfoContext(ctx, "shard consumer started", "checkpoint", c.start.Checkpoint, "position", c.next)
	}
	return out
}

// logUnexpectedEnd logs that a panic or a runtime.Goexit outside package usercode has ended the
// consumer. The holder releases its lease.
func (c *consumer) logUnexpectedEnd(ctx context.Context) {
	if c.progress.stateNow() != StateShutdownComplete {
		c.log.ErrorContext(ctx, "shard consumer ended unexpectedly: a log handler or a metrics sink has called "+
			"runtime.Goexit, or the library has a bug")
	}
}
