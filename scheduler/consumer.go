package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/polling"
)

const (
	parentPoll       = 500 * time.Millisecond // how often a waiting child looks at its parents
	uncheckpointed   = 10 * time.Minute       // of deliveries without a checkpoint are told
	expiryAttempts   = 3                      // answers that a shard is gone, before it counts as expired
	examineAge       = 5 * time.Second        // how old the answer to another shard's question for the stream may be
	autoCheckpointIn = 10 * time.Second       // how long a checkpoint that the library makes may take
)

// outcome is how a step of a consumer ended.
type outcome int

const (
	done    outcome = iota // go on
	ended                  // the shard has been read to its end
	stopped                // asked to finish
	lost                   // the processor's context has ended
)

// errStopping ends reading, and nothing else, when the consumer shall finish.
var errStopping = errors.New("the worker stops or hands the shard over")

// consumer takes one shard from its parents' end to its own, under one lease.
// All of it runs on one goroutine, which the coordinator starts and joins;
// progress, metrics and checkpointer may be used by others.
type consumer struct {
	s        *Scheduler
	stream   *stream
	holder   *leases.Holder
	key      string
	shard    kcl.Shard
	start    leases.Lease // the row that reading starts from
	progress *progress
	metrics  *metrics.Shard
	log      *slog.Logger

	mu           sync.Mutex // guards checkpointer, which is made after the parents' end
	checkpointer *checkpoint.Checkpointer

	processor kcl.Processor
	next      kcl.Position               // where the source goes on
	last      kcl.ExtendedSequenceNumber // of the last record delivered
	processed kcl.ExtendedSequenceNumber // of the last record processed
	children  []kcl.ChildShard
	tried     time.Time // last checkpoint that the library tried by itself
	finished  bool      // ShardEnded has returned nil
	met       bool      // the record at the checkpoint, or what is left of the shard behind it

	corrupt   untold // corrupt aggregates
	undecoded untold // records that could not be decoded

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
func (s *Scheduler) consume(ctx context.Context, h *leases.Holder) {
	row := h.Lease()
	st := s.streamOf(row)
	if st == nil || row.Finished() {
		return
	}
	c := &consumer{
		s: s, stream: st, holder: h, key: row.Key, start: row,
		shard:    st.lineage.known(row),
		progress: newProgress(s.cfg.RetrievalMode),
		metrics:  s.cfg.Metrics.Shard(st.label, row.ShardID),
		log:      s.log.With("stream", st.label, "shard", row.ShardID),
	}
	s.consumers.add(c)
	defer s.consumers.remove(c)
	defer c.metrics.Close()
	c.run(ctx)
	if s.cfg.RetrievalMode == EFO && !c.finished {
		// Whoever gets the lease next would subscribe too soon.
		_ = retry.Sleep(ctx, c.progress.untilNextSubscription())
	}
}

// adopt writes to a row that another library made what is missing in it: the
// stream's creation time, the service's time from which LATEST counts, the hash
// keys, and the second parent, which vmware-go-kcl does not keep. It tries until
// the row has it: were a record of the shard processed before LATEST is pinned,
// and the lease lost before a checkpoint, the next owner would start later.
func (c *consumer) adopt(ctx context.Context) outcome {
	backoff := retry.New(firstBackoff, maxBackoff)
	for row := c.start; ; {
		to, set := row, leases.Attr(0)
		if to.StreamCreated.IsZero() && !c.stream.created.IsZero() {
			to.StreamCreated, set = c.stream.created, set|leases.AttrStreamCreated
		}
		if pin := c.stream.lineage.pin(); to.Checkpoint.SequenceNumber == kcl.SentinelLatest && to.PinnedAt.IsZero() && !pin.IsZero() {
			to.PinnedAt, set = pin, set|leases.AttrPinnedAt
		}
		if to.HashKeyRange.IsZero() && !c.shard.HashKeyRange.IsZero() {
			to.HashKeyRange, set = c.shard.HashKeyRange, set|leases.AttrHashKeyRange
		}
		if parents := c.shard.Parents(); len(to.Parents) < len(parents) {
			to.Parents, set = parents, set|leases.AttrParents
		}
		var err error
		if set != 0 {
			err = c.s.cfg.Leases.Update(ctx, leases.Update{Read: row, Expect: set | leases.AttrCheckpoint, To: to, Set: set})
		}
		c.progress.stored(err)
		if err == nil {
			c.start = c.start.With(leases.AttrStreamCreated|leases.AttrPinnedAt|leases.AttrHashKeyRange|leases.AttrParents, to)
			return done
		}
		if conflict, ok := errors.AsType[*leases.ConflictError](err); ok && conflict.Current != nil {
			row = *conflict.Current // a parent or another worker has completed it, see share
		} else {
			c.log.WarnContext(ctx, "lease of another library cannot be completed yet", "err", err)
		}
		if out := c.pause(ctx, backoff.Next()); out != done {
			return out
		}
	}
}

// run is the life of the consumer, one state after the other.
func (c *consumer) run(ctx context.Context) {
	c.become(ctx, StateWaitingOnParents)
	if c.adopt(ctx) != done || c.waitForParents(ctx) != done {
		c.become(ctx, StateShutdownComplete)
		return
	}
	c.become(ctx, StateInitializing)
	out := c.initialize(ctx)
	if out == done {
		c.become(ctx, StateProcessing)
		if out = c.process(ctx); out == stopped {
			c.become(ctx, StateShutdownRequested)
			c.shutdownRequested(ctx)
		}
	}
	if out == ended {
		c.become(ctx, StateShuttingDown)
		if c.shardEnded(ctx) == stopped {
			c.shutdownRequested(ctx) // it has not agreed to the end: its last chance to checkpoint
		}
	}
	c.checkpointer.Close(kcl.ErrLeaseLost)
	if errors.Is(context.Cause(ctx), kcl.ErrLeaseLost) && !c.finished {
		if out != ended {
			c.become(ctx, StateShuttingDown)
		}
		c.leaseLost(ctx)
	}
	c.become(ctx, StateShutdownComplete)
}

func (c *consumer) become(ctx context.Context, next State) {
	c.progress.become(next)
	c.log.DebugContext(ctx, "consumer changed state", "state", next)
}

// waitForParents returns when every parent has been processed to its end, see
// parentFinished.
func (c *consumer) waitForParents(ctx context.Context) outcome {
	for {
		finished, err := c.parentsFinished(ctx)
		c.progress.stored(err)
		if finished {
			break
		}
		if out := c.pause(ctx, parentPoll); out != done {
			return out
		}
	}
	if len(c.start.Parents) > 0 && c.start.Checkpoint.SequenceNumber == kcl.SentinelLatest {
		// A parent may have moved the pin, see share.
		for {
			row, err := c.s.cfg.Leases.Get(ctx, c.key)
			c.progress.stored(err)
			if err == nil {
				if !row.PinnedAt.IsZero() {
					c.start.PinnedAt = row.PinnedAt
				}
				break
			}
			if out := c.pause(ctx, parentPoll); out != done {
				return out
			}
		}
	}
	if ctx.Err() != nil {
		return lost
	}
	return done
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

// initialize makes the processor and calls Initialize until it succeeds.
func (c *consumer) initialize(ctx context.Context) outcome {
	ck := checkpoint.New(c.holder, c.start.Checkpoint, c.metrics)
	c.mu.Lock()
	c.checkpointer = ck
	c.mu.Unlock()
	c.last, c.processed = c.start.Checkpoint, c.start.Checkpoint
	c.next = startPosition(c.start, c.stream.cfg.InitialPosition)
	c.tried = time.Now()
	if c.stopping() {
		return stopped
	}
	in := kcl.InitializeInput{
		Stream: c.stream.id, Shard: c.shard, Checkpoint: c.start.Checkpoint,
		Pending: c.start.Pending, PendingState: c.start.PendingState,
	}
	out := c.repeat(ctx, "initialize", func() error {
		if c.processor == nil {
			if c.processor = c.s.factory(c.stream.id, c.shard); c.processor == nil {
				return errors.New("the processor factory returned nil")
			}
		}
		return c.processor.Initialize(ctx, in)
	})
	if out == done {
		c.log.InfoContext(ctx, "shard consumer started", "checkpoint", c.start.Checkpoint, "position", c.next)
	}
	return out
}

// process reads the shard and hands its records to the processor, until the
// shard ends, the consumer shall finish or the lease is lost.
func (c *consumer) process(ctx context.Context) outcome {
	ctx, end := context.WithCancelCause(ctx)
	reading, cancel := context.WithCancelCause(ctx)
	returned := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end(nil)
	defer close(returned)
	wg.Go(func() { // ends on return, at the latest
		select {
		case <-c.holder.Stopping():
		case <-c.stream.stopped:
		case <-returned:
		}
		cancel(errStopping)
		select {
		case <-c.stream.stopped: // for which the holder keeps no time
		case <-returned:
			return
		}
		timer := time.NewTimer(c.s.cfg.ShutdownTimeout)
		defer timer.Stop()
		select {
		case <-timer.C:
			end(kcl.ErrShutdownTimeout)
		case <-returned:
		}
	})

	backoff := retry.New(firstBackoff, maxBackoff)
	src := c.s.newSource(c.stream, c.progress, c.metrics, c.holder.Valid, c.shard.ID)
	c.holder.Delivered(0)
	c.progress.begins()
	for expired := 0; ; {
		before := c.next
		out, err := c.read(ctx, reading, src)
		if err == nil {
			return out
		}
		if c.next != before {
			backoff.Reset()
			expired = 0
		}
		c.progress.refused(err)
		wait := backoff.Next()
		c.log.ErrorContext(ctx, "shard cannot be read", "err", err, "wait", wait)
		if isShardGone(err) {
			expired++
		} else {
			expired = 0
		}
		used := ""
		if f, ok := src.(*fallback); ok {
			used = f.consumer
		}
		if c.recoverFrom(reading, err, used, expired) == ended {
			return ended
		}
		if out := c.pause(ctx, wait); out != done {
			return out
		}
	}
}

func isShardGone(err error) bool {
	return errors.Is(err, efo.ErrShardNotFound) || errors.Is(err, polling.ErrShardNotFound)
}

// recoverFrom acts on an error that was final for the source, which read through
// the stream consumer used. Many shards come here at the same time, so one acts for all.
func (c *consumer) recoverFrom(ctx context.Context, cause error, used string, expired int) outcome {
	c.examine(ctx, cause)
	if errors.Is(cause, efo.ErrConsumerNotFound) && c.stream.err() == nil {
		_ = c.stream.registered.Do(ctx, used, 0, func() error { return c.registerAgain(ctx, used) })
		return done
	}
	if expired < expiryAttempts || c.stream.err() != nil {
		return done
	}
	// The stream has not had the shard for a while.
	list, err := c.stream.lineage.get(ctx, 0)
	if err != nil {
		return done
	}
	if _, listed := list.byID[c.shard.ID]; listed {
		return done
	}
	if !c.stream.created.IsZero() && c.s.sameStream(ctx, c.stream) != nil {
		return done // examine may not have got an answer
	}
	c.children = list.children[c.shard.ID]
	c.log.WarnContext(ctx, "shard has left the retention period, what was unread in it is lost", "position", c.next,
		"range_start", c.shard.HashKeyRange.Start, "range_end", c.shard.HashKeyRange.End)
	return ended
}

// examine asks whether the stream is still there, unless another shard has just done so.
func (c *consumer) examine(ctx context.Context, cause error) {
	key := "asks"
	if errors.Is(cause, kcl.ErrAccessDenied) || errors.Is(cause, kcl.ErrStreamRecreated) {
		key = cause.Error() // does not ask, or need not
	}
	_ = c.stream.examined.Do(ctx, key, examineAge, func() error {
		if c.stream.err() == nil {
			c.s.examine(ctx, c.stream, cause)
		}
		return nil
	})
}

// registerAgain finds or makes a stream consumer in place of the one that was
// used, if nobody else has.
func (c *consumer) registerAgain(ctx context.Context, used string) error {
	if c.stream.consumer() != used {
		return nil
	}
	err := c.s.register(ctx, c.stream)
	if err == nil || ctx.Err() != nil {
		return err
	}
	c.log.ErrorContext(ctx, "stream consumer cannot be registered again", "err", err)
	if c.s.cfg.Fallback == FallbackPolling && !errors.Is(err, kcl.ErrStreamNotFound) {
		c.stream.refuse(used, err) // the shard was being read: it is polled, whatever the reason
	}
	return err
}

var errNoEnd = errors.New("the source ended without the end of the shard")

// read runs the source until it has nothing more. An error is one that the
// source calls final.
func (c *consumer) read(ctx, reading context.Context, src source) (outcome, error) {
	for batch, err := range src.Batches(reading, c.shard.ID, c.next) {
		switch {
		case ctx.Err() != nil:
			return lost, nil
		case c.stopping():
			return stopped, nil
		case err != nil:
			return done, err
		}
		c.meet(ctx, batch.Records)
		for piece := range c.pieces(batch) {
			if c.stopping() { // one piece is as long as a batch
				return stopped, nil
			}
			if out := c.deliver(ctx, piece); out != done {
				return out, nil
			}
		}
		if batch.End != nil {
			c.children = batch.End.Children
			return ended, nil
		}
		c.next = batch.Next
	}
	switch {
	case ctx.Err() != nil:
		return lost, nil
	case c.stopping():
		return stopped, nil
	}
	return done, errNoEnd
}

// meet tells when the record at the checkpoint, where reading starts, is not
// there any more: the service then starts at the oldest record without a word.
func (c *consumer) meet(ctx context.Context, records []kcl.Record) {
	if c.met || len(records) == 0 {
		return
	}
	c.met = true
	at, first := c.start.Checkpoint, records[0].Position()
	at.SubSequenceNumber = 0
	if at.IsZero() || at.IsSentinel() || first.Compare(at) <= 0 {
		return
	}
	c.log.WarnContext(ctx, "the record at the checkpoint has left the retention period; if more behind it was unread and as old, that is lost",
		"checkpoint", c.start.Checkpoint, "position", first, "arrived", records[0].ApproximateArrival())
}

// deliver hands one batch to the processor, as often as it takes.
func (c *consumer) deliver(ctx context.Context, batch kcl.Batch) outcome {
	expanded := c.expand(ctx, batch.Records)
	records := c.fresh(expanded)
	if len(records) == 0 {
		if len(expanded) == 0 && len(batch.Records) > 0 {
			c.passOver(batch.Records[len(batch.Records)-1].Position())
		}
		c.progress.processed(0, c.processed, batch.BehindLatest)
		c.checkpointInTime(ctx) // the shard may bring nothing for a while
		return done
	}
	c.last = records[len(records)-1].Position()
	records = c.decode(ctx, records)
	in := kcl.ProcessRecordsInput{
		Records: records, BehindLatest: batch.BehindLatest, AtShardEnd: batch.End != nil,
		ReceivedAt: batch.ReceivedAt, Checkpointer: c.checkpointer,
	}
	if batch.End != nil {
		in.Children = batch.End.Children
	}
	out := c.repeat(ctx, "process_records", func() error {
		in.DeliveredAt = time.Now()
		c.checkpointer.Delivered(c.last)
		failed := true // also when the processor panics
		defer func() {
			c.metrics.Processed(time.Since(in.DeliveredAt))
			if failed {
				c.checkpointer.Failed()
			}
		}()
		err := c.processor.ProcessRecords(ctx, in)
		failed = err != nil
		return err
	})
	if out != done {
		return out
	}
	c.processed = c.last
	size := 0
	for i := range records {
		size += len(records[i].Data())
	}
	c.holder.Delivered(size)
	c.progress.processed(len(records), c.processed, batch.BehindLatest)
	c.checkpointInTime(ctx)
	return done
}

// fresh drops the records up to the checkpoint, or up to the last one that was
// delivered should the source bring one twice.
func (c *consumer) fresh(records []kcl.Record) []kcl.Record {
	for i, r := range records {
		if r.Position().Compare(c.last) > 0 {
			return records[i:]
		}
	}
	return nil
}

// checkpointInTime makes the checkpoint that is due, if the library makes any.
func (c *consumer) checkpointInTime(ctx context.Context) {
	if every := c.s.cfg.CheckpointInterval; every > 0 && time.Since(c.tried) >= every {
		c.autoCheckpoint(ctx)
	}
}

// autoCheckpoint records what was processed, unless the processor itself has
// recorded more.
func (c *consumer) autoCheckpoint(ctx context.Context) {
	c.tried = time.Now()
	if c.processed.Compare(c.checkpointer.Report().Last) <= 0 || c.processed.IsSentinel() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, autoCheckpointIn)
	defer cancel()
	err := c.checkpointer.CheckpointAt(ctx, c.processed)
	if err != nil && !errors.Is(err, kcl.ErrInvalidCheckpoint) && !errors.Is(err, kcl.ErrLeaseLost) {
		c.log.WarnContext(ctx, "checkpoint failed, it is tried again after a later batch", "err", err)
	}
}

// shutdownRequested lets the processor finish, with a live checkpointer: ctx
// has not ended merely because the worker stops.
func (c *consumer) shutdownRequested(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	select {
	case <-c.stream.stopped: // for which the holder keeps no time
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.s.cfg.ShutdownTimeout, kcl.ErrShutdownTimeout)
		defer cancel()
	default:
	}
	err := c.call("shutdown_requested", func() error {
		return c.processor.ShutdownRequested(ctx, kcl.ShutdownRequestedInput{Checkpointer: c.checkpointer})
	})
	if err != nil {
		c.logFailure(ctx, slog.LevelError, "shutdown_requested", err, 0)
	}
	if c.s.cfg.CheckpointInterval > 0 && ctx.Err() == nil {
		c.autoCheckpoint(ctx)
	}
	c.log.InfoContext(ctx, "shard consumer finished on request", "checkpoint", c.checkpointer.Report().Last)
}

// leaseLost tells the processor, which is in no other call. Its context has
// ended, so this call gets one of its own.
func (c *consumer) leaseLost(ctx context.Context) {
	c.log.WarnContext(ctx, "lease lost, shard consumer ends", "lease_owner", c.holder.Lease().Owner)
	if c.processor == nil {
		return
	}
	own, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), c.s.cfg.ShutdownTimeout, kcl.ErrShutdownTimeout)
	defer cancel()
	err := c.call("lease_lost", func() error {
		c.processor.LeaseLost(own, kcl.LeaseLostInput{})
		return nil
	})
	if err != nil {
		c.logFailure(ctx, slog.LevelError, "lease_lost", err, 0)
	}
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
func (c *consumer) warnUncheckpointed(ctx context.Context, now time.Time) {
	r := c.report()
	if c.s.cfg.CheckpointInterval > 0 || r.OpenSince.IsZero() || now.Sub(r.OpenSince) < uncheckpointed || now.Sub(c.warned) < uncheckpointed {
		return
	}
	c.warned = now
	c.log.WarnContext(ctx, "records are delivered and nothing is checkpointed: call Checkpoint in the processor, or set CheckpointInterval", "since", r.OpenSince, "checkpoint", r.Last)
}
