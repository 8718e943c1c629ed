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
	// inUseGrace is how long the reader subscribes once a second while the service says that the
	// shard is in use. The service refuses for five seconds after a call that it accepted.
	inUseGrace = 10 * time.Second

	maxBackoff = 30 * time.Second

	// lifetime is how long the service lets a subscription live.
	lifetime = 5 * time.Minute
	// fullLife is the age from which the end of a subscription without an error is normal.
	fullLife = 4*time.Minute + 50*time.Second

	// shortLived is the age below which a subscription without a record counts as failed.
	shortLived = 4 * time.Second

	// lookupEvery is after how many failures in a row the reader asks what is missing.
	lookupEvery = 5

	// warnEvery is how often a failure of a shard is logged as a warning.
	warnEvery = time.Minute

	operation = "SubscribeToShard"
)

// reader is the state of one run of Batches. It belongs to one goroutine.
type reader struct {
	Config
	sub     *Subscriber
	service service
	shardID string
	yield   func(kcl.Batch, error) bool
	backoff *retry.Backoff
	log     *slog.Logger

	position   kcl.Position  // where reading goes on: after the batches that were processed
	lastNumber string        // number of the last record before position; empty when there was none
	behind     time.Duration // of the last batch
	judge      shardend.Judge
	finished   bool          // the loop was left or the shard ended: yield no more
	renewed    bool          // the early renewal has been done, and no failure has followed it
	inUseSince time.Time     // when the service first said that the shard is in use, in a row
	failures   int           // in a row, without an event in between
	idleWait   time.Duration // how long the shard idles before the reader asks whether it is closed

	unknownReported bool      // an event of an unknown kind has been logged
	warnedAt        time.Time // when a failure was last logged as a warning
}

// ending says how one subscription, or the attempt at one, ended.
type ending struct {
	reason   string // one of Reason... or an error code; empty when the service accepted no subscription
	err      error  // of the service or the transport, if there was one
	events   int
	records  int
	lived    time.Duration
	checkEnd bool             // the stream stopped without a word, or idles: the shard may have ended
	endSent  bool             // the service sent an event without a continuation
	tip      bool             // the event without a continuation was at the tip
	children []kcl.ChildShard // as the event without a continuation named them
}

// run reads until the shard ends or the loop is left. Then it returns nil. Any error is final.
func (r *reader) run(ctx context.Context) error {
	r.idleWait = shardend.IdleCheck
	for {
		if err := r.waitToSubscribe(ctx); err != nil {
			return err
		}
		e := r.subscribe(ctx)
		if e.reason != "" {
			r.Metrics.SubscriptionEnded(e.reason)
			r.log.LogAttrs(ctx, slog.LevelDebug, "subscription ended",
				slog.String("reason", e.reason), slog.Int("events", e.events), slog.Any("err", e.err))
		}
		if r.finished {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait, err := r.react(ctx, e)
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

// waitToSubscribe waits until a second has passed since the last answer and the lease is ours.
func (r *reader) waitToSubscribe(ctx context.Context) error {
	if err := retry.Sleep(ctx, time.Until(r.sub.lastAnswer.Add(subscribeFloor))); err != nil {
		return err
	}
	for !r.Owned() {
		if err := retry.Sleep(ctx, subscribeFloor); err != nil {
			return err
		}
	}
	return nil
}

// react returns how long to wait before the next subscription, or a final error. It may also find
// that the shard has ended, and deliver the end.
func (r *reader) react(ctx context.Context, e ending) (time.Duration, error) {
	// Events reset the backoff, unless the server sends one empty event and hangs up.
	healthy := e.records > 0 || e.events > 0 && e.lived >= shortLived
	if healthy {
		r.backoff.Reset()
		r.failures = 0
	}
	if e.reason != "" {
		r.inUseSince = time.Time{}
	}
	if e.checkEnd || e.endSent {
		if r.checkShardEnd(ctx, e); r.finished {
			return 0, nil
		}
	}
	switch {
	case e.reason == ReasonExpired, e.reason == ReasonRenewed, e.reason == ReasonCheck:
		return 0, nil
	}
	r.renewed = false // the same failure may have hit many subscriptions, which now open together
	switch {
	case e.err == nil && healthy:
		return 0, nil // waitToSubscribe waits long enough
	case e.err == nil:
		e.err = errEarly
	}

	wait := time.Duration(0)
	switch act := classify(e.err); act {
	case shardread.Retry:
		wait = r.backoff.Next()
	case shardread.InUse:
		wait = r.inUseWait()
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
		// Some servers answer 500 for a shard that does not exist.
		if err := r.lookup(ctx, false); err != nil || r.finished {
			return 0, err
		}
	}
	r.reportRetry(ctx, e, wait)
	return wait, nil
}

// inUseWait returns the wait after the service said that the shard is in use. Another subscriber
// has the shard, or the reader's own last subscription. The wait is 0 for inUseGrace.
func (r *reader) inUseWait() time.Duration {
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

// reportRetry tells the metrics, the observer and the log about a failure. A thousand shards may
// fail at the same time, so a shard logs one warning a minute. A shard in use logs none within
// inUseGrace.
func (r *reader) reportRetry(ctx context.Context, e ending, wait time.Duration) {
	code := awserr.Code(e.err)
	if e.reason == ReasonSilence || errors.Is(e.err, errEarly) {
		code = e.reason
	}
	r.Metrics.Retried(operation, code)
	r.Observer.Retrying(e.err, wait)
	attrs := []slog.Attr{
		slog.String("code", code), slog.Int("failures", r.failures), slog.Duration("wait", wait),
		slog.String("position", r.position.String()), slog.Any("err", e.err),
	}
	level := slog.LevelDebug
	ordinary := e.reason != ReasonTakeover && classify(e.err) == shardread.InUse && wait == 0
	if now := time.Now(); !ordinary && now.Sub(r.warnedAt) >= warnEvery {
		level, r.warnedAt = slog.LevelWarn, now
	}
	switch {
	case e.reason == ReasonTakeover:
		r.log.LogAttrs(ctx, level, "another subscriber took the shard over, trying again; "+
			"if this goes on, two applications use the same consumer", attrs...)
	case ordinary:
		r.log.LogAttrs(ctx, level, "the shard is in use, trying again", attrs...)
	default:
		r.log.LogAttrs(ctx, level, "subscription failed, trying again", attrs...)
	}
}

// deliver hands a batch to the loop body and moves the position when the loop body comes back. It
// returns false when the loop is over.
func (r *reader) deliver(b kcl.Batch, size int) bool {
	r.behind = b.BehindLatest
	r.Metrics.Batch(len(b.Records), size, b.BehindLatest, !b.LagUnknown)
	if len(b.Records) > 0 {
		r.idleWait = shardend.IdleCheck
		r.judge.Forget()
		r.lastNumber = b.Records[len(b.Records)-1].SequenceNumber()
	}
	if !r.yield(b, nil) || b.End != nil {
		r.finished = true
		return false
	}
	r.position = b.Next
	return true
}
