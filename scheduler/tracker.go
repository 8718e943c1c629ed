package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
)

// StreamTracker returns the streams that the application reads now
// (MultiStreamTracker in the KCL). Every worker asks its own, at the start and
// then every Config.StreamRefreshInterval, from one goroutine. It must return when
// ctx ends, which it does after 30 seconds; one that does not is an error too, and
// left behind at a stop. Workers whose lists differ for a while do each other no
// harm.
//
// A stream that appears is read without a restart, from its InitialPosition
// unless the lease table has its checkpoints. A stream that is not in the list
// any more is left: its processors get ShutdownRequested, its leases are released
// and stay, and reading goes on from there when the stream comes back; see
// [FormerStreams]. (The KCL goes on reading it until its leases are deleted, and
// reads every other stream that the table knows too; here only what the list
// names is read.) A change of ConsumerName or ConsumerARN makes the stream's
// consumers start again; InitialPosition counts only when a stream appears. An
// empty list is a list: nothing is read.
//
// An error, a panic, or a list that is not valid changes nothing: the last list
// counts, a warning is logged, and Healthy tells when it lasts.
type StreamTracker func(ctx context.Context) ([]StreamConfig, error)

const (
	trackTimeout   = 30 * time.Second // an answer of the tracker
	openers        = 8                // streams that are opened at the same time
	openAttempts   = 4                // before a stream is left to the next refresh
	openingBackoff = 2 * time.Second  // at most between two of those
)

// errFormer stops a stream that is not in the list any more.
var errFormer = errors.New("the stream is not among the streams to read any more")

// errTracker is wrapped by what the tracker returns.
var errTracker = errors.New("ask Config.StreamTracker")

// key tells the streams of a list apart.
func (c StreamConfig) key() string {
	if c.ARN != "" {
		return c.ARN
	}
	return c.Name
}

// tracked is what is known about the list of streams beside those that are read.
type tracked struct {
	mu     sync.Mutex // guards the fields below
	asking streak     // failures of the tracker
	absent []*absentee
}

// absentee is a stream of the list that could not be opened yet.
type absentee struct {
	cfg StreamConfig
	old *stream // that has stopped and says so itself, or nil
	streak
}

// trouble is what Healthy tells about the list.
func (t *tracked) trouble(now time.Time, limit time.Duration) []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	if t.asking.err != nil && now.Sub(t.asking.since) >= limit {
		errs = append(errs, fmt.Errorf("scheduler: Config.StreamTracker fails since %s, streams that come and go are not noticed: %w", t.asking.since.UTC().Format(time.RFC3339), t.asking.err))
	}
	for _, a := range t.absent {
		// The old one says that it was deleted, and not that there is another now.
		silent := a.old == nil || errors.Is(a.err, kcl.ErrStreamRecreated)
		if silent && a.err != nil && (retryable(a.err) == giveUp || now.Sub(a.since) >= limit) {
			errs = append(errs, fmt.Errorf("scheduler: %s is not read yet: %w", a.cfg.resource(), a.err))
		}
	}
	return errs
}

// status returns the streams of the list that are not read yet.
func (t *tracked) status(mode RetrievalMode) []StreamStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []StreamStatus
	for _, a := range t.absent {
		if a.old != nil {
			continue
		}
		out = append(out, StreamStatus{Stream: a.cfg.identifier(), Mode: mode, ConsumerARN: a.cfg.ConsumerARN, Err: a.err})
	}
	return out
}

// tracker keeps the streams that are read in step with the list. It belongs to
// the goroutine of trackLoop.
type tracker struct {
	s      *Scheduler
	list   []StreamConfig
	where  string // the list's name in errors
	fresh  bool   // list is what the tracker said last
	former shardsync.FormerWatch

	asking, providing question
}

// question is a function of the user's that tells something.
type question struct{ running chan struct{} } // closed when a call that was left behind has returned

// errNoAnswer says that a function was left behind and has not returned yet.
var errNoAnswer = fmt.Errorf("it has not returned in %s: %w", trackTimeout, context.DeadlineExceeded)

// answer calls f, for trackTimeout at most. A call that does not heed its
// context is left behind, so that health can tell and a stop needs not wait;
// until it returns, there is no other one.
func (q *question) answer(ctx context.Context, f func(ctx context.Context) error) error {
	if q.running != nil {
		select {
		case <-q.running:
			q.running = nil
		default:
			return errNoAnswer
		}
	}
	call, cancel := context.WithTimeout(ctx, trackTimeout)
	done := make(chan struct{})
	var err error
	go func() { // ends when f returns; waited for, unless it is left behind
		defer close(done)
		defer cancel()
		err = usercode.Call(func() error { return f(call) })
	}()
	<-call.Done()
	grace := time.NewTimer(time.Second)
	defer grace.Stop()
	select {
	case <-done:
		return err
	case <-grace.C:
		q.running = done
		return errNoAnswer
	}
}

func newTracker(s *Scheduler) *tracker {
	t := &tracker{s: s, list: s.cfg.Streams, where: "Config.Streams", fresh: true}
	if s.cfg.StreamTracker != nil {
		t.where = "Config.StreamTracker"
	}
	return t
}

// trackLoop follows the list of streams: it opens those that appear, stops those
// that vanish, looks again for those that were deleted, and deletes the leases of
// former streams if it shall. It ends with ctx. t has the first list.
func (s *Scheduler) trackLoop(ctx context.Context, t *tracker) {
	if !s.cfg.multi() {
		return
	}
	backoff := retry.New(openingBackoff, maxBackoff)
	for {
		every := s.cfg.StreamRefreshInterval
		refresh := time.Now().Add(every - every/5 + rand.N(2*every/5+1))
		for asked := false; !asked; {
			wait := time.Until(refresh)
			if t.apply(ctx) {
				backoff.Reset()
			} else {
				wait = min(time.Until(refresh), backoff.Next())
			}
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
				asked = !time.Now().Before(refresh)
			case <-s.streams.retrack:
				timer.Stop()
				asked = true
			}
		}
		if err := t.ask(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "the streams to read are not known now, the last list counts", "err", err)
		}
	}
}

// ask gets a new list.
func (t *tracker) ask(ctx context.Context) error {
	if t.s.cfg.StreamTracker == nil {
		return nil
	}
	var list []StreamConfig
	err := t.asking.answer(ctx, func(ctx context.Context) (err error) {
		list, err = t.s.cfg.StreamTracker(ctx)
		return err
	})
	if err == nil {
		if bad := errors.Join(t.s.cfg.validateStreams(t.where, list)...); bad != nil {
			err = fmt.Errorf("%w: %w", kcl.ErrInvalidStream, bad)
		}
	}
	t.fresh = err == nil
	t.s.tracked.mu.Lock()
	defer t.s.tracked.mu.Unlock()
	if err != nil {
		t.s.tracked.asking.failed(err)
		return fmt.Errorf("%w: %w", errTracker, err)
	}
	t.s.tracked.asking = streak{}
	t.list = slices.Clone(list)
	return nil
}

// apply brings the streams that are read in step with the list. It tells whether
// it is done: false when a stream could not be opened for a reason that passes.
func (t *tracker) apply(ctx context.Context) (done bool) {
	t.drop(ctx)
	done = t.open(ctx)
	t.cleanUp(ctx)
	t.s.cfg.Metrics.SetStreams(len(t.s.streams.all()))
	return done
}

// drop stops the streams that are not in the list any more, or are to be read
// with another consumer or other lease keys.
func (t *tracker) drop(ctx context.Context) {
	wanted := map[string]StreamConfig{}
	for _, cfg := range t.list {
		wanted[cfg.key()] = cfg
	}
	for _, st := range t.s.streams.all() {
		cfg, ok := wanted[st.cfg.key()]
		same := ok && cfg.ConsumerARN == st.cfg.ConsumerARN && cfg.ConsumerName == st.cfg.ConsumerName && cfg.CreationEpoch == st.cfg.CreationEpoch
		if same {
			continue
		}
		t.s.streams.replace(st, nil)
		st.stop(errFormer)
		st.metrics.Close()
		if ok {
			t.s.log.InfoContext(ctx, "stream is to be read with another consumer or other lease keys, its shards start again", "stream", st.label)
		} else {
			t.s.log.InfoContext(ctx, "stream is not among those to read any more, its shards are released", "stream", st.label)
		}
	}
}

// open opens the streams of the list that are not read, some at a time. It tells
// whether no failure was one that passes.
func (t *tracker) open(ctx context.Context) bool {
	running := map[string]*stream{}
	for _, st := range t.s.streams.all() {
		running[st.cfg.key()] = st
	}
	var todo []*absentee
	t.s.tracked.mu.Lock()
	known := map[string]streak{}
	for _, a := range t.s.tracked.absent {
		known[a.cfg.key()] = a.streak
	}
	for _, cfg := range t.list {
		if st := running[cfg.key()]; st == nil || st.err() != nil {
			todo = append(todo, &absentee{cfg: cfg, old: st, streak: known[cfg.key()]})
		}
	}
	t.s.tracked.absent = todo
	t.s.tracked.mu.Unlock()
	if len(todo) == 0 {
		return true
	}
	listing, err := t.s.table.list(ctx)
	var wg sync.WaitGroup
	slots := make(chan struct{}, openers)
	for _, a := range todo {
		slots <- struct{}{}
		wg.Go(func() { // ends when the stream is open, or cannot be opened now
			defer func() { <-slots }()
			err := err
			if err == nil {
				err = t.openOne(ctx, a.cfg, a.old, listing.Leases)
			}
			if err != nil {
				t.failed(ctx, a, err)
				return
			}
			t.s.tracked.mu.Lock()
			t.s.tracked.absent = slices.DeleteFunc(slices.Clone(t.s.tracked.absent), func(b *absentee) bool { return a == b })
			t.s.tracked.mu.Unlock()
		})
	}
	wg.Wait()
	t.s.coord.Nudge()
	t.s.tracked.mu.Lock()
	defer t.s.tracked.mu.Unlock()
	return !slices.ContainsFunc(t.s.tracked.absent, func(a *absentee) bool { return retryable(a.err) != giveUp })
}

// failed notes that a stream could not be opened.
func (t *tracker) failed(ctx context.Context, a *absentee, err error) {
	if ctx.Err() != nil {
		return
	}
	t.s.tracked.mu.Lock()
	first := a.err == nil
	a.streak.failed(err)
	t.s.tracked.mu.Unlock()
	level := slog.LevelDebug
	if first {
		level = slog.LevelWarn
	}
	t.s.log.LogAttrs(ctx, level, "stream cannot be read yet, trying again", slog.String("stream", a.cfg.resource()), slog.Any("err", err))
}

// openOne opens a stream in place of old, which has stopped, or nil.
func (t *tracker) openOne(ctx context.Context, cfg StreamConfig, old *stream, rows []leases.Lease) error {
	var st *stream
	backoff := retry.New(firstBackoff, openingBackoff)
	for attempt := 1; ; attempt++ {
		var err error
		if st, err = t.s.control.describe(ctx, t.where, cfg); err == nil {
			break
		}
		if attempt == openAttempts || retryable(err) == giveUp {
			return err
		}
		if err := backoff.Wait(ctx); err != nil {
			return err
		}
	}
	if err := st.checkRows(rows); err != nil {
		return err
	}
	if err := st.checkEpoch(rows); err != nil {
		return err
	}
	if st.replaces(rows) {
		t.s.log.WarnContext(ctx, "a stream of this name was deleted and created again; the leases of the earlier one are those of a former stream", "stream", st.label)
	}
	if err := t.s.registrar.register(ctx, st); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if other := t.s.streams.replace(old, st); other != nil {
		return fmt.Errorf("%w: %s: %s and %s are the same stream: name it once", kcl.ErrInvalidStream, t.where, cfg.resource(), other.cfg.resource())
	}
	if old != nil && old.label != st.label {
		old.metrics.Close()
	}
	t.s.log.InfoContext(ctx, "stream is read from now on", "stream", st.label)
	t.s.syncer.request(st)
	return nil
}
