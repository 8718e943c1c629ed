package scheduler

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/caughtup"
)

// progress records the progress and the failures of one shard's consumer. The consumer and its
// source write it, and Status and the watchdog read it. It is the observer of a source.
type progress struct {
	mu sync.Mutex // guards the fields below

	state    State
	mode     RetrievalMode
	polled   error // why the mode is not the configured one, or nil
	records  uint64
	position kcl.ExtendedSequenceNumber
	behind   time.Duration
	nearest  time.Duration // the least value of behind since the last record, or unknownLag
	tip      caughtup.Tip
	// moved is when a batch was last processed, or the shard last had no more data. Before that it is
	// when the state last changed.
	moved time.Time
	// progressed is like moved, but zero before the first batch.
	progressed time.Time
	// heard is when the source last received anything, or when the last call of the processor
	// returned.
	heard time.Time

	begun  bool      // reading has begun
	opened time.Time // when the current subscription opened; zero without one

	call      string    // the method of the processor that runs now, or empty
	callSince time.Time // when that method was called

	// asking is when the consumer called the lease store, before the first record or at the shard's
	// end. It is zero after the answer.
	asking time.Time
	failures
}

// failures has one streak for each operation that can fail.
type failures struct {
	refusal   streak // final errors of the source, which need a person
	processor streak // errors of the processor
	reading   streak // errors of the source that it retries
	storing   streak // errors of the lease store, before the first record and at the shard's end
	lost      streak // a parent that no worker will finish
	listing   streak // errors of ListShards, without which the shard cannot start
}

// streak is a series of failures without a success between them.
type streak struct {
	since time.Time // the first failure; zero after a success
	err   error     // the last failure
}

func (s *streak) failed(err error) {
	if s.since.IsZero() {
		s.since = time.Now()
	}
	s.err = err
}

// set continues the streak with an error, and ends it with nil.
func (s *streak) set(err error) {
	if err == nil {
		*s = streak{}
	} else {
		s.failed(err)
	}
}

// unknownLag is more than any lag, so the next answer is always nearer to the tip.
const unknownLag time.Duration = math.MaxInt64

func newProgress(mode RetrievalMode) *progress {
	now := time.Now()
	return &progress{mode: mode, moved: now, heard: now, nearest: unknownLag}
}

// become moves to the next state. A transition that is not in the table is a bug of this package.
func (p *progress) become(next State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(transitions[p.state], next) {
		panic(fmt.Sprintf("scheduler: consumer goes from %s to %s", p.state, next))
	}
	p.state = next
	p.moved, p.heard = time.Now(), time.Now()
}

func (p *progress) stateNow() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// setMode sets the mode of reading. why is the reason for a mode that is not the configured one, or
// nil.
func (p *progress) setMode(mode RetrievalMode, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode, p.polled = mode, why
}

// subscribeEvery is how often SubscribeToShard may be called for a shard, by all workers together.
const subscribeEvery = time.Second

// readingBegan records that the source begins to read.
func (p *progress) readingBegan() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun = true
}

// Opened records that the source has opened a subscription. The source has received nothing yet.
func (p *progress) Opened() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = time.Now()
}

// untilNextSubscription returns how long another worker must wait before it subscribes to the
// shard. That is a second after this worker's subscription was accepted. Without a current
// subscription it is a second from now, because this worker may have just tried.
func (p *progress) untilNextSubscription() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.begun:
		return 0
	case p.opened.IsZero():
		return subscribeEvery
	}
	return time.Until(p.opened.Add(subscribeEvery))
}

// Received records that the source received something.
func (p *progress) Received() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = time.Now()
	p.reading, p.refusal = streak{}, streak{}
}

// Retrying records that the source failed and tries again.
func (p *progress) Retrying(err error, _ time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading.failed(err)
	p.opened = time.Time{}
}

// callBegan records that a method of the processor is called.
func (p *progress) callBegan(method string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.call, p.callSince = method, time.Now()
}

// blocked tells whether a method of the processor has run for limit.
func (p *progress) blocked(now time.Time, limit time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.callSince.IsZero() && now.Sub(p.callSince) >= limit
}

// callEnded records that the method has returned.
func (p *progress) callEnded(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.call, p.callSince = "", time.Time{}
	p.heard = time.Now() // the source could not receive during the call
	p.processor.set(err)
}

// recordsProcessed records that a batch was processed. The batch may be empty.
func (p *progress) recordsProcessed(records int, last kcl.ExtendedSequenceNumber, behind time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// An empty batch is progress if it is nearer to the tip than any earlier one, because parts of a
	// shard can have no records. A lag that goes up and down is no progress.
	if records > 0 || behind == 0 || behind < p.nearest {
		p.moved, p.nearest = time.Now(), behind
		if records > 0 || p.tip.LagKnown() {
			p.progressed = p.moved
		}
	}
	if behind == 0 {
		p.nearest = unknownLag
	}
	p.behind = behind
	if records > 0 {
		p.records += uint64(records)
		p.position = last
	}
}

// lastAdvance returns the number of processed records. Away from the tip, it also returns when
// reading last came nearer to the tip.
func (p *progress) lastAdvance() (records uint64, nearer time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.behind > 0 {
		nearer = p.moved
	}
	return p.records, nearer
}

// storeAsked records a call of the lease store, before the first record or at the shard's end.
func (p *progress) storeAsked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = time.Now()
}

// storeAnswered records the answer of the lease store.
func (p *progress) storeAnswered(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = time.Time{}
	p.storing.set(err)
}

// result records the result of an operation, such as a listing, in its streak.
func (p *progress) result(s *streak, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.set(err)
}

func (p *progress) fill(out *ShardStatus) {
	p.mu.Lock()
	defer p.mu.Unlock()
	out.State, out.Records, out.Position = p.state, p.records, p.position
	out.Mode, out.ModeErr = p.mode, p.polled
	out.behind, out.known = p.tip.Behind(time.Now())
	out.CaughtUp, out.LastProgress = p.tip.LastCaughtUp(), p.progressed
	for _, s := range []streak{p.processor, p.storing, p.listing, p.refusal, p.reading} {
		if s.err != nil {
			out.Err = s.err
			return
		}
	}
}
