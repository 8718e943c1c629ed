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

// progress is how far one shard's consumer has come, and what fails. The consumer and its
// source write it, Status and the watchdog read it. It observes both sources.
type progress struct {
	mu sync.Mutex // guards the fields below

	state    State
	mode     RetrievalMode
	polled   error // why, when the mode is not the configured one
	records  uint64
	position kcl.ExtendedSequenceNumber
	behind   time.Duration
	nearest  time.Duration // the least of behind since the last record, or unknownLag
	tip      caughtup.Tip
	// moved is when a batch was processed, or the shard had no more data; at first
	// when the state changed last.
	moved time.Time
	// progressed is the same, and zero at first.
	progressed time.Time
	// heard is when the source last heard anything, or was last free to listen.
	heard time.Time

	begun  bool      // reading
	opened time.Time // the subscription that reading goes on with; zero when there is none

	call      string    // method of the processor that runs now; empty when none does
	callSince time.Time // when it was called

	// when the lease store was asked, before the first record or at the shard's end; zero when it has
	// answered
	asking time.Time
	failures
}

// failures is what fails now.
type failures struct {
	refusal   streak // the source has given up, with an error that needs a person
	processor streak // the processor
	reading   streak // the source
	storing   streak // the lease store, before the first record and at the shard's end
	lost      streak // a parent that nobody will finish
	listing   streak // ListShards, without which the shard cannot start
}

// streak is failures without a success between them.
type streak struct {
	since time.Time // of the first; zero when the last attempt succeeded
	err   error     // of the last
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

// unknownLag is more than any lag: the next answer comes nearer in any case.
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

// setMode says how the shard is read from now on, and why, when that is not how it should be.
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

// Opened records that the source may read now. It has received nothing yet.
func (p *progress) Opened() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened = time.Now()
}

// untilNextSubscription is when another worker may subscribe to the shard: a second after this one
// was accepted, or from now on, when this one was still at it a moment ago.
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

// callBegan records that a method of the processor runs.
func (p *progress) callBegan(method string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.call, p.callSince = method, time.Now()
}

// blocked tells whether a method of the processor has run for a while.
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

// recordsProcessed records that a batch was processed, or was empty.
func (p *progress) recordsProcessed(records int, last kcl.ExtendedSequenceNumber, behind time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// An empty batch is progress if it is nearer to the tip than any before: a part of the
	// shard has no records. A lag that goes up and down is no progress.
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

// lastAdvance returns how many records have been processed and, away from the tip,
// when the shard last came nearer to it.
func (p *progress) lastAdvance() (records uint64, nearer time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.behind > 0 {
		nearer = p.moved
	}
	return p.records, nearer
}

// storeAsked records that the lease store is asked, before the first record or at the shard's end.
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

// result records whether something that failed, such as listing, works now.
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
