package processors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
)

// chunk is the records of one lane in one piece.
type chunk struct {
	piece   *piece
	records []kcl.Record
	index   []int32 // where they are in the piece
	in      *kcl.ProcessRecordsInput
}

// cut splits a chunk behind its first n records.
func (ch chunk) cut(n int) (first, rest chunk) {
	first, rest = ch, ch
	first.records, first.index = ch.records[:n:n], ch.index[:n]
	rest.records, rest.index = ch.records[n:], ch.index[n:]
	return first, rest
}

// split cuts a chunk behind pos.
func (ch chunk) split(pos kcl.ExtendedSequenceNumber) (first, rest chunk) {
	n := 0
	for n < len(ch.records) && ch.records[n].Position().Compare(pos) <= 0 {
		n++
	}
	return ch.cut(n)
}

// lane is one of the lanes of a concurrent, and the checkpointer that its
// processor gets. Its fields are guarded by the mutex of the concurrent.
//
//	idle -> running -> idle            the queue is empty
//	        running -> failed          the first chunk has failed; waits, or is nudged
//	                   failed -> running, failed
type lane struct {
	c         *concurrent
	processor kcl.Processor
	wake      chan struct{} // ends the wait after a failure; holds one token

	queue     []chunk
	running   bool                       // there is a goroutine
	failed    error                      // until everything that failed has succeeded
	failedTo  kcl.ExtendedSequenceNumber // the last record of that
	tries     uint64                     // calls that failed
	width     int                        // after a failure: how many records are handed on; 0 for all
	drop      kcl.ExtendedSequenceNumber
	delivered kcl.ExtendedSequenceNumber // the last one that the processor was given
	done      kcl.ExtendedSequenceNumber // the last one of a call that succeeded

	upto    kcl.ExtendedSequenceNumber // what the processor has checkpointed
	holds   bool                       // it keeps records beyond the call
	open    []chunk                    // those
	trouble error                      // what it says of them, between the calls
	told    bool                       // trouble has been returned
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
		if backoff == nil || len(ch.records) > 1 { // half as many are next; the waits grow with the one at fault
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

// halt ends the goroutine of a lane that asks to be replaced. The next call
// returns its error, and the whole processor is replaced.
func (l *lane) halt() {
	l.c.mu.Lock()
	l.running = false
	l.c.mu.Unlock()
	l.c.signal()
}

// next returns what the processor gets now, or false: then the goroutine ends.
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

// popLocked removes the first n records from the queue, and the failure if they
// were the last of it.
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

// recovered tells those who wait that the lane does not fail any more.
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
	l.trouble, l.told = err, false
	l.c.mu.Unlock()
	l.c.signal()
}

// settle finishes what the lane has checkpointed.
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
		// In the middle of a call, or of what has failed: finished now, though
		// they stay in the queue and may be finished again.
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

// Checkpoint says that everything delivered to the lane is processed, but for
// what has failed.
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
		return fmt.Errorf("%w: %s is behind %s, the last record delivered to this lane", kcl.ErrInvalidCheckpoint, pos, delivered)
	}
	l.settle(ctx)
	return nil
}

func (l *lane) Prepare(context.Context, kcl.ExtendedSequenceNumber, []byte) (kcl.PreparedCheckpointer, error) {
	return nil, fmt.Errorf("processors: a lane cannot prepare a checkpoint: %w", errors.ErrUnsupported)
}
