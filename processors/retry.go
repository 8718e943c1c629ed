package processors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
)

// The defaults of RetryOptions.
const (
	DefaultAttempts     = 5
	DefaultFirstBackoff = 100 * time.Millisecond
	DefaultMaxBackoff   = 5 * time.Second
)

// RetryOptions change what [Retry] does. The zero value tries five times and then returns the
// error: no record is skipped without a DeadLetter handler.
type RetryOptions struct {
	// Attempts is how often the same records are tried before the batch is bisected. The record
	// that fails is then tried alone as often, and so is the dead-letter handler. Defaults to 5
	// (DefaultAttempts), also for values below 1. All attempts are made within one call. A stop of
	// the worker waits for the call, see scheduler.Config.ShutdownTimeout.
	Attempts int
	// FirstBackoff and MaxBackoff bound the waits between attempts, which double and vary by half.
	// They default to 100ms (DefaultFirstBackoff) and 5s (DefaultMaxBackoff).
	FirstBackoff, MaxBackoff time.Duration
	// Transient tells whether an error has nothing to do with the records, such as that of a
	// database that cannot be reached. After Attempts such an error is returned. The batch is not
	// bisected, and no record is dead-lettered. The caller tries again after its own backoff. nil
	// means that no error is transient.
	Transient func(err error) bool
	// DeadLetter stores a record that cannot be processed. Returning nil means that the record is
	// safe: it then counts as processed, and checkpoints cover it. After an error or a panic the
	// handler is called again. Finally its error is returned, and the record and its batch are not
	// processed. After a crash a record can come again. nil means that there is no handler: the
	// error of the record is returned.
	DeadLetter func(ctx context.Context, d DeadLetter) error
	// Logger gets a line for each record that is dead-lettered, without its content. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// DeadLetter is a record that could not be processed.
type DeadLetter struct {
	Stream kcl.StreamIdentifier
	Shard  kcl.Shard
	// Record is the record; its Position is the place in the shard.
	Record kcl.Record
	// Attempts is how many calls in a row with the record have failed.
	Attempts int
	// Err is the error of the last call.
	Err error
}

// Retry makes p.ProcessRecords try again after an error or a panic, and finds the record that
// fails:
//
//	the batch fails Attempts times, with a backoff between
//	halves are tried, without a wait, until one record is left: log2(batch) calls
//	that record fails Attempts times, with a backoff between
//	DeadLetter takes it, and the batch goes on behind it
//
// p gets the records before the failing one in smaller batches, in order. Records may come again
// that p has seen in a larger batch. When Retry returns an error, the records that were processed
// do not come to p again.
//
// If the error is a [HeldError], its records are tried again, narrowed down and dead-lettered. They
// may come from an earlier call or, at the end of the shard, from any call.
func Retry(p kcl.Processor, o RetryOptions) kcl.Processor {
	o.Attempts = cmp.Or(max(o.Attempts, 0), DefaultAttempts)
	o.FirstBackoff = cmp.Or(max(o.FirstBackoff, 0), DefaultFirstBackoff)
	o.MaxBackoff = cmp.Or(max(o.MaxBackoff, 0), max(DefaultMaxBackoff, o.FirstBackoff))
	o.Logger = orDefault(o.Logger)
	return &retrying{inner: p, o: o, backoff: retry.New(o.FirstBackoff, o.MaxBackoff)}
}

type retrying struct {
	inner   kcl.Processor
	o       RetryOptions
	backoff *retry.Backoff
	ck      limited
	stream  kcl.StreamIdentifier
	shard   kcl.Shard

	done     kcl.ExtendedSequenceNumber         // the last record processed or dead-lettered
	isolated kcl.ExtendedSequenceNumber         // the failing record that an earlier call found and could not dead-letter
	failures int                                // of calls with isolated among their records
	alone    map[kcl.ExtendedSequenceNumber]int // how often a held record has failed alone
}

func (p *retrying) Initialize(ctx context.Context, in kcl.InitializeInput) error {
	p.stream, p.shard, p.done = in.Stream, in.Shard, in.Checkpoint
	p.ck.begin(in.Checkpoint)
	return p.inner.Initialize(ctx, in)
}

func (p *retrying) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	p.ck.use(in.Checkpointer)
	records := after(in.Records, p.done)
	for len(records) > 0 {
		bad, failures, err := p.search(ctx, in, records)
		if err == nil {
			return nil
		}
		records = after(records, p.done)
		if !bad {
			return err
		}
		p.isolated, p.failures = records[0].Position(), failures
		if err := p.deadLetter(ctx, records[0], failures, err); err != nil {
			return err
		}
		p.skip(ctx, records[0])
		records = records[1:]
	}
	return nil
}

// search hands on the records until all are processed, or until one alone has failed often enough.
// Then it sets bad, and the failing record is the first one after p.done.
//
// If limit is set, a record in [lo, limit) fails. [lo, hi) is tried.
func (p *retrying) search(
	ctx context.Context,
	in kcl.ProcessRecordsInput,
	records []kcl.Record,
) (bad bool, failures int, err error) {
	p.backoff.Reset()
	lo, hi, limit, tries := 0, len(records), 0, 0
	if records[0].Position() == p.isolated {
		hi, limit, failures, tries = 1, 1, p.failures, p.o.Attempts-1
	}
	for lo < len(records) {
		final, err := p.handOn(ctx, in, records[lo:hi], hi == len(records))
		if err == nil {
			p.done = records[hi-1].Position()
			lo, tries = hi, 0
			if lo >= limit {
				hi, limit, failures = len(records), 0, 0
			} else {
				hi = lo + (limit-lo+1)/2
			}
			continue
		}
		if final || ctx.Err() != nil || errors.Is(err, kcl.ErrRestart) {
			return false, 0, err
		}
		failures++
		tries++
		transient := p.o.Transient != nil && p.o.Transient(err)
		alone := hi-lo == 1
		switch {
		case tries >= p.o.Attempts && (transient || p.o.DeadLetter == nil):
			return false, failures, fmt.Errorf("processors: after %d attempts: %w", failures, err)
		case tries >= p.o.Attempts && alone:
			return true, failures, err
		case !transient && !alone && (limit > 0 || tries >= p.o.Attempts):
			limit = hi
			hi = lo + (limit-lo)/2
			tries = 0
			continue
		}
		if err := p.backoff.Wait(ctx); err != nil {
			return false, 0, err
		}
	}
	return false, 0, nil
}

// handOn makes one call of the processor inside. Errors about held records are settled first. final
// says that the error is not about the records of the call.
func (p *retrying) handOn(
	ctx context.Context,
	in kcl.ProcessRecordsInput,
	records []kcl.Record,
	end bool,
) (final bool, err error) {
	p.ck.deliver(last(records))
	final, err = p.settleHeld(ctx, func() error {
		return p.inner.ProcessRecords(ctx, part(in, records[:len(records):len(records)], end, &p.ck))
	})
	if err != nil {
		p.ck.settle(p.done)
	}
	return final, err
}

// settleHeld calls f again while f fails with records that the processor inside holds, and the
// dead-letter handler accepts those that fail. held says that it stopped because of held records.
func (p *retrying) settleHeld(ctx context.Context, f func() error) (held bool, err error) {
	for tries, width := 1, 0; ; tries++ {
		err := contain(f)
		e, ok := errors.AsType[*HeldError](err)
		if !ok {
			p.alone = nil
			return false, err
		}
		if ctx.Err() != nil {
			return true, context.Cause(ctx)
		}
		if errors.Is(err, kcl.ErrRestart) {
			return true, err
		}
		transient := p.o.Transient != nil && p.o.Transient(err)
		if tries >= p.o.Attempts && (transient || p.o.DeadLetter == nil) {
			return true, fmt.Errorf("processors: after %d attempts: %w", tries, err)
		}
		if len(e.Records) == 1 && !transient {
			r := e.Records[0]
			if p.alone == nil {
				p.alone = map[kcl.ExtendedSequenceNumber]int{}
			}
			p.alone[r.Position()]++
			if n := p.alone[r.Position()]; n >= p.o.Attempts && p.o.DeadLetter != nil {
				if err := p.deadLetter(ctx, r, n, e.Err); err != nil {
					return true, err
				}
				e.Drop()
				delete(p.alone, r.Position())
				continue
			}
		}
		narrower := len(e.Records) < width
		width = len(e.Records)
		if narrower {
			continue
		}
		if err := p.backoff.Wait(ctx); err != nil {
			return true, err
		}
	}
}

// deadLetter hands one record to the handler, until the handler accepts it or has failed often
// enough.
func (p *retrying) deadLetter(ctx context.Context, r kcl.Record, failures int, cause error) error {
	d := DeadLetter{Stream: p.stream, Shard: p.shard, Record: r, Attempts: failures, Err: cause}
	p.backoff.Reset()
	for tries := 1; ; tries++ {
		err := contain(func() error { return p.o.DeadLetter(ctx, d) })
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if tries >= p.o.Attempts {
			return fmt.Errorf("processors: dead-letter handler does not accept record %s: %w; the record failed with: %w",
				r.Position(), err, cause)
		}
		if err := p.backoff.Wait(ctx); err != nil {
			return err
		}
	}
	p.o.Logger.WarnContext(ctx, "record dead-lettered", "stream", p.stream.Name, "shard", p.shard.ID,
		"position", r.Position(), "attempts", failures, "err", cause)
	return nil
}

// skip counts the record after p.done as processed.
func (p *retrying) skip(ctx context.Context, r kcl.Record) {
	err := p.ck.skip(ctx, p.done, r.Position())
	if err != nil && ctx.Err() == nil && !errors.Is(err, kcl.ErrLeaseLost) {
		p.o.Logger.WarnContext(ctx, "checkpoint failed, a later one covers the record",
			"position", r.Position(), "err", err)
	}
	p.done, p.isolated = r.Position(), kcl.ExtendedSequenceNumber{}
}

func (p *retrying) LeaseLost(ctx context.Context, in kcl.LeaseLostInput) { p.inner.LeaseLost(ctx, in) }

func (p *retrying) ShardEnded(ctx context.Context, in kcl.ShardEndedInput) error {
	p.ck.use(in.Checkpointer)
	in.Checkpointer = &p.ck
	p.backoff.Reset()
	_, err := p.settleHeld(ctx, func() error { return p.inner.ShardEnded(ctx, in) })
	return err
}

func (p *retrying) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	p.ck.use(in.Checkpointer)
	in.Checkpointer = &p.ck
	return p.inner.ShutdownRequested(ctx, in)
}
