package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

const uncheckpointed = 10 * time.Minute // of deliveries without a checkpoint are told

// outcome is how a step of a consumer ended.
type outcome int

const (
	done      outcome = iota // go on
	ended                    // the shard has been read to its end
	stopped                  // asked to finish
	lost                     // the processor's context has ended
	restarted                // the processor asks to be replaced
)

// errStopping ends reading, and nothing else, when the consumer shall finish.
var errStopping = errors.New("the worker stops or hands the shard over")

// consumer takes one shard from its parents' end to its own, under one lease.
// All of it runs on one goroutine, which the coordinator starts and joins;
// progress, metrics and checkpointer may be used by others.
type consumer struct {
	s        *Scheduler
	stream   *stream
	holder   *coordinator.Holder
	key      string
	shard    kcl.Shard
	start    leases.Lease // the row that reading starts from
	begun    time.Time
	progress *progress
	metrics  *metrics.Shard
	log      *slog.Logger

	mu           sync.Mutex // guards checkpointer, which is made after the parents' end
	checkpointer *checkpoint.Checkpointer

	src       source // made for the first processor
	processor kcl.Processor
	next      kcl.Position               // where the source goes on
	last      kcl.ExtendedSequenceNumber // of the last record delivered
	processed kcl.ExtendedSequenceNumber // of the last record processed
	children  []kcl.ChildShard
	tried     time.Time // last checkpoint that the library tried by itself
	finished  bool      // ShardEnded has returned nil
	arrived   bool      // the shard has been read up to the target of StopAtTip
	missing   bool      // the service did not find the shard when it was last read
	met       bool      // the record at the checkpoint, or what is left of the shard behind it
	reached   reached
	restarts  restarts
	orphaned  streak            // waits for a parent without a row
	probes    map[string]*probe // of such parents

	corrupt   untold // corrupt aggregates
	undecoded untold // records that could not be decoded
	gaps      untold // positions that retention had passed

	warned time.Time // belongs to the watchdog: when a missing checkpoint was told
}

// untold counts what is told only every tellEvery.
type untold struct {
	count int
	told  time.Time // last
}

const tellEvery = 10 * time.Minute // corrupt aggregates and undecoded records of a shard

// add counts n more. When it is time to tell, it returns how many there were
// since the last time.
func (u *untold) add(n int) (count int, tell bool) {
	u.count += n
	if n == 0 || time.Since(u.told) < tellEvery {
		return 0, false
	}
	count = u.count
	*u = untold{told: time.Now()}
	return count, true
}

// consume runs the consumer of one lease. The coordinator calls it on a
// goroutine of its own; ctx ends with ErrLeaseLost or ErrShutdownTimeout.
func (s *Scheduler) consume(ctx context.Context, h *coordinator.Holder) {
	row := h.Lease()
	st := s.streams.of(row)
	if st == nil || row.Finished() {
		return
	}
	c := &consumer{
		s: s, stream: st, holder: h, key: row.Key, start: row, begun: time.Now(),
		shard:    st.lineage.known(row),
		progress: newProgress(s.cfg.RetrievalMode),
		metrics:  s.cfg.Metrics.Shard(st.id.String(), row.ShardID),
		log:      s.log.With("stream", st.label, "shard", row.ShardID),
	}
	s.consumers.add(c)
	defer s.consumers.remove(c)
	defer c.metrics.Close()
	defer c.unexpected(ctx)
	c.run(ctx)
	if s.cfg.RetrievalMode == EFO && !c.finished {
		// Whoever gets the lease next would subscribe too soon.
		_ = retry.Sleep(ctx, c.progress.untilNextSubscription())
	}
}

// run is the life of the consumer, one state after the other.
func (c *consumer) run(lease context.Context) {
	ctx, reading, end := c.lifetime(lease)
	defer end()
	c.become(ctx, StateWaitingOnParents)
	if c.adopt(ctx) == done && c.waitForParents(ctx) == done {
		for c.live(ctx, reading) == restarted && c.restart(ctx, reading) == done {
		}
	} else {
		c.brokeOff(ctx)
	}
	c.recordTarget(ctx)
	c.become(ctx, StateShutdownComplete)
}

// lifetime derives two contexts from that of the lease, and tells how to end them.
// ctx is that of the processor's calls. It ends when the lease is lost, when a
// shutdown takes too long, and after the last call; not because the consumer shall
// finish. That ends reading.
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
		case <-c.stream.stopped: // for which the holder keeps no time
		case <-ctx.Done():
			return
		}
		timer := time.NewTimer(c.s.cfg.ShutdownTimeout)
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

// live is the life of one processor, from its first call to its last.
func (c *consumer) live(ctx, reading context.Context) outcome {
	ctx, end := context.WithCancelCause(ctx)
	c.become(ctx, StateInitializing)
	out := c.initialize(ctx)
	if out == done {
		c.become(ctx, StateProcessing)
		if out = c.process(ctx, reading); out == stopped {
			c.become(ctx, StateShutdownRequested)
			c.shutdownRequested(ctx)
		}
	}
	if out == ended {
		c.become(ctx, StateShuttingDown)
		if out = c.shardEnded(ctx); out == stopped {
			c.shutdownRequested(ctx) // it has not agreed to the end: its last chance to checkpoint
		}
	}
	cause := kcl.ErrLeaseLost
	if out == restarted {
		cause = errReplaced
	}
	c.checkpointer.Close(cause)
	over := ctx.Err() != nil || out == restarted
	end(cause)
	if over {
		c.brokeOff(ctx)
	}
	if over && !c.finished {
		if c.progress.stateNow() != StateShuttingDown {
			c.become(ctx, StateShuttingDown)
		}
		c.leaseLost(ctx)
	}
	return out
}

func (c *consumer) become(ctx context.Context, next State) {
	c.progress.become(next)
	c.log.DebugContext(ctx, "consumer changed state", "state", next)
}

// pause waits, unless the consumer shall finish or its context ends.
func (c *consumer) pause(ctx context.Context, d time.Duration) outcome {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return done
	case <-ctx.Done():
		return lost
	case <-c.holder.Stopping():
	case <-c.stream.stopped:
	}
	return stopped
}

// stopping tells whether the consumer shall finish.
func (c *consumer) stopping() bool {
	select {
	case <-c.holder.Stopping():
	case <-c.stream.stopped:
	default:
		return false
	}
	return true
}

func (c *consumer) report() checkpoint.Report {
	c.mu.Lock()
	ck := c.checkpointer
	c.mu.Unlock()
	if ck == nil {
		return checkpoint.Report{}
	}
	return ck.Report()
}

// warnUncheckpointed tells, every ten minutes, of a shard that delivers and
// never checkpoints. The watchdog calls it.
func (c *consumer) warnUncheckpointed(ctx context.Context, now time.Time, stallTimeout time.Duration) {
	r := c.report()
	if c.progress.blocked(now, stallTimeout) {
		return // the processor has not come back: to checkpoint is not what it lacks
	}
	if c.s.cfg.CheckpointInterval > 0 || r.OpenSince.IsZero() || now.Sub(r.OpenSince) < uncheckpointed || now.Sub(c.warned) < uncheckpointed {
		return
	}
	c.warned = now
	c.log.WarnContext(ctx, "records are delivered and nothing is checkpointed: call Checkpoint in the processor, or set CheckpointInterval", "since", r.OpenSince, "checkpoint", r.Last)
}
