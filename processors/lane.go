package processors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
)

// chunk is a part of a piece: records of one lane.
type chunk struct {
	piece   *piece
	records []kcl.Record
	index   []int32 // their places in the piece
	in      *kcl.ProcessRecordsInput
}

// cut splits a chunk after its first n records.
func (ch chunk) cut(n int) (first, rest chunk) {
	first, rest = ch, ch
	first.records, first.index = ch.records[:n:n], ch.index[:n]
	rest.records, rest.index = ch.records[n:], ch.index[n:]
	return first, rest
}

// split cuts a chunk after pos.
func (ch chunk) split(pos kcl.ExtendedSequenceNumber) (first, rest chunk) {
	n := 0
	for n < len(ch.records) && ch.records[n].Position().Compare(pos) <= 0 {
		n++
	}
	return ch.cut(n)
}

// lane is one of the lanes of a concurrent. It is also the checkpointer of its processor. The mutex
// of the concurrent guards its fields.
//
//	idle -> running -> idle            the queue is empty
//	        running -> failed          the first chunk has failed; waits, or is woken
//	                   failed -> running, failed
type lane struct {
	c         *concurrent
	processor kcl.Processor
	wake      chan struct{} // ends the wait after a failure; holds one token

	queue     []chunk
	running   bool                       // the lane has a goroutine
	failed    error                      // set until all records that failed have succeeded
	failedTo  kcl.ExtendedSequenceNumber // the last record that failed
	tries     uint64                     // calls that failed
	width     int                        // after a failure: how many records are handed on; 0 for all
	drop      kcl.ExtendedSequenceNumber
	delivered kcl.ExtendedSequenceNumber // the last record that the processor got
	done      kcl.ExtendedSequenceNumber // the last record of a call that succeeded

	upto     kcl.ExtendedSequenceNumber // the processor has checkpointed records up to here
	holds    bool                       // the processor keeps records after the call
	open     []chunk                    // records that the processor keeps
	openErr  error                      // of the records in open, reported between the calls
	returned bool                       // a call has returned openErr
}

var _ kcl.Checkpointer = (*lane)(nil)

func newLane(c *concurrent, p kcl.Processor) *lane {
	return &lane{c: c, processor: p, wake: make(chan struct{}, 1)}
}

func (l *lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run is the lane's goroutine.
func (l *lane) run(ctx context.Context) {
	var backoff *retry.Backoff
	for {
		ch, ok := l.next(ctx)
		if !ok {
			return
		}
		in := part(*ch.in, ch.records, false, l)
		in.DeliveredAt = time.Now()
		err := contain(func() error { return l.processor.ProcessRecords(ctx, in) })
		if err == nil {
			backoff = nil
			l.succeeded(ctx, ch)
			continue
		}
		l.fail(ctx, ch, err)
		if errors.Is(err, kcl.ErrRestart) {
			l.halt()
			return
		}
		if backoff == nil || len(ch.records) > 1 { // the next attempt has half as many; a single one waits longer
			backoff = retry.New(firstBackoff, maxBackoff)
		}
		timer := time.NewTimer(backoff.Next())
		select {
		case <-timer.C:
		case <-l.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// halt ends the goroutine of a lane whose processor returned kcl.ErrRestart. The next call returns
// the error, and the whole processor is replaced.
func (l *lane) halt() {
	l.c.mu.Lock()
	l.running = false
	l.c.mu.Unlock()
	l.c.signal()
}

// next returns the next chunk for the processor. If it returns false, the goroutine ends.
func (l *lane) next(ctx context.Context) (chunk, bool) {
	for {
		l.c.mu.Lock()
		if len(l.queue) == 0 || ctx.Err() != nil {
			l.running = false
			l.c.mu.Unlock()
			l.c.signal()
			return chunk{}, false
		}
		n := min(len(l.queue[0].records), l.c.o.MaxBatch)
		if l.width > 0 {
			n = min(n, l.width)
		}
		ch, _ := l.queue[0].cut(n)
		first := ch.records[0].Position()
		dropped := n == 1 && first == l.drop
		l.drop = kcl.ExtendedSequenceNumber{}
		if !dropped {
			l.delivered = later(l.delivered, last(ch.records))
			l.c.mu.Unlock()
			return ch, true
		}
		l.popLocked(n)
		recovered := l.failed == nil
		l.c.mu.Unlock()
		l.c.finish(ctx, ch)
		l.recovered(recovered)
	}
}

// popLocked removes the first n records from the queue. It clears the failure if all failed records
// are removed.
func (l *lane) popLocked(n int) {
	first, rest := l.queue[0].cut(n)
	l.done = last(first.records)
	if l.queue[0] = rest; len(rest.records) == 0 {
		l.queue[0] = chunk{}
		l.queue = l.queue[1:]
		l.width = 0
	}
	l.width *= 2
	if l.done.Compare(l.failedTo) >= 0 {
		l.failed = nil
	}
}

func (l *lane) succeeded(ctx context.Context, ch chunk) {
	l.c.mu.Lock()
	recovered := l.failed != nil
	l.popLocked(len(ch.records))
	recovered = recovered && l.failed == nil
	holds := l.holds
	if holds {
		l.open = append(l.open, ch)
	}
	l.c.mu.Unlock()
	l.recovered(recovered)
	if holds {
		l.settle(ctx)
	} else {
		l.c.finish(ctx, ch)
	}
}

// recovered wakes the waiting call, because the lane no longer fails.
func (l *lane) recovered(yes bool) {
	if yes {
		l.c.signal()
		report(l.c.saver.checkpointer(), nil)
	}
}

// fail notes that the processor has failed with ch.
func (l *lane) fail(ctx context.Context, ch chunk, err error) {
	held, isHeld := errors.AsType[*HeldError](err)
	if !isHeld {
		first := ch.records[0].Position()
		held = &HeldError{Records: ch.records, Err: err, drop: func() {
			l.c.mu.Lock()
			defer l.c.mu.Unlock()
			l.drop = first
			l.nudge()
		}}
	}
	l.c.mu.Lock()
	l.failed, l.failedTo = held, later(l.failedTo, last(ch.records))
	l.tries++
	if !isHeld {
		l.width = max(1, len(ch.records)/2)
	}
	l.c.mu.Unlock()
	l.c.signal()
	report(l.c.saver.checkpointer(), held)
	if p, ok := errors.AsType[*PanicError](err); ok && ctx.Err() == nil {
		l.c.o.Logger.WarnContext(ctx, "lane panicked", "err", err, "stack", string(p.Stack))
	}
}

func (l *lane) hold() {
	l.c.mu.Lock()
	l.holds = true
	l.c.mu.Unlock()
}

func (l *lane) report(err error) {
	l.c.mu.Lock()
	l.openErr, l.returned = err, false
	l.c.mu.Unlock()
	l.c.signal()
}

// settle finishes the records that the lane has checkpointed.
func (l *lane) settle(ctx context.Context) {
	l.c.mu.Lock()
	var closed []chunk
	for len(l.open) > 0 {
		first, rest := l.open[0].split(l.upto)
		closed = append(closed, first)
		if l.open[0] = rest; len(rest.records) > 0 {
			break
		}
		l.open = l.open[1:]
	}
	if len(l.queue) > 0 {
		// The records belong to a running or failed call. They are finished now, stay in the
		// queue, and may be finished again.
		first, _ := l.queue[0].split(l.upto)
		closed = append(closed, first)
	}
	l.c.mu.Unlock()
	l.c.finish(ctx, closed...)
}

// finishAll is called when the processor has agreed to the end of the shard.
func (l *lane) finishAll(ctx context.Context) {
	l.c.mu.Lock()
	open := l.open
	l.open = nil
	l.c.mu.Unlock()
	l.c.finish(ctx, open...)
}

// Checkpoint says that every record delivered to the lane is processed, except those that failed.
func (l *lane) Checkpoint(ctx context.Context) error {
	l.c.mu.Lock()
	pos := l.delivered
	if l.failed != nil {
		pos = l.done
	}
	l.c.mu.Unlock()
	return l.CheckpointAt(ctx, pos)
}

func (l *lane) CheckpointAt(ctx context.Context, pos kcl.ExtendedSequenceNumber) error {
	l.c.mu.Lock()
	lost, delivered := l.c.lost, l.delivered
	if !lost && pos.Compare(delivered) <= 0 {
		l.upto = later(l.upto, pos)
	}
	l.c.mu.Unlock()
	switch {
	case lost:
		return kcl.ErrLeaseLost
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case pos.Compare(delivered) > 0:
		return fmt.Errorf("%w: %s is behind %s, the last record delivered to this lane",
			kcl.ErrInvalidCheckpoint, pos, delivered)
	}
	l.settle(ctx)
	return nil
}

func (l *lane) Prepare(context.Context, kcl.ExtendedSequenceNumber, []byte) (kcl.PreparedCheckpointer, error) {
	return nil, fmt.Errorf("processors: a lane cannot prepare a checkpoint: %w", errors.ErrUnsupported)
}
