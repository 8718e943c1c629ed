package scheduler

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/polling"
)

// Fallback says how to read a shard that enhanced fan-out cannot read.
type Fallback int

const (
	// FallbackPolling reads the shard by polling, from where fan-out stopped, until fan-out works
	// again. See [Config.Fallback].
	FallbackPolling Fallback = iota
	// FallbackOff returns an error: from Run if the stream consumer cannot be registered, and from
	// Healthy if a shard cannot be subscribed to.
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
	trialTime  = 15 * time.Second // a trial ends after this long without any data
	steadyTime = 30 * time.Second // a subscription of this age ends a streak of failures, even without records

	// Fan-out is tried again firstProbe after the change to polling. Each later wait is twice as long,
	// up to maxProbe, until fan-out has worked for maxProbe. A shard returns to fan-out at most 4
	// times in its first 75 minutes and 12 times in six hours. While polling fails too, fan-out is
	// tried each FallbackAfter.
	firstProbe = 5 * time.Minute
	maxProbe   = time.Hour
)

// Causes with which a fallback cancels a run of its source.
var (
	errFallBack = errors.New("enhanced fan-out keeps failing")
	errTrial    = errors.New("the trial brought no batch")
	errProbe    = errors.New("enhanced fan-out is due for another trial")
)

// schedule says when a failed attempt is repeated.
type schedule struct {
	wait time.Duration
	due  time.Time
}

// failed doubles the wait. A random part of it spreads many shards.
func (p *schedule) failed(now time.Time) {
	p.wait = min(max(2*p.wait, firstProbe), maxProbe)
	p.due = now.Add(p.wait + chance.N(p.wait/4, "probe"))
}

// fallbackState is the source from which a fallback reads its shard now.
type fallbackState int

const (
	fanOut     fallbackState = iota // fan-out reads the shard
	tryPolling                      // fan-out fails: polling must bring a batch
	polled                          // polling reads the shard
	tryFanOut                       // a probe: fan-out must bring a batch
)

// trial tells whether the state is a trial of fan-out or polling.
func (s fallbackState) trial() bool { return s == tryPolling || s == tryFanOut }

// mode returns the current way of reading, or the one before the trial.
func (s fallbackState) mode() RetrievalMode {
	if s == polled || s == tryFanOut {
		return Polling
	}
	return EFO
}

// fallback reads a shard by enhanced fan-out. It reads by polling while fan-out fails for a reason
// that polling avoids. A fallback is the source of one consumer. The fallback and both its
// observers belong to the consumer's goroutine.
//
//	          fan-out fails for FallbackAfter, or for good
//	fanOut ------------------------------------------------> tryPolling
//	 ^  ^                                                     |      |
//	 |  +------------- nothing within trialTime --------------+      | a batch
//	 |                                                               v
//	 | a batch                   the probe is due                 polled
//	tryFanOut <------------------------------------------------------+ ^
//	     |                                                             |
//	     +------------------ nothing within trialTime -----------------+
//
// The mode changes only after a trial has brought a batch, so an outage of both ways changes
// nothing. Fan-out and polling both go on from the Next of the last processed batch. So a change
// skips no record and repeats none.
type fallback struct {
	sources  *sources
	stream   *stream
	progress *progress
	metrics  *metrics.Shard
	owned    func() bool
	log      *slog.Logger

	subscriber *efo.Subscriber // for the ARN in consumer
	consumer   string
	fetcher    *polling.Fetcher

	state  fallbackState
	since  time.Time // when the mode last changed
	probe  schedule  // of tryFanOut
	tried  time.Time // when the last tryFanOut began
	trial  time.Time // when the last trial of either way began
	reason error     // the error of fan-out that caused the change to polling, or the trial

	next    kcl.Position // where the next run starts to read
	stop    context.CancelCauseFunc
	opened  time.Time // when the last subscription opened
	failing streak    // failures of the mode: of polling, or of fan-out for reasons that polling avoids
}

func newFallback(s *sources, st *stream, p *progress, m *metrics.Shard, owned func() bool, shardID string) *fallback {
	f := &fallback{
		sources: s, stream: st, progress: p, metrics: m, owned: owned,
		log: s.log.With("stream", st.label, "shard", shardID), since: time.Now(),
	}
	f.fetcher = s.fetcher(st, pollObserver{f}, m)
	return f
}

// disabled tells whether polling is not allowed.
func (f *fallback) disabled() bool { return f.sources.fallback == FallbackOff }

// Batches implements source. It does not continue a trial of an earlier call.
func (f *fallback) Batches(ctx context.Context, shardID string, from kcl.Position) iter.Seq2[kcl.Batch, error] {
	return func(yield func(kcl.Batch, error) bool) {
		f.next = from
		switch {
		case f.state.mode() == EFO:
			f.state = fanOut
		case f.probeDue():
			f.state = tryFanOut
		default:
			f.state = polled
		}
		for !f.run(ctx, shardID, yield) {
		}
	}
}

// source returns the source from which the state reads.
func (f *fallback) source() source {
	if f.state == polled || f.state == tryPolling {
		return f.fetcher
	}
	if arn := f.stream.consumer.arn(); f.subscriber == nil || f.consumer != arn {
		f.subscriber, f.consumer = f.sources.subscriber(f.stream, arn, fanOutObserver{f}, f.metrics, f.owned), arn
	}
	return f.subscriber
}

// run reads from one source. It returns false if another run must follow. It returns true after the
// end of the shard, or after an error for the caller of Batches.
func (f *fallback) run(ctx context.Context, shardID string, yield func(kcl.Batch, error) bool) (over bool) {
	if refusal := f.stream.consumer.err(); refusal != nil && f.state.mode() == EFO {
		f.reason, f.state = refusal, tryPolling
	}
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	f.stop = stop
	var trial *line.Silence
	if f.state.trial() {
		f.trial = time.Now()
		if f.state == tryFanOut {
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
		if f.state.trial() {
			trial.Stop()
			f.changeMode(ctx)
		}
		if !yield(batch, nil) || batch.End != nil {
			return true
		}
		f.next = batch.Next
		f.recordBatch(batch)
		if f.probeDue() {
			f.state = tryFanOut
			return false
		}
	}
	return true
}

// probeDue tells whether it is time to try fan-out again. While polling fails too, that time comes
// earlier, because a trial interrupts nothing.
func (f *fallback) probeDue() bool {
	if f.state.mode() == EFO || f.stream.consumer.arn() == "" {
		return false
	}
	after := f.sources.fallbackAfter
	return !time.Now().Before(f.probe.due) ||
		f.failing.err != nil && time.Since(f.failing.since) >= after && time.Since(f.tried) >= after
}

// recordBatch ends a streak of failures. Any batch ends a streak of polling. Records or a long
// subscription end a streak of fan-out. Records do not end it while another application uses the
// stream consumer: two applications that take the shard from each other both get records.
func (f *fallback) recordBatch(batch kcl.Batch) {
	if f.state.mode() == Polling {
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

// failed chooses the state after a failed run. It returns the error for the caller of Batches, or
// nil if another run must follow. Polling begins at the position where fan-out stopped. That
// position is never LATEST, which would mean a later tip (see shardLease.adopt).
func (f *fallback) failed(ctx context.Context, err error) error {
	stoppedHere := errors.Is(err, errTrial) || errors.Is(err, errFallBack)
	switch {
	case ctx.Err() != nil:
		return err
	case f.state == tryFanOut:
		// Fan-out does not work yet. Polling will report any other problem.
		f.state = polled
		if now := time.Now(); !now.Before(f.probe.due) {
			f.probe.failed(now)
		}
		if errors.Is(err, efo.ErrConsumerNotFound) {
			f.stream.consumer.remove(f.consumer, err)
		}
		f.log.DebugContext(ctx, "enhanced fan-out does not work yet", "err", err, "next_try", f.probe.due)
		return nil
	case f.state == tryPolling:
		// Polling does not work either, so fan-out goes on.
		f.state, f.failing = fanOut, streak{}
		f.metrics.SetFanOut(true)
		if stoppedHere {
			return nil
		}
		return fmt.Errorf("%w; polling the shard fails too: %w", f.reason, err)
	case errors.Is(err, errProbe):
		f.state = tryFanOut
		return nil
	case stoppedHere:
		if f.state == fanOut && errors.Is(err, errFallBack) {
			f.state = tryPolling
		}
		return nil
	case f.state == fanOut && f.avoidable(err):
		f.reason, f.state = err, tryPolling
		return nil
	case f.state == polled && f.avoidable(err):
		f.failing.failed(err)
	}
	return err
}

// changeMode sets the mode to the way of reading whose trial succeeded.
func (f *fallback) changeMode(ctx context.Context) {
	now := time.Now()
	if f.state == tryPolling {
		if f.state = polled; now.Sub(f.since) >= maxProbe {
			f.probe = schedule{}
		}
		f.probe.failed(now)
		f.failing = streak{}
		f.metrics.ModeChanged("polling")
		f.progress.setMode(Polling, f.reason)
		f.log.WarnContext(ctx, "enhanced fan-out fails, the shard is read by polling", "err", f.reason, "position", f.next,
			"next_try", f.probe.due)
	} else {
		f.state, f.reason, f.failing = fanOut, nil, streak{}
		f.metrics.ModeChanged("efo")
		f.progress.setMode(EFO, nil)
		f.log.InfoContext(ctx, "enhanced fan-out works again, polling ends", "position", f.next, "polled", now.Sub(f.since))
	}
	f.metrics.SetFanOut(f.state == fanOut)
	f.since = now
}

// avoidable tells whether the other way of reading may succeed after a final error of the current
// way.
func (f *fallback) avoidable(err error) bool {
	switch {
	case f.disabled(), errors.Is(err, kcl.ErrStreamNotFound), errors.Is(err, kcl.ErrShardNotFound),
		errors.Is(err, kcl.ErrInvalidPosition):
		return false
	case errors.Is(err, efo.ErrConsumerNotFound):
		return f.stream.cfg.ConsumerARN != "" // without a configured consumer, the registrar registers one again
	}
	return true
}

// isKeyError tells whether the stream's KMS key causes the error. Polling needs the key too.
func isKeyError(err error) bool {
	return strings.HasPrefix(awserr.Code(err), "KMS")
}

// fanOutObserver receives the events of the subscriber.
type fanOutObserver struct{ f *fallback }

func (o fanOutObserver) Opened() {
	o.f.opened = time.Now()
	o.f.progress.Opened()
}

func (o fanOutObserver) Received() { o.f.progress.Received() }

func (o fanOutObserver) Retrying(err error, wait time.Duration) {
	f := o.f
	if f.state.trial() {
		f.stop(fmt.Errorf("%w: %w", errTrial, err))
		return
	}
	f.progress.Retrying(err, wait)
	if f.disabled() || isKeyError(err) {
		f.failing = streak{}
		return
	}
	f.failing.failed(err)
	if time.Since(f.failing.since)+wait >= f.sources.fallbackAfter {
		f.reason = err
		f.stop(errFallBack)
	}
}

// pollObserver receives the events of the fetcher.
type pollObserver struct{ f *fallback }

func (o pollObserver) Opened()   {}
func (o pollObserver) Received() { o.f.progress.Received() }

func (o pollObserver) Retrying(err error, wait time.Duration) {
	f := o.f
	f.progress.Retrying(err, wait)
	if f.state.mode() == Polling {
		if !awserr.Throttled(err) && !isKeyError(err) {
			f.failing.failed(err)
		}
		if f.probeDue() {
			f.stop(errProbe)
		}
		return
	}
	// Any answer, even a refusal, restarts the timer that bounds a trial. So a trial also ends by its
	// age.
	endless := time.Since(f.trial)+wait >= trialTime
	if f.state.trial() && (endless || f.failing.err != nil && !awserr.Throttled(err)) {
		// Both ways fail, which is an outage. Go back to fan-out, to be ready at the outage's end.
		f.stop(fmt.Errorf("%w: %w", errTrial, err))
	}
}
