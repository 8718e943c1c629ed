package scheduler

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/polling"
)

// Fallback says what becomes of a shard that enhanced fan-out cannot read.
type Fallback int

const (
	// FallbackPolling reads the shard by polling, from where fan-out stopped,
	// until fan-out works again. See [Config.Fallback].
	FallbackPolling Fallback = iota
	// FallbackOff makes it an error: of Run when the stream consumer cannot be
	// registered, of Healthy when a shard cannot be subscribed to.
	FallbackOff
)

// String returns the name of the constant.
func (f Fallback) String() string {
	switch f {
	case FallbackPolling:
		return "FallbackPolling"
	case FallbackOff:
		return "FallbackOff"
	}
	return fmt.Sprintf("Fallback(%d)", int(f))
}

// MarshalText implements [encoding.TextMarshaler] with [Fallback.String].
func (f Fallback) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

const (
	trialTime  = 15 * time.Second // how long the other way of reading may bring nothing of its first batch
	steadyTime = 30 * time.Second // what a subscription must live to end a row of failures without records

	// Fan-out is tried again firstProbe after the change to polling, and each
	// time twice as late, up to maxProbe, until it has held for as long as that.
	// A shard therefore returns to fan-out at most 4 times in its first 75
	// minutes and 12 times in six hours, however the faults of fan-out alternate.
	// Only while polling fails too, fan-out is tried each FallbackAfter.
	firstProbe = 5 * time.Minute
	maxProbe   = time.Hour
)

// What ends a run of a source from this side.
var (
	errFallBack = errors.New("enhanced fan-out keeps failing")
	errTrial    = errors.New("the trial brought nothing")
	errProbe    = errors.New("enhanced fan-out is to be tried again")
)

// schedule says when something that failed is tried again.
type schedule struct {
	wait time.Duration
	due  time.Time
}

// failed doubles the wait; a part of it at random spreads many shards.
func (p *schedule) failed(now time.Time) {
	p.wait = min(max(2*p.wait, firstProbe), maxProbe)
	p.due = now.Add(p.wait + rand.N(p.wait/4))
}

// fallback reads a shard by enhanced fan-out, and by polling while that fails
// for a reason that polling avoids. It is the source of one consumer and
// belongs to its goroutine, the observers included.
//
//	         fan-out fails for FallbackAfter, or for good        a batch
//	FANOUT ------------------------------------------> try it ----------> POLLING
//	  ^  ^                                              | nothing         |   ^
//	  |  +----------------------------------------------+                 |   | nothing
//	  |                       a batch                            probe due v   |
//	  +------------------------------------------------------------------ try it
//
// The mode changes only once the other way of reading has brought a batch: an
// outage that polling does not avoid changes nothing. Both ways go on from the
// Next of the last batch that was processed, so a change neither skips nor
// repeats a record.
type fallback struct {
	s        *Scheduler
	stream   *stream
	progress *progress
	metrics  *metrics.Shard
	owned    func() bool
	log      *slog.Logger

	subscriber *efo.Subscriber // for consumerARN
	consumer   string
	fetcher    *polling.Fetcher

	polls  bool      // the mode
	since  time.Time // when it was entered
	trying bool      // the other way is being tried
	probe  schedule  // of trying fan-out, while polling
	tried  time.Time // when fan-out was tried last
	trial  time.Time // when the last trial began, of either way
	reason error     // why fan-out was left, or shall be

	next    kcl.Position // where to go on
	stop    context.CancelCauseFunc
	opened  time.Time // the subscription
	failing streak    // of fan-out, for reasons that polling avoids; of polling, while that is the mode
}

func (s *Scheduler) newFallback(st *stream, p *progress, m *metrics.Shard, owned func() bool, shardID string) *fallback {
	f := &fallback{
		s: s, stream: st, progress: p, metrics: m, owned: owned,
		log: s.log.With("stream", st.label, "shard", shardID), since: time.Now(),
	}
	f.fetcher = s.newFetcher(st, pollObserver{f}, m)
	return f
}

// off tells whether fan-out is all there is.
func (f *fallback) off() bool { return f.s.cfg.Fallback == FallbackOff }

// Batches implements source.
func (f *fallback) Batches(ctx context.Context, shardID string, from kcl.Position) iter.Seq2[kcl.Batch, error] {
	return func(yield func(kcl.Batch, error) bool) {
		f.next = from
		f.trying = f.probeDue()
		for !f.run(ctx, shardID, yield) {
		}
	}
}

// source is what is read from now: the mode's, or the other one while that is tried.
func (f *fallback) source() source {
	if f.polls != f.trying {
		return f.fetcher
	}
	if arn := f.stream.consumer(); f.subscriber == nil || f.consumer != arn {
		f.subscriber, f.consumer = f.s.newSubscriber(f.stream, arn, fanOutObserver{f}, f.metrics, f.owned), arn
	}
	return f.subscriber
}

// run reads from one source until another is due (false), or the caller of
// Batches has been told the end or an error (true).
func (f *fallback) run(ctx context.Context, shardID string, yield func(kcl.Batch, error) bool) (over bool) {
	if refusal := f.stream.refusal(); refusal != nil && !f.polls {
		f.reason = refusal
		f.switchOver(true)
	}
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f.stop = stop
	var trial *line.Silence
	if f.trying {
		f.trial = time.Now()
		if f.polls {
			f.tried = f.trial
		}
		trial = line.NewSilence(trialTime, func() { stop(errTrial) })
		defer trial.Stop()
		run = trial.In(run)
	}
	for batch, err := range f.source().Batches(run, shardID, f.next) {
		if err != nil {
			err = f.failed(ctx, err)
			if err != nil {
				yield(kcl.Batch{}, err)
			}
			return err != nil
		}
		if f.trying {
			trial.Stop()
			f.change(ctx)
		}
		if !yield(batch, nil) || batch.End != nil {
			return true
		}
		f.next = batch.Next
		f.worked(batch)
		if f.probeDue() {
			f.trying = true
			return false
		}
	}
	return true
}

// probeDue tells whether fan-out is to be tried again. While polling fails as
// well, that is sooner: there is nothing to lose.
func (f *fallback) probeDue() bool {
	if !f.polls || f.stream.consumer() == "" {
		return false
	}
	after := f.s.cfg.FallbackAfter
	return !time.Now().Before(f.probe.due) ||
		f.failing.err != nil && time.Since(f.failing.since) >= after && time.Since(f.tried) >= after
}

// worked ends a row of failures: of polling with any answer, of fan-out when
// records come, or a subscription lasts. Records do not count while somebody
// else wants the shard: two that take it from each other get some.
func (f *fallback) worked(batch kcl.Batch) {
	if f.polls {
		f.failing = streak{}
	}
	if f.failing.err == nil {
		return
	}
	contested := awserr.Is(f.failing.err, "ResourceInUseException")
	if time.Since(f.opened) >= steadyTime || len(batch.Records) > 0 && !contested {
		f.failing = streak{}
	}
}

// failed decides what follows the end of a run: the error for the caller of
// Batches, or nil when another run is due.
func (f *fallback) failed(ctx context.Context, err error) error {
	ours := errors.Is(err, errTrial) || errors.Is(err, errFallBack)
	switch {
	case ctx.Err() != nil:
		return err
	case f.trying && f.polls:
		// Fan-out does not work yet. What else may be wrong, polling finds out.
		f.trying = false
		if now := time.Now(); !now.Before(f.probe.due) {
			f.probe.failed(now)
		}
		if errors.Is(err, efo.ErrConsumerNotFound) {
			f.stream.refuse(f.consumer, err)
		}
		f.log.DebugContext(ctx, "enhanced fan-out does not work yet", "err", err, "next_try", f.probe.due)
		return nil
	case f.trying:
		// Nor does polling work: as if there were none.
		f.trying, f.failing = false, streak{}
		f.metrics.SetFanOut(true)
		if ours {
			return nil
		}
		return fmt.Errorf("%w; nor can the shard be polled: %w", f.reason, err)
	case errors.Is(err, errProbe):
		f.trying = true
		return nil
	case ours:
		f.switchOver(!f.polls && errors.Is(err, errFallBack))
		return nil
	case !f.polls && f.avoidable(err):
		f.reason = err
		f.switchOver(true)
		return nil
	case f.polls && f.avoidable(err):
		f.failing.failed(err)
	}
	return err
}

// switchOver begins a trial of polling, from the same position: it is never LATEST,
// which would mean a later tip there (see consumer.adopt).
func (f *fallback) switchOver(try bool) { f.trying = try }

// change makes the way of reading that was tried the mode.
func (f *fallback) change(ctx context.Context) {
	now := time.Now()
	f.trying, f.polls = false, !f.polls
	f.metrics.SetFanOut(!f.polls)
	if f.polls {
		if now.Sub(f.since) >= maxProbe {
			f.probe = schedule{}
		}
		f.probe.failed(now)
		f.failing = streak{}
		f.metrics.ModeChanged("polling")
		f.progress.reads(Polling, f.reason)
		f.log.WarnContext(ctx, "enhanced fan-out fails, the shard is read by polling", "err", f.reason, "position", f.next, "next_try", f.probe.due)
	} else {
		f.reason, f.failing = nil, streak{}
		f.metrics.ModeChanged("efo")
		f.progress.reads(EFO, nil)
		f.log.InfoContext(ctx, "enhanced fan-out works again, polling ends", "position", f.next, "polled", now.Sub(f.since))
	}
	f.since = now
}

// avoidable tells whether the other way of reading may do what the mode's failed
// at with an error that is final.
func (f *fallback) avoidable(err error) bool {
	switch {
	case f.off(), errors.Is(err, kcl.ErrStreamNotFound), errors.Is(err, kcl.ErrShardNotFound), errors.Is(err, kcl.ErrInvalidPosition):
		return false
	case errors.Is(err, efo.ErrConsumerNotFound):
		return f.stream.cfg.ConsumerARN != "" // any other is registered again
	}
	return true
}

// keyTrouble tells whether the stream's key is the trouble, which polling needs too.
func keyTrouble(err error) bool {
	return strings.HasPrefix(awserr.Code(err), "KMS")
}

// fanOutObserver watches the subscriber.
type fanOutObserver struct{ f *fallback }

func (o fanOutObserver) Opened() {
	o.f.opened = time.Now()
	o.f.progress.Opened()
}

func (o fanOutObserver) Received() { o.f.progress.Received() }

func (o fanOutObserver) Retrying(err error, wait time.Duration) {
	f := o.f
	if f.trying {
		f.stop(fmt.Errorf("%w: %w", errTrial, err))
		return
	}
	f.progress.Retrying(err, wait)
	if f.off() || keyTrouble(err) {
		f.failing = streak{}
		return
	}
	f.failing.failed(err)
	if time.Since(f.failing.since)+wait >= f.s.cfg.FallbackAfter {
		f.reason = err
		f.stop(errFallBack)
	}
}

// pollObserver watches the fetcher.
type pollObserver struct{ f *fallback }

func (o pollObserver) Opened()   {}
func (o pollObserver) Received() { o.f.progress.Received() }

func (o pollObserver) Retrying(err error, wait time.Duration) {
	f := o.f
	f.progress.Retrying(err, wait)
	if f.polls {
		if !awserr.Throttled(err) && !keyTrouble(err) {
			f.failing.failed(err)
		}
		if f.probeDue() {
			f.stop(errProbe)
		}
		return
	}
	// An answer ends the silence that a trial is bounded by, also one that refuses.
	endless := time.Since(f.trial)+wait >= trialTime
	if f.trying && (endless || f.failing.err != nil && !awserr.Throttled(err)) {
		// Both ways fail: an outage, and fan-out is to be ready when it ends.
		f.stop(fmt.Errorf("%w: %w", errTrial, err))
	}
}

// errRegistering is the cause when a registration takes longer than FallbackAfter.
var errRegistering = errors.New("the stream consumer could not be registered in time")

// register finds or makes the stream consumer. Where polling may take its
// place, a failure is no error: the stream's shards are polled, and
// registerLoop tries again.
func (s *Scheduler) register(ctx context.Context, st *stream) error {
	if s.cfg.RetrievalMode != EFO {
		return nil
	}
	if s.cfg.Fallback == FallbackOff {
		return s.registerNow(ctx, st)
	}
	before := st.consumer()
	bounded, cancel := context.WithTimeoutCause(ctx, s.cfg.FallbackAfter, errRegistering)
	defer cancel()
	err := s.registerNow(bounded, st)
	if err == nil || ctx.Err() != nil || !registrationAvoidable(err) {
		return err
	}
	if st.refuse(before, err) {
		s.log.WarnContext(ctx, "stream consumer cannot be registered, the stream is read by polling", "stream", st.label, "err", err, "next_try", st.registerDue())
	}
	return nil
}

// registrationAvoidable tells whether polling works without what a
// registration failed at.
func registrationAvoidable(err error) bool {
	return errors.Is(err, kcl.ErrAccessDenied) || errors.Is(err, efo.ErrTooManyConsumers) || errors.Is(err, efo.ErrConsumerNotReady) ||
		errors.Is(err, errRegistering) || awserr.Is(err, "LimitExceededException", "UnknownOperationException")
}

// registerLoop registers the consumers of streams that are polled for the want
// of one, until ctx ends. Their shards change to fan-out when their own probes
// are due.
func (s *Scheduler) registerLoop(ctx context.Context) {
	if s.cfg.RetrievalMode != EFO || s.cfg.Fallback == FallbackOff {
		return
	}
	for retry.Sleep(ctx, trialTime) == nil {
		for _, st := range s.streams.all() {
			if st.refusal() == nil || st.err() != nil || time.Now().Before(st.registerDue()) {
				continue
			}
			if err := s.register(ctx, st); err != nil && ctx.Err() == nil {
				st.refuse("", err)
				s.log.WarnContext(ctx, "stream consumer cannot be registered", "stream", st.label, "err", err)
			}
		}
	}
}

// refuse notes that the stream consumer cannot be had, unless another one than
// was is there meanwhile.
func (st *stream) refuse(was string, err error) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.consumerARN != was {
		return false
	}
	st.consumerARN, st.refused = "", err
	st.register.failed(time.Now())
	return true
}

// refusal says why there is no stream consumer; nil when there is one.
func (st *stream) refusal() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.refused
}

func (st *stream) registerDue() time.Time {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.register.due
}
