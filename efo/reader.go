package efo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardend"
	"github.com/kinesis-go/kcl/internal/shardread"
)

const (
	// subscribeFloor is the service's limit: one SubscribeToShard per second, consumer and shard.
	subscribeFloor = time.Second
	// inUseGrace is how long a refused subscribe is repeated at the floor. The
	// service refuses for five seconds after a call that it accepted.
	inUseGrace = 10 * time.Second

	maxBackoff = 30 * time.Second

	// lifetime is how long the service lets a subscription live; almost is how
	// much of it makes an end without an error the normal one.
	lifetime = 5 * time.Minute
	almost   = 4*time.Minute + 50*time.Second

	// shortLived is below what a subscription must live to count as success without a record.
	shortLived = 4 * time.Second

	// lookupEvery is after how many failures in a row it is asked what is wrong.
	lookupEvery = 5

	// warnEvery is how often the failures of a shard are a warning.
	warnEvery = time.Minute

	operation = "SubscribeToShard"
)

// reader is one run of Batches: its state, on one goroutine.
type reader struct {
	Config
	sub     *Subscriber
	shardID string
	yield   func(kcl.Batch, error) bool
	backoff *retry.Backoff
	log     *slog.Logger

	next       kcl.Position  // where to go on: after what the loop body has processed
	last       string        // number of the last record before that; empty when there was none
	behind     time.Duration // of the last batch
	judge      shardend.Judge
	finished   bool          // the loop was left or the shard ended: yield no more
	renewed    bool          // the early renewal has been done, and nothing has broken since
	inUseSince time.Time     // first of the refusals in a row
	failures   int           // in a row, without an event between
	idleFor    time.Duration // how long to idle before asking whether the shard is closed
	unknown    bool          // an unknown event has been reported
	warned     time.Time     // of a failure
}

// end says how one subscription, or the attempt at one, ended.
type end struct {
	reason  string // of Reason... or an error code; empty when it was never accepted
	err     error  // what the service or the transport said, if anything
	events  int
	records int
	lived   time.Duration
	// check asks whether the shard has ended: its stream said nothing and stopped, or idles.
	check bool
	// closed says that the service sent a nil continuation, with these children if it
	// named them; tip, that it was at the tip.
	closed, tip bool
	children    []kcl.ChildShard
}

// run reads until the shard ends or the loop is left (nil), or until an error that is final.
func (r *reader) run(ctx context.Context) error {
	r.idleFor = shardend.IdleCheck
	for {
		if err := r.turn(ctx); err != nil {
			return err
		}
		e := r.subscription(ctx)
		if e.reason != "" {
			r.Metrics.SubscriptionEnded(e.reason)
			r.log.LogAttrs(ctx, slog.LevelDebug, "subscription ended", slog.String("reason", e.reason), slog.Int("events", e.events), slog.Any("err", e.err))
		}
		if r.finished {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait, err := r.after(ctx, e)
		if r.finished {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// classify decides what the reader does about an error.
func classify(err error) shardread.Action {
	switch {
	case awserr.Is(err, "ResourceInUseException"):
		return shardread.InUse
	case awserr.Is(err, "InvalidArgumentException"):
		return shardread.Position
	}
	return shardread.Classify(err)
}

// turn waits until the shard may be subscribed to: a second after the last
// answer, and while the lease is ours.
func (r *reader) turn(ctx context.Context) error {
	if err := retry.Sleep(ctx, time.Until(r.sub.last.Add(subscribeFloor))); err != nil {
		return err
	}
	for !r.Owned() {
		if err := retry.Sleep(ctx, subscribeFloor); err != nil {
			return err
		}
	}
	return nil
}

// after decides what follows the end of a subscription: how long to wait before
// the next, or an error that is final. It may also find that the shard has
// ended and finish.
func (r *reader) after(ctx context.Context, e end) (time.Duration, error) {
	// Events reset the backoff; a server that sends one empty event and hangs up does not.
	healthy := e.records > 0 || e.events > 0 && e.lived >= shortLived
	if healthy {
		r.backoff.Reset()
		r.failures = 0
	}
	if e.reason != "" {
		r.inUseSince = time.Time{}
	}
	if e.check || e.closed {
		if r.checkShardEnd(ctx, e); r.finished {
			return 0, nil
		}
	}
	switch {
	case e.reason == ReasonExpired, e.reason == ReasonRenewed, e.reason == ReasonCheck:
		return 0, nil
	}
	r.renewed = false // what broke this one may have broken many, and they are opened together
	switch {
	case e.err == nil && healthy:
		return 0, nil // the floor is enough
	case e.err == nil:
		e.err = errEarly
	}

	wait := time.Duration(0)
	switch act := classify(e.err); act {
	case shardread.Retry:
		wait = r.backoff.Next()
	case shardread.InUse:
		wait = r.inUse()
	case shardread.Slow:
		wait = shardread.SlowWait()
	case shardread.Lookup:
		if err := r.lookup(ctx, true); err != nil || r.finished {
			return 0, err
		}
		wait = r.backoff.Next()
	case shardread.Position:
		if err := r.refusedPosition(ctx, e.err); err != nil {
			return 0, err
		}
		wait = r.backoff.Next()
	case shardread.Denied:
		return 0, awserr.Explain(e.err, "kinesis:SubscribeToShard", r.ConsumerARN)
	case shardread.Stop:
		return 0, fmt.Errorf("subscribe to shard %s: %w", r.shardID, e.err)
	}
	r.failures++
	if r.failures%lookupEvery == 0 && classify(e.err) == shardread.Retry {
		// A failure that does not go away: some servers answer 500 for what is not there.
		if err := r.lookup(ctx, false); err != nil || r.finished {
			return 0, err
		}
	}
	r.retrying(ctx, e, wait)
	return wait, nil
}

// inUse is the wait after a refusal because somebody else, or our own previous
// subscription, has the shard: none beyond the floor for ten seconds, then a backoff.
func (r *reader) inUse() time.Duration {
	now := time.Now()
	if r.inUseSince.IsZero() {
		r.inUseSince = now
		return 0
	}
	if now.Sub(r.inUseSince) < inUseGrace {
		return 0
	}
	return r.backoff.Next()
}

// retrying tells the operator, the observer and the metrics. It is a warning
// unless it is ordinary, a refusal within the grace, or there was one within the
// last minute: a thousand shards may fail at a time.
func (r *reader) retrying(ctx context.Context, e end, wait time.Duration) {
	code := awserr.Code(e.err)
	if e.reason == ReasonSilence || errors.Is(e.err, errEarly) {
		code = e.reason
	}
	r.Metrics.Retried(operation, code)
	r.Observer.Retrying(e.err, wait)
	attrs := []slog.Attr{
		slog.String("code", code), slog.Int("failures", r.failures), slog.Duration("wait", wait), slog.String("position", r.next.String()), slog.Any("err", e.err),
	}
	level := slog.LevelDebug
	ordinary := e.reason != ReasonTakeover && classify(e.err) == shardread.InUse && wait == 0
	if now := time.Now(); !ordinary && now.Sub(r.warned) >= warnEvery {
		level, r.warned = slog.LevelWarn, now
	}
	switch {
	case e.reason == ReasonTakeover:
		r.log.LogAttrs(ctx, level, "another subscriber took the shard over, trying again; if this goes on, two applications use the same consumer", attrs...)
	case ordinary:
		r.log.LogAttrs(ctx, level, "the shard is in use, trying again", attrs...)
	default:
		r.log.LogAttrs(ctx, level, "subscription failed, trying again", attrs...)
	}
}

// deliver hands a batch to the loop body and, when that comes back for more,
// moves the position. It returns false when the loop is over.
func (r *reader) deliver(b kcl.Batch, size int) bool {
	r.behind = b.BehindLatest
	r.Metrics.Batch(len(b.Records), size, b.BehindLatest, !b.LagUnknown)
	if len(b.Records) > 0 {
		r.idleFor = shardend.IdleCheck
		r.judge.Forget()
		r.last = b.Records[len(b.Records)-1].SequenceNumber()
	}
	if !r.yield(b, nil) || b.End != nil {
		r.finished = true
		return false
	}
	r.next = b.Next
	return true
}
