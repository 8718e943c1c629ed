package processors

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
)

// The defaults of BatchOptions.
const (
	DefaultBatchRecords = 500
	DefaultBatchBytes   = 4 << 20
	DefaultBatchAge     = time.Second
)

// BatchOptions say when [Batch] hands its records to the processor inside: as soon as one of the
// limits is reached. Values of zero and less are the defaults.
type BatchOptions struct {
	// MaxRecords is the most records in one batch. Defaults to 500 (DefaultBatchRecords).
	MaxRecords int
	// MaxBytes is the most data in one batch. A larger record comes alone. Defaults to 4 MiB
	// (DefaultBatchBytes).
	MaxBytes int64
	// MaxAge is how long a record waits for others. Defaults to 1s (DefaultBatchAge).
	MaxAge time.Duration
	// Logger gets the errors of batches that were handed on after MaxAge. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// Batch collects records over several calls and hands them to p in batches of its own size. Its
// ProcessRecords returns at once while a batch fills, and calls p when the batch is full.
//
// A timer hands on a batch that does not fill, because ProcessRecords is not called for an idle
// shard. The timer has a goroutine that ends with its call of p. p is never called twice at a time.
// If the timer is calling p, a call of Batch waits. That is how p slows the shard down.
//
// When p fails, the records stay, in order, see [HeldError]. If the timer handed them on and no
// call comes, the timer tries again after a backoff.
//
// Records that are held are handed on when the worker stops, and when the shard is handed over or
// ends. After a lost lease or a crash they come again, because p cannot checkpoint records that it
// did not get.
func Batch(p kcl.Processor, o BatchOptions) kcl.Processor {
	o.MaxRecords = cmp.Or(max(o.MaxRecords, 0), DefaultBatchRecords)
	o.MaxBytes = cmp.Or(max(o.MaxBytes, 0), DefaultBatchBytes)
	o.MaxAge = cmp.Or(max(o.MaxAge, 0), DefaultBatchAge)
	o.Logger = orDefault(o.Logger)
	return &batching{inner: p, o: o, turn: make(chan struct{}, 1), backoff: retry.New(firstBackoff, maxBackoff)}
}

// The waits between attempts that Batch and Concurrent make between calls.
const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 30 * time.Second
)

type batching struct {
	inner kcl.Processor
	o     BatchOptions
	ck    limited
	turn  chan struct{} // the goroutine whose token is in it calls inner and owns the fields below

	held     []kcl.Record // not handed on yet, or failed
	bytes    int64        // of held
	accepted kcl.ExtendedSequenceNumber
	done     kcl.ExtendedSequenceNumber // the last record that inner has processed
	in       kcl.ProcessRecordsInput    // the last one
	received time.Time                  // ReceivedAt of the first record held
	since    time.Time                  // when the first record held came
	width    int                        // after a failure: how many records are handed on; 0 for all
	failed   error
	backoff  *retry.Backoff
	timer    *time.Timer
	armed    bool
	closed   bool
	complete bool // the last record held is the last one of the shard

	mu   sync.Mutex                 // guards drop
	drop kcl.ExtendedSequenceNumber // the first record held, if HeldError.Drop was called for it
}

// lock waits for the turn. It fails if ctx ends first.
func (b *batching) lock(ctx context.Context) error {
	select {
	case b.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (b *batching) unlock() { <-b.turn }

func (b *batching) Initialize(ctx context.Context, in kcl.InitializeInput) error {
	b.ck.begin(in.Checkpoint)
	b.accepted, b.done = in.Checkpoint, in.Checkpoint
	return b.inner.Initialize(ctx, in)
}

func (b *batching) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	if err := b.lock(ctx); err != nil {
		return err
	}
	defer b.unlock()
	b.ck.use(in.Checkpointer)
	hold(in.Checkpointer)
	if b.failed != nil {
		if err := b.handOn(ctx); err != nil {
			return err
		}
	}
	b.in = in
	b.in.Records = nil
	records := after(in.Records, b.accepted)
	for i := range records {
		n := int64(len(records[i].Data()))
		if len(b.held) == b.o.MaxRecords || len(b.held) > 0 && b.bytes+n > b.o.MaxBytes {
			if err := b.handOn(ctx); err != nil {
				return err
			}
		}
		if len(b.held) == 0 {
			b.held = make([]kcl.Record, 0, min(b.o.MaxRecords, len(records)-i))
			b.received, b.since = in.ReceivedAt, time.Now()
		}
		b.held = append(b.held, records[i])
		b.bytes += n
		b.accepted = records[i].Position()
	}
	b.complete = in.AtShardEnd
	if len(b.held) == b.o.MaxRecords || b.bytes >= b.o.MaxBytes || b.complete {
		return b.handOn(ctx)
	}
	b.arm(ctx, b.o.MaxAge)
	return nil
}

// handOn hands the records that are held to the processor inside.
func (b *batching) handOn(ctx context.Context) error {
	if errors.Is(b.failed, kcl.ErrRestart) {
		return b.failed // the processor inside is not called again
	}
	for len(b.held) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := len(b.held)
		if b.width > 0 {
			n = min(n, b.width)
		}
		chunk := b.held[:n:n]
		if b.dropped(ctx, chunk) {
			continue
		}
		in := part(b.in, chunk, b.complete && n == len(b.held), &b.ck)
		in.ReceivedAt, in.DeliveredAt = b.received, time.Now()
		b.ck.deliver(last(chunk))
		if err := contain(func() error { return b.inner.ProcessRecords(ctx, in) }); err != nil {
			return b.fail(chunk, err)
		}
		b.done = last(chunk)
		b.remove(n)
		b.width *= 2
	}
	if b.failed != nil {
		b.ck.report(nil)
	}
	b.failed, b.width = nil, 0
	b.backoff.Reset()
	return nil
}

// remove forgets the first n records held. Their memory stays, because the processor inside may
// have kept the slice.
func (b *batching) remove(n int) {
	b.bytes -= size(b.held[:n])
	if b.held = b.held[n:]; len(b.held) == 0 {
		b.held = nil
	}
}

// fail notes that the processor inside has failed with chunk.
func (b *batching) fail(chunk []kcl.Record, err error) error {
	b.ck.settle(b.done)
	b.failed = err
	if _, ok := errors.AsType[*HeldError](err); ok {
		return err // the error is about records that the processor inside holds, not about chunk
	}
	b.width = max(1, len(chunk)/2)
	first := chunk[0].Position()
	b.failed = &HeldError{Records: chunk, Err: err, drop: func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.drop = first
	}}
	return b.failed
}

// dropped removes a record for which HeldError.Drop was called.
func (b *batching) dropped(ctx context.Context, chunk []kcl.Record) bool {
	b.mu.Lock()
	drop := b.drop
	b.drop = kcl.ExtendedSequenceNumber{}
	b.mu.Unlock()
	pos := chunk[0].Position()
	if len(chunk) > 1 || pos != drop {
		return false
	}
	if err := b.ck.skip(ctx, b.done, pos); err != nil && ctx.Err() == nil && !errors.Is(err, kcl.ErrLeaseLost) {
		b.o.Logger.WarnContext(ctx, "checkpoint failed, a later one covers the record", "position", pos, "err", err)
	}
	b.done = pos
	b.remove(1)
	b.width *= 2
	return true
}

// arm starts the timer. Its goroutine ends after one attempt, or with ctx.
func (b *batching) arm(ctx context.Context, wait time.Duration) {
	if b.armed || b.closed || len(b.held) == 0 {
		return
	}
	b.armed = true
	b.timer = time.AfterFunc(wait, func() { b.expire(ctx) })
}

// expire hands on records that are older than MaxAge.
func (b *batching) expire(ctx context.Context) {
	if b.lock(ctx) != nil {
		return
	}
	defer b.unlock()
	b.armed = false
	if b.closed || len(b.held) == 0 {
		return
	}
	if left := b.o.MaxAge - time.Since(b.since); left > 0 && b.failed == nil {
		b.arm(ctx, left)
		return
	}
	if err := b.handOn(ctx); err != nil && ctx.Err() == nil {
		b.ck.report(err)
		if b.width > 1 {
			b.backoff.Reset() // the next attempt has half as many records; a single one waits longer
		}
		wait := b.backoff.Next()
		b.o.Logger.WarnContext(ctx, "batch failed, trying again", "err", err, "wait", wait)
		if !errors.Is(err, kcl.ErrRestart) { // only a call of ProcessRecords can return that error
			b.arm(ctx, wait)
		}
	}
}

func (b *batching) close() {
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
	}
}

// LeaseLost waits for the processor inside, even if that ignores its context. After LeaseLost the
// worker may read the shard again.
func (b *batching) LeaseLost(ctx context.Context, in kcl.LeaseLostInput) {
	b.turn <- struct{}{}
	defer b.unlock()
	b.close()
	b.inner.LeaseLost(ctx, in)
}

func (b *batching) ShardEnded(ctx context.Context, in kcl.ShardEndedInput) error {
	if err := b.lock(ctx); err != nil {
		return err
	}
	defer b.unlock()
	b.ck.use(in.Checkpointer)
	b.in.Children = in.Children
	b.in.AtShardEnd, b.complete = true, true
	if err := b.handOn(ctx); err != nil {
		return err
	}
	b.close()
	in.Checkpointer = &b.ck
	return b.inner.ShardEnded(ctx, in)
}

// ShutdownRequested lets the processor inside checkpoint even if it fails with the records that are
// held.
func (b *batching) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	if err := b.lock(ctx); err != nil {
		return err
	}
	defer b.unlock()
	b.ck.use(in.Checkpointer)
	err := b.handOn(ctx)
	b.close()
	in.Checkpointer = &b.ck
	return errors.Join(err, b.inner.ShutdownRequested(ctx, in))
}
