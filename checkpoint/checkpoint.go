// Package checkpoint decides which positions of a shard may be recorded as processed, and hands
// them to a [Writer]. It matches the KCL's ShardRecordProcessorCheckpointer and its prepared
// checkpoints. The scheduler makes one [Checkpointer] for each lease that it holds. It tells the
// Checkpointer which records it delivers, and closes it when the lease ends. The processor gets it
// as a [kcl.Checkpointer].
//
// A position may be recorded if it is at or after the last checkpoint and at or before the last
// record delivered. Only the library writes SHARD_END, with [Checkpointer.End].
//
//	last checkpoint ........ accepted ........ last delivered
//
// A checkpoint without a position records the last record delivered. If the processor failed with
// the last batch, it records the last record before that batch.
//
// Writes run one after another, so that a slow write of an early position cannot land on top of a
// later one. A write with an unknown outcome may have happened. So no earlier position is accepted
// after it, and it can be repeated.
package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/metrics"
)

// Writer records positions in the lease table. The scheduler passes the holder of the lease. A
// Writer writes only while the lease is held, and returns an error that wraps [kcl.ErrLeaseLost]
// when the lease is lost. After any other error the write may have happened or not.
type Writer interface {
	// Checkpoint writes pos and removes a pending checkpoint.
	Checkpoint(ctx context.Context, pos kcl.ExtendedSequenceNumber) error
	// Prepare writes pos as the pending checkpoint, with state.
	Prepare(ctx context.Context, pos kcl.ExtendedSequenceNumber, state []byte) error
}

// MaxState is how many bytes of application state [Checkpointer.Prepare] takes.
const MaxState = 1024

// Checkpointer is the [kcl.Checkpointer] of one shard and one lease. All its methods are safe for
// concurrent use.
type Checkpointer struct {
	writer  Writer
	metrics *metrics.Shard
	slot    chan struct{} // holds one token while a write is under way

	mu        sync.Mutex // guards the fields below
	last      kcl.ExtendedSequenceNumber
	lastAt    time.Time
	floor     kcl.ExtendedSequenceNumber // last, or a later write whose outcome is not known
	delivered kcl.ExtendedSequenceNumber // the last record handed to the processor
	processed kcl.ExtendedSequenceNumber // the last record before the batch that was delivered last
	failed    bool                       // the batch that was delivered last has failed
	open      time.Time                  // see Report.OpenSince
	pending   bool                       // a pending checkpoint may stand in the row
	ended     bool
	closed    error
	since     time.Time // when the running write began; zero when there is none
	failing   time.Time // since when every write has failed; zero after a success
	failure   error     // of the last write that failed
}

var _ kcl.Checkpointer = (*Checkpointer)(nil)

// New returns a Checkpointer for a shard whose last checkpoint is start, a
// number or a sentinel. Nothing counts as delivered yet. m may be nil.
func New(writer Writer, start kcl.ExtendedSequenceNumber, m *metrics.Shard) *Checkpointer {
	return &Checkpointer{
		writer: writer, metrics: m, slot: make(chan struct{}, 1),
		last: start, lastAt: time.Now(), floor: start, delivered: start, processed: start,
	}
}

// Delivered says that records up to pos are about to be handed to the processor. From then on they
// may be checkpointed. A lower pos changes nothing, except after [Checkpointer.Failed].
func (c *Checkpointer) Delivered(pos kcl.ExtendedSequenceNumber) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.failed {
		c.processed = c.delivered
	}
	c.failed = false
	if pos.Compare(c.delivered) > 0 {
		c.delivered = pos
		if c.open.IsZero() {
			c.open = time.Now()
		}
	}
}

// Failed says that the processor failed with the batch that was delivered last. Until the batch is
// delivered again, a checkpoint without a position leaves it out. Positions inside the batch are
// still accepted, because the processor may have processed a part of it.
func (c *Checkpointer) Failed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = true
}

// everythingLocked is the position that a checkpoint without a position records.
func (c *Checkpointer) everythingLocked() kcl.ExtendedSequenceNumber {
	if !c.failed {
		return c.delivered
	}
	if c.processed.Compare(c.floor) < 0 {
		return c.floor // the processor itself has recorded a part of the batch
	}
	return c.processed
}

// Checkpoint records everything that was delivered so far, except a batch that failed. It does
// nothing before the first record.
func (c *Checkpointer) Checkpoint(ctx context.Context) error {
	return c.write(ctx, "checkpoint", func() (kcl.ExtendedSequenceNumber, error) {
		if c.ended {
			return kcl.ExtendedSequenceNumber{}, errEnded
		}
		return c.everythingLocked(), nil
	}, c.writer.Checkpoint)
}

// CheckpointAt records everything up to and including position. It must be the position of a
// delivered record and not lie before the last checkpoint. Otherwise the error wraps
// [kcl.ErrInvalidCheckpoint] and names both limits.
func (c *Checkpointer) CheckpointAt(ctx context.Context, position kcl.ExtendedSequenceNumber) error {
	return c.write(ctx, "checkpoint", func() (kcl.ExtendedSequenceNumber, error) {
		return position, c.checkLocked(position)
	}, c.writer.Checkpoint)
}

// Prepare writes position as the pending checkpoint, with at most [MaxState] bytes of state. A zero
// position means everything delivered so far.
func (c *Checkpointer) Prepare(
	ctx context.Context, position kcl.ExtendedSequenceNumber, state []byte,
) (kcl.PreparedCheckpointer, error) {
	p := &prepared{c: c}
	err := c.write(ctx, "prepare", func() (kcl.ExtendedSequenceNumber, error) {
		if position.IsZero() {
			position = c.everythingLocked()
		}
		p.pos = position
		if len(state) > MaxState {
			return position, fmt.Errorf("%w: %d bytes of state, at most %d are possible",
				kcl.ErrInvalidCheckpoint, len(state), MaxState)
		}
		return position, c.checkLocked(position)
	}, func(ctx context.Context, pos kcl.ExtendedSequenceNumber) error {
		return c.writer.Prepare(ctx, pos, state)
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// End writes SHARD_END. The scheduler calls it when the processor has processed every record and
// the children have leases. After End nothing else is accepted. End may be repeated after an error.
func (c *Checkpointer) End(ctx context.Context) error {
	end := kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}
	return c.write(ctx, "checkpoint", func() (kcl.ExtendedSequenceNumber, error) {
		c.ended = true
		return end, nil
	}, c.writer.Checkpoint)
}

// Close makes every later call fail with err. It does not interrupt a running write: the fencing of
// the lease decides about that.
func (c *Checkpointer) Close(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == nil {
		c.closed = err
	}
}

// Settled returns when no write is running. If ctx ends first, it returns the cause of ctx. After
// [Checkpointer.Close] no new write begins.
func (c *Checkpointer) Settled(ctx context.Context) error {
	select {
	case c.slot <- struct{}{}:
		<-c.slot
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Report says how the writes of a [Checkpointer] go.
type Report struct {
	// Last is the last checkpoint that the store has accepted. Before the first one it is the
	// position where the lease began.
	Last kcl.ExtendedSequenceNumber
	// LastAt is when Last was accepted, by the local clock.
	LastAt time.Time
	// Delivered is the position of the last record handed to the processor.
	Delivered kcl.ExtendedSequenceNumber
	// OpenSince is when the first record after the last checkpoint was handed to the processor. It
	// is the time of the last checkpoint if that did not cover all delivered records. It is zero if
	// every delivered record is checkpointed.
	OpenSince time.Time
	// WritingSince is when the running write began. It is zero when there is none.
	WritingSince time.Time
	// FailingSince is when the first of an unbroken row of failed writes began. It is zero after a
	// success.
	FailingSince time.Time
	// Failure is the error of the last failed write. It is nil after a success.
	Failure error
}

// Report says how the writes go.
func (c *Checkpointer) Report() Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Report{
		Last: c.last, LastAt: c.lastAt, Delivered: c.delivered, OpenSince: c.open,
		WritingSince: c.since, FailingSince: c.failing, Failure: c.failure,
	}
}

var errEnded = fmt.Errorf("%w: the shard has ended and its SHARD_END was written", kcl.ErrInvalidCheckpoint)

// checkLocked tells whether pos may be recorded.
func (c *Checkpointer) checkLocked(pos kcl.ExtendedSequenceNumber) error {
	if c.ended {
		return errEnded
	}
	if err := pos.Validate(); err != nil {
		return fmt.Errorf("%w: %w", kcl.ErrInvalidCheckpoint, err)
	}
	if pos.IsSentinel() {
		return fmt.Errorf("%w: %s is not the position of a record; the library writes SHARD_END itself",
			kcl.ErrInvalidCheckpoint, pos)
	}
	if pos.Compare(c.floor) < 0 || pos.Compare(c.delivered) > 0 {
		return fmt.Errorf("%w: %s is outside %s (last checkpoint) to %s (last record delivered)",
			kcl.ErrInvalidCheckpoint, pos, c.floor, c.delivered)
	}
	return nil
}

// write waits for the running write, asks choose for a position while it holds the lock, and calls
// put without the lock.
func (c *Checkpointer) write(
	ctx context.Context, op string, choose func() (kcl.ExtendedSequenceNumber, error),
	put func(context.Context, kcl.ExtendedSequenceNumber) error,
) error {
	// The order of these checks decides the answer when both the lease and ctx have ended.
	if err := c.closedErr(); err != nil {
		c.metrics.Checkpointed("lost", 0)
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case c.slot <- struct{}{}:
		defer func() { <-c.slot }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}

	start := time.Now()
	pos, skip, err := c.begin(op, start, choose)
	switch {
	case errors.Is(err, kcl.ErrInvalidCheckpoint):
		c.metrics.Checkpointed("rejected", 0)
		return err
	case err != nil:
		c.metrics.Checkpointed("lost", 0)
		return err
	case skip:
		return nil
	}
	err = put(ctx, pos)
	took := time.Since(start)
	result := c.finish(op, start, pos, err)
	c.metrics.Checkpointed(result, took)
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, pos, err)
	}
	return nil
}

// begin chooses the position and marks a write as running. skip says that there is nothing to
// write.
func (c *Checkpointer) begin(
	op string, now time.Time, choose func() (kcl.ExtendedSequenceNumber, error),
) (pos kcl.ExtendedSequenceNumber, skip bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return pos, false, c.closed
	}
	if pos, err = choose(); err != nil {
		return pos, false, err
	}
	if op == "checkpoint" {
		// No record was delivered, or the row has the position already.
		if pos == c.last && (!c.pending || pos.IsSentinel()) {
			return pos, true, nil
		}
		if pos.Compare(c.floor) > 0 {
			c.floor = pos
		}
	} else {
		c.pending = true
	}
	c.since = now
	return pos, false, nil
}

// finish records the outcome of a write and returns the value of the metric's label.
func (c *Checkpointer) finish(op string, start time.Time, pos kcl.ExtendedSequenceNumber, err error) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Time{}
	switch {
	case err == nil:
		c.failing, c.failure = time.Time{}, nil
		if op == "checkpoint" {
			c.last, c.lastAt, c.pending = pos, time.Now(), false
			c.open = time.Time{}
			if pos.Compare(c.delivered) < 0 {
				c.open = c.lastAt
			}
		}
		return "ok"
	case errors.Is(err, kcl.ErrLeaseLost):
		if c.closed == nil {
			c.closed = kcl.ErrLeaseLost
		}
		return "lost"
	}
	if c.failing.IsZero() {
		c.failing = start
	}
	c.failure = err
	return "error"
}

func (c *Checkpointer) closedErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// prepared is a [kcl.PreparedCheckpointer].
type prepared struct {
	c   *Checkpointer
	pos kcl.ExtendedSequenceNumber
}

func (p *prepared) Pending() kcl.ExtendedSequenceNumber { return p.pos }

func (p *prepared) Commit(ctx context.Context) error { return p.c.CheckpointAt(ctx, p.pos) }
