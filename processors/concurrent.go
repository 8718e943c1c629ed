package processors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
)

// The defaults of ConcurrentOptions.
const (
	DefaultLanes      = 8
	DefaultMaxBatch   = 100
	DefaultMaxRecords = 10_000
	DefaultMaxBytes   = 16 << 20

	DefaultDrainTimeout = 20 * time.Second
)

// ConcurrentOptions change what [Concurrent] does. Values of zero and less are the defaults.
type ConcurrentOptions struct {
	// Lanes is how many keys can be processed at a time. There is one more lane, for the records
	// without a key. Defaults to 8 (DefaultLanes).
	Lanes int
	// MaxBatch is the most records in one call of a lane's processor. The records of a call are
	// finished together: a smaller number makes checkpoints more exact, and a larger one makes
	// fewer calls. Defaults to 100 (DefaultMaxBatch).
	MaxBatch int
	// MaxRecords and MaxBytes bound the records in flight. These are the first record that is not
	// processed and all records after it. After a crash they come again, and so do the records that
	// Checkpoints leaves open. A larger record comes alone. They default to 10,000
	// (DefaultMaxRecords) and 16 MiB (DefaultMaxBytes).
	MaxRecords int
	MaxBytes   int64
	// DrainTimeout is how long a stop waits for the lanes to process their records. Then their
	// context ends, and the processed records are checkpointed. Keep it below
	// scheduler.Config.ShutdownTimeout, after which nothing can be checkpointed. Defaults to 20s
	// (DefaultDrainTimeout).
	DrainTimeout time.Duration
	// Key returns the key that orders a record, and false if the record has none. nil means the
	// partition key. All records without a key share a lane and stay in order. On a stream that
	// distributes records automatically, no record has a partition key: nothing runs concurrently
	// there unless Key takes the key from the data. Return the sequence number for records that
	// need no order. Key must not block.
	Key func(r kcl.Record) (key string, ok bool)
	// Checkpoints says when to checkpoint. Defaults to every 5 seconds.
	Checkpoints Checkpoints
	// Logger gets the errors that are not returned. Defaults to slog.Default().
	Logger *slog.Logger
}

// Concurrent spreads the records of a shard over lanes by their key. The function lane makes a
// processor for each lane and gets its number, 0 to Lanes. One lane processes the records of one
// key in order; the lanes run at the same time. State that the processors share must be safe for
// concurrent use.
//
// ProcessRecords returns when there is room for the records, not when they are processed. A record
// counts as processed when its lane has checkpointed it, or when its lane's ProcessRecords has
// returned nil. If the lane itself holds records, as [Batch] does, only a checkpoint counts.
// Concurrent checkpoints the last record up to which all records are processed:
//
//	lane 0   1  .  .  4  .  6       1, 4 and 2 are processed, 3 is not:
//	lane 1   .  2  3  .  5  .       the checkpoint is at 2
//
// The checkpointer of a lane only tells Concurrent, and writes nothing. It refuses Prepare with
// errors.ErrUnsupported. AtShardEnd and Children are not set in a lane's batches.
//
// A lane that fails keeps its records, see [HeldError]. The next call gives the lane one more
// attempt. It accepts no record until that succeeds, and otherwise returns the error. That stops
// the shard; the other lanes finish their records. Between calls the lane tries again after a
// backoff. A panic in a lane is an error.
//
// When the worker stops, the shard is handed over or ends, the lanes finish their records before
// the last checkpoint. Their context ends when the lease is lost and when the time for a stop is
// over. A lane has a goroutine only while it has records.
func Concurrent(lane func(number int) kcl.Processor, o ConcurrentOptions) kcl.Processor {
	o.Lanes = cmp.Or(max(o.Lanes, 0), DefaultLanes)
	o.MaxBatch = cmp.Or(max(o.MaxBatch, 0), DefaultMaxBatch)
	o.MaxRecords = cmp.Or(max(o.MaxRecords, 0), DefaultMaxRecords)
	o.MaxBytes = cmp.Or(max(o.MaxBytes, 0), DefaultMaxBytes)
	o.DrainTimeout = cmp.Or(max(o.DrainTimeout, 0), DefaultDrainTimeout)
	if o.Key == nil {
		o.Key = kcl.Record.PartitionKey
	}
	o.Logger = orDefault(o.Logger)
	c := &concurrent{
		o: o, seed: maphash.MakeSeed(), saver: newSaver(o.Checkpoints, o.Logger),
		changed: make(chan struct{}, 1), counts: make([]int, o.Lanes+1),
	}
	for i := range o.Lanes + 1 {
		c.lanes = append(c.lanes, newLane(c, lane(i)))
	}
	return c
}

// errStopped ends the lanes that still fail after the last attempt in a stop.
var errStopped = errors.New("processors: the lanes were stopped before they had processed all records")

type concurrent struct {
	o       ConcurrentOptions
	lanes   []*lane
	seed    maphash.Seed
	saver   *saver
	changed chan struct{}           // wakes the call that waits; holds one token
	start   func(*lane)             // starts the goroutine of a lane
	cancel  context.CancelCauseFunc // ends the goroutines of the lanes

	// The fields below belong to the calls.
	initialized, ended int // numbers of lanes
	accepted           kcl.ExtendedSequenceNumber
	laneOf             []int32 // memory that accept uses again
	counts             []int   // likewise

	mu      sync.Mutex // guards the fields below, and those of the lanes
	pieces  []*piece   // in flight, in order
	records int        // in flight
	bytes   int64      // likewise
	lost    bool       // LeaseLost was called
}

// piece is the records that were accepted together.
type piece struct {
	records  []kcl.Record // in the order of the shard
	finished []bool
	next     int // the first one that is not finished
}

func (c *concurrent) Initialize(ctx context.Context, in kcl.InitializeInput) error {
	if c.start == nil {
		lanes, cancel := context.WithCancelCause(ctx)
		c.cancel = cancel
		c.start = func(l *lane) { go l.run(lanes) } // ends when the lane is empty, or with its context
		c.accepted = in.Checkpoint
	}
	for c.initialized < len(c.lanes) {
		l := c.lanes[c.initialized]
		l.delivered, l.done = in.Checkpoint, in.Checkpoint
		if err := l.processor.Initialize(ctx, in); err != nil {
			return fmt.Errorf("lane %d: %w", c.initialized, err)
		}
		c.initialized++
	}
	return nil
}

func (c *concurrent) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	c.saver.use(in.Checkpointer)
	hold(in.Checkpointer)
	if err := c.retryFailed(ctx); err != nil {
		return err
	}
	for records := after(in.Records, c.accepted); len(records) > 0; {
		n, err := c.room(ctx, records)
		if err != nil {
			return err
		}
		c.accept(in, records[:n])
		c.accepted = records[n-1].Position()
		records = records[n:]
	}
	return nil
}

// signal wakes the call that waits, if there is one.
func (c *concurrent) signal() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// wait returns when cond is true. It calls cond with the lock held.
func (c *concurrent) wait(ctx context.Context, cond func() bool) error {
	for {
		c.mu.Lock()
		ok := cond()
		c.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-c.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// room waits until some of the records fit and returns how many do. If a lane has failed meanwhile,
// it returns the error.
func (c *concurrent) room(ctx context.Context, records []kcl.Record) (n int, err error) {
	var failed error
	err = c.wait(ctx, func() bool {
		if failed = c.failedLocked(); failed != nil {
			return true
		}
		blocked := false
		for _, l := range c.lanes {
			if l.openErr == nil {
				continue
			}
			if !l.returned { // the error is returned once; nothing is accepted until the lane succeeds
				l.returned, failed = true, l.openErr
				return true
			}
			blocked = true
		}
		if blocked {
			return false
		}
		left, bytes := min(c.o.MaxRecords-c.records, len(records)), c.o.MaxBytes-c.bytes
		for n = 0; n < left; n++ {
			if bytes -= int64(len(records[n].Data())); bytes < 0 {
				break
			}
		}
		if n == 0 && c.records == 0 {
			n = 1
		}
		return n > 0
	})
	return n, errors.Join(err, failed)
}

func (c *concurrent) failedLocked() error {
	for _, l := range c.lanes {
		if l.failed != nil {
			return l.failed
		}
	}
	return nil
}

// accept gives the records to their lanes. It makes a few allocations for all of them together.
func (c *concurrent) accept(in kcl.ProcessRecordsInput, records []kcl.Record) {
	clear(c.counts)
	c.laneOf = c.laneOf[:0]
	for i := range records {
		n := c.o.Lanes
		if key, ok := c.o.Key(records[i]); ok {
			n = int(maphash.String(c.seed, key) % uint64(c.o.Lanes))
		}
		c.laneOf = append(c.laneOf, int32(n))
		c.counts[n]++
	}
	p := &piece{records: records, finished: make([]bool, len(records))}
	sorted, index := make([]kcl.Record, len(records)), make([]int32, len(records))
	end := 0
	for n, count := range c.counts {
		c.counts[n] = end // the place of the lane's next record
		end += count
	}
	for i, n := range c.laneOf {
		at := c.counts[n]
		sorted[at], index[at] = records[i], int32(i)
		c.counts[n]++
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.pieces = append(c.pieces, p)
	c.records += len(records)
	c.bytes += size(records)
	from := 0
	for n, to := range c.counts {
		if to > from {
			l := c.lanes[n]
			l.queue = append(l.queue, chunk{piece: p, records: sorted[from:to:to], index: index[from:to], in: &in})
			c.startLocked(l)
		}
		from = to
	}
}

func (c *concurrent) startLocked(l *lane) {
	if !l.running && len(l.queue) > 0 {
		l.running = true
		c.start(l)
	}
}

// finishLocked marks the records of a chunk as finished. It returns the new watermark, and how many
// records and bytes it has passed. The watermark is the position of the last record before which
// all are finished. The result is zero if the watermark does not move.
func (c *concurrent) finishLocked(ch chunk) (pos kcl.ExtendedSequenceNumber, records int, bytes int64) {
	for _, i := range ch.index {
		ch.piece.finished[i] = true
	}
	for len(c.pieces) > 0 {
		p := c.pieces[0]
		from := p.next
		for p.next < len(p.records) && p.finished[p.next] {
			p.next++
		}
		if p.next > from {
			pos = p.records[p.next-1].Position()
			records += p.next - from
			bytes += size(p.records[from:p.next])
		}
		if p.next < len(p.records) {
			break
		}
		c.pieces[0] = nil
		c.pieces = c.pieces[1:]
	}
	c.records -= records
	c.bytes -= bytes
	return pos, records, bytes
}

// finish marks the records of a chunk and checkpoints when that is due.
func (c *concurrent) finish(ctx context.Context, chunks ...chunk) {
	for _, ch := range chunks {
		c.mu.Lock()
		pos, records, bytes := c.finishLocked(ch)
		c.mu.Unlock()
		if records > 0 {
			c.signal()
			c.saver.add(ctx, pos, records, bytes)
		}
	}
}

// retryFailed gives every failed lane one more attempt. It returns the error of a lane that still
// fails.
func (c *concurrent) retryFailed(ctx context.Context) error {
	tries := make(map[*lane]uint64)
	c.mu.Lock()
	for _, l := range c.lanes {
		if l.failed != nil {
			tries[l] = l.tries
			l.nudge()
		}
	}
	c.mu.Unlock()
	if len(tries) == 0 {
		return nil
	}
	var failed error
	if err := c.wait(ctx, func() bool {
		failed = nil
		for l, n := range tries {
			if l.failed != nil && l.tries == n && l.running {
				return false
			}
			if l.failed != nil {
				failed = l.failed
			}
		}
		return true
	}); err != nil {
		return err
	}
	return failed
}

// drain waits until every lane is empty, or has failed once more.
func (c *concurrent) drain(ctx context.Context) error {
	if err := c.retryFailed(ctx); err != nil {
		return errors.Join(err, c.settled(ctx))
	}
	if err := c.settled(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lanes {
		if len(l.queue) > 0 && l.failed == nil {
			return errStopped // the context of the lanes has ended, and that of this call has not
		}
	}
	return c.failedLocked()
}

// settled waits until every lane is empty or fails.
func (c *concurrent) settled(ctx context.Context) error {
	return c.wait(ctx, func() bool {
		for _, l := range c.lanes {
			if l.running && l.failed == nil {
				return false
			}
		}
		return true
	})
}

// stopped waits until no lane has a goroutine.
func (c *concurrent) stopped(ctx context.Context) error {
	return c.wait(ctx, func() bool {
		for _, l := range c.lanes {
			if l.running {
				return false
			}
		}
		return true
	})
}

// LeaseLost waits for the lanes, even if they ignore their context. After LeaseLost the worker may
// read the shard again.
func (c *concurrent) LeaseLost(ctx context.Context, in kcl.LeaseLostInput) {
	if c.cancel == nil {
		return
	}
	c.mu.Lock()
	c.lost = true
	c.mu.Unlock()
	c.cancel(kcl.ErrLeaseLost)
	_ = c.stopped(context.WithoutCancel(ctx))
	c.saver.stop(ctx)
	for i, l := range c.lanes[:c.initialized] {
		if err := contain(func() error { l.processor.LeaseLost(ctx, in); return nil }); err != nil {
			c.o.Logger.WarnContext(ctx, "lane panicked", "lane", i, "method", "lease_lost", "err", err)
		}
	}
}

func (c *concurrent) ShardEnded(ctx context.Context, in kcl.ShardEndedInput) error {
	c.saver.use(in.Checkpointer)
	if err := c.drain(ctx); err != nil {
		return err
	}
	for c.ended < len(c.lanes) {
		l := c.lanes[c.ended]
		in := in
		in.Checkpointer = l
		if err := contain(func() error { return l.processor.ShardEnded(ctx, in) }); err != nil {
			return err
		}
		l.finishAll(ctx)
		c.ended++
	}
	if err := c.saver.finish(ctx, in.Checkpointer); err != nil {
		return err
	}
	c.cancel(nil)
	return nil
}

func (c *concurrent) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	c.saver.use(in.Checkpointer)
	draining, cancel := context.WithTimeoutCause(ctx, c.o.DrainTimeout, errStopped)
	defer cancel()
	errs := []error{c.drain(draining)}
	c.cancel(errStopped)
	if err := c.stopped(ctx); err != nil {
		return errors.Join(errs[0], err)
	}
	for _, l := range c.lanes[:c.initialized] {
		in := in
		in.Checkpointer = l
		errs = append(errs, contain(func() error { return l.processor.ShutdownRequested(ctx, in) }))
	}
	return errors.Join(append(errs, c.saver.finish(ctx, in.Checkpointer))...)
}
