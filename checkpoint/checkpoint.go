// Package checkpoint decides which positions of a shard may be recorded as
// processed, and hands them to a [Writer]. It matches the KCL's
// ShardRecordProcessorCheckpointer and its prepared checkpoints. The scheduler
// makes one [Checkpointer] for each lease that it holds, tells it what it
// delivers, and closes it when the lease is gone; the processor gets it as a
// [kcl.Checkpointer].
//
// What may be recorded: a position at or after the last checkpoint and at or
// before the last record delivered. SHARD_END is written by the library alone,
// with [Checkpointer.End].
//
//	last checkpoint ........ accepted ........ last delivered
//
// "Everything delivered so far" is the last delivered, unless the processor
// failed with that batch: then it is what was delivered before.
//
// Writes are serialised, so that a slow write of an early position cannot land
// on top of a later one. A write whose outcome is not known counts as if it
// might have happened: nothing before it is accepted any more, and it can be
// repeated.
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

// Writer records positions in the lease table; the scheduler passes
// the holder of the lease. Its writes are conditional on the lease, and it returns an error that wraps
// [kcl.ErrLeaseLost] when the lease is gone. Any other error leaves open
// whether the write happened.
type Writer interface {
	// Checkpoint writes pos and removes a pending checkpoint.
	Checkpoint(ctx context.Context, pos kcl.ExtendedSequenceNumber) error
	// Prepare writes pos as the pending checkpoint, with state.
	Prepare(ctx context.Context, pos kcl.ExtendedSequenceNumber, state []byte) error
}

// MaxState is how many bytes of application state [Checkpointer.Prepare]
// takes.
const MaxState = 1024

// Checkpointer is the [kcl.Checkpointer] of one shard and one lease. All its
// methods are safe for concurrent use.
type Checkpointer struct {
	writer  Writer
	metrics *metrics.Shard
	slot    chan struct{} // holds one token while a write is under way

	mu        sync.Mutex // guards the fields below
	last      kcl.ExtendedSequenceNumber
	lastAt    time.Time
	floor     kcl.ExtendedSequenceNumber // last, or a later write whose outcome is not known
	delivered kcl.ExtendedSequenceNumber // the last record handed to the processor
	done      kcl.ExtendedSequenceNumber // delivered, less the batch in hand
	failed    bool                       // the batch in hand has failed, and is delivered again
	open      time.Time                  // since when something is delivered and not checkpointed; moved on by every checkpoint
	pending   bool                       // a pending checkpoint may stand in the row
	ended     bool
	closed    error
	since     time.Time // when the write under way began; zero when there is none
	failing   time.Time // since when every write has failed; zero after a success
	failure   error     // the last one's error
}

var _ kcl.Checkpointer = (*Checkpointer)(nil)

// New returns a Checkpointer for a shard whose last checkpoint is start, a
// number or a sentinel. Nothing counts as delivered yet. m may be nil.
func New(writer Writer, start kcl.ExtendedSequenceNumber, m *metrics.Shard) *Checkpointer {
	return &Checkpointer{
		writer: writer, metrics: m, slot: make(chan struct{}, 1),
		last: start, lastAt: time.Now(), floor: start, delivered: start, done: start,
	}
}

// Delivered raises what may be checkpointed to pos, the position of the last
// record that is about to be handed to the processor. A lower pos changes
// nothing, but for a batch that is delivered again after [Checkpointer.Failed].
func (c *Checkpointer) Delivered(pos kcl.ExtendedSequenceNumber) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.failed {
		c.done = c.delivered
	}
	c.failed = false
	if pos.Compare(c.delivered) > 0 {
		c.delivered = pos
		if c.open.IsZero() {
			c.open = time.Now()
		}
	}
}

// Failed says that the processor did not process the batch that was delivered
// last. Until it is delivered again, "everything delivered so far" leaves it
// out; its single positions are accepted all the same, as the processor may
// have done a part of it.
func (c *Checkpointer) Failed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = true
}

// everythingLocked is what a checkpoint without a position records.
func (c *Checkpointer) everythingLocked() kcl.ExtendedSequenceNumber {
	if !c.failed {
		return c.delivered
	}
	if c.done.Compare(c.floor) < 0 {
		return c.floor // the processor itself has recorded a part of the batch
	}
	return c.done
}

// Checkpoint records everything that was delivered so far, except a batch that
// failed. Before the first record it does nothing.
func (c *Checkpointer) Checkpoint(ctx context.Context) error {
	return c.write(ctx, "checkpoint", func() (kcl.ExtendedSequenceNumber, error) {
		if c.ended {
			return kcl.ExtendedSequenceNumber{}, errEnded
		}
		return c.everythingLocked(), nil
	}, c.writer.Checkpoint)
}

// CheckpointAt records everything up to and including position, which must be
// that of a delivered record and not lie before the last checkpoint; otherwise
// the error wraps [kcl.ErrInvalidCheckpoint] and names both ends.
func (c *Checkpointer) CheckpointAt(ctx context.Context, position kcl.ExtendedSequenceNumber) error {
	return c.write(ctx, "checkpoint", func() (kcl.ExtendedSequenceNumber, error) {
		return position, c.checkLocked(position)
	}, c.writer.Checkpoint)
}

// Prepare writes position, or everything delivered so far if it is zero, as
// the pending checkpoint, with at most [MaxState] bytes of state.
func (c *Checkpointer) Prepare(ctx context.Context, position kcl.ExtendedSequenceNumber, state []byte) (kcl.PreparedCheckpointer, error) {
	p := &prepared{c: c}
	err := c.write(ctx, "prepare", func() (kcl.ExtendedSequenceNumber, error) {
		if position.IsZero() {
			position = c.everythingLocked()
		}
		p.pos = position
		if len(state) > MaxState {
			return position, fmt.Errorf("%w: %d bytes of state, at most %d are possible", kcl.ErrInvalidCheckpoint, len(state), MaxState)
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

// End writes SHARD_END. The scheduler calls it, once the processor is done
// with every record and the children's leases exist. After it nothing else is
// accepted; it may be repeated after an error.
func (c *Checkpointer) End(ctx context.Context) error {
	end := kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}
	return c.write(ctx, "checkpoint", func() (kcl.ExtendedSequenceNumber, error) {
		c.ended = true
		return end, nil
	}, c.writer.Checkpoint)
}

// Close makes every later call fail with err. Writes under way are not
// interrupted: the lease's own fencing decides about them.
func (c *Checkpointer) Close(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed == nil {
		c.closed = err
	}
}

// Settled returns when no write is under way, or with the cause of ctx when that
// ends first. After [Checkpointer.Close] none begins any more.
func (c *Checkpointer) Settled(ctx context.Context) error {
	select {
	case c.slot <- struct{}{}:
		<-c.slot
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Report is what a [Checkpointer] knows about its writes.
type Report struct {
	// Last is the last checkpoint that the store has taken, or where the lease
	// began, and LastAt when that was by the local clock.
	Last   kcl.ExtendedSequenceNumber
	LastAt time.Time
	// Delivered is the position of the last record handed to the processor.
	Delivered kcl.ExtendedSequenceNumber
	// OpenSince is when the first record after the last checkpoint was handed to
	// the processor, or the last checkpoint if that did not cover everything;
	// zero when nothing is left to be checkpointed.
	OpenSince time.Time
	// WritingSince is when the write under way began; zero when there is none.
	WritingSince time.Time
	// FailingSince is when the first of an unbroken row of failed writes began,
	// and Failure the error of the last one; zero and nil after a success.
	FailingSince time.Time
	Failure      error
}

// Report tells how the writes go.
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
		return fmt.Errorf("%w: %s is not the position of a record; the library writes SHARD_END itself", kcl.ErrInvalidCheckpoint, pos)
	}
	if pos.Compare(c.floor) < 0 || pos.Compare(c.delivered) > 0 {
		return fmt.Errorf("%w: %s is outside %s (last checkpoint) to %s (last record delivered)", kcl.ErrInvalidCheckpoint, pos, c.floor, c.delivered)
	}
	return nil
}

// write takes the slot, asks choose for a position while it holds the lock,
// and lets put write it without.
func (c *Checkpointer) write(ctx context.Context, op string, choose func() (kcl.ExtendedSequenceNumber, error), put func(context.Context, kcl.ExtendedSequenceNumber) error) error {
	// Asked first, so that a caller whose context has ended and a caller whose
	// lease is gone get one answer each, not whichever comes first.
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

// begin reports whether there is anything to write; it marks a write as begun.
func (c *Checkpointer) begin(op string, now time.Time, choose func() (kcl.ExtendedSequenceNumber, error)) (pos kcl.ExtendedSequenceNumber, skip bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed != nil {
		return pos, false, c.closed
	}
	if pos, err = choose(); err != nil {
		return pos, false, err
	}
	if op == "checkpoint" {
		// Nothing to say: no record was delivered, or it stands in the row already.
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

// finish records the outcome of a write and returns its name for the metric.
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
