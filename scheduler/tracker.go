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
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// StreamTracker returns the streams that the application reads now (MultiStreamTracker in the KCL).
// Every worker asks its own, at the start and then every Config.StreamRefreshInterval, from one
// goroutine. It must return when ctx ends, which it does after 30 seconds; one that does not is an
// error too, and left behind at a stop. Workers whose lists differ for a while do each other no
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

// key identifies a stream in a list.
func (c StreamConfig) key() string {
	if c.ARN != "" {
		return c.ARN
	}
	return c.Name
}

// tracked is what Status and Healthy report of the list, besides the streams that are read.
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

// trouble is what Healthy reports of the list.
func (t *tracked) trouble(now time.Time, limit time.Duration) []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	if t.asking.err != nil && now.Sub(t.asking.since) >= limit {
		errs = append(errs,
			fmt.Errorf("scheduler: Config.StreamTracker fails since %s, streams that come and go are not noticed: %w",
				t.asking.since.UTC().Format(time.RFC3339), t.asking.err))
	}
	for _, a := range t.absent {
		// The old stream reports its deletion, but not that a new one exists.
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

// names returns the names of the streams that could not be opened.
func (t *tracked) names() map[string]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := map[string]bool{}
	for _, a := range t.absent {
		names[a.cfg.identifier().Name] = true
	}
	return names
}

// tracker keeps the streams that are read in step with the list of streams. It belongs to
// the goroutine of loop, except for tracked.
type tracker struct {
	function  StreamTracker // nil: the list is Config.Streams
	interval  time.Duration
	validate  func(where string, list []StreamConfig) []error
	streams   *streamSet
	control   *controlPlane
	registrar *registrar
	syncer    *syncer
	table     *rowTable
	coord     *coordinator.Coordinator
	metrics   *metrics.Metrics
	log       *slog.Logger
	former    *formerCleaner
	tracked   tracked

	list    []StreamConfig
	where   string // names the list in errors
	current bool   // list is the last answer of the tracker function
	asking  question
}

// question is a function of the user's that is asked again and again.
type question struct{ running chan struct{} } // closed when a call that was left behind returns

// errNoAnswer says that the function was left behind and has not returned yet.
var errNoAnswer = fmt.Errorf("it has not returned in %s: %w", trackTimeout, context.DeadlineExceeded)

// ask calls f, for trackTimeout at most. A call that ignores its context is left behind:
// Healthy reports it, and a stop does not wait. Until it returns there is no other call.
func (q *question) ask(ctx context.Context, f func(ctx context.Context) error) error {
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
	go func() { // ends when f returns; joined, unless it is left behind
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

// loop opens streams that appear in the list, stops those that vanish, looks again for
// those that were deleted, and cleans up after former streams. It ends with ctx. The
// first list is there already.
func (t *tracker) loop(ctx context.Context) {
	if !t.streams.multi {
		return
	}
	backoff := retry.New(openingBackoff, maxBackoff)
	for {
		every := t.interval
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
			case <-t.streams.retrack:
				timer.Stop()
				asked = true
			}
		}
		if err := t.refresh(ctx); err != nil && ctx.Err() == nil {
			t.log.WarnContext(ctx, "stream tracker failed, keeping the previous list", "err", err)
		}
	}
}

// refresh asks the tracker function for the list.
func (t *tracker) refresh(ctx context.Context) error {
	if t.function == nil {
		return nil
	}
	var list []StreamConfig
	err := t.asking.ask(ctx, func(ctx context.Context) (err error) {
		list, err = t.function(ctx)
		return err
	})
	if err == nil {
		if bad := errors.Join(t.validate(t.where, list)...); bad != nil {
			err = fmt.Errorf("%w: %w", kcl.ErrInvalidStream, bad)
		}
	}
	t.current = err == nil
	t.tracked.mu.Lock()
	defer t.tracked.mu.Unlock()
	if err != nil {
		t.tracked.asking.failed(err)
		return fmt.Errorf("%w: %w", errTracker, err)
	}
	t.tracked.asking = streak{}
	t.list = slices.Clone(list)
	return nil
}

// apply opens and stops streams as the list says. It returns false if a stream could not
// be opened for a reason that passes.
func (t *tracker) apply(ctx context.Context) (done bool) {
	t.drop(ctx)
	done = t.open(ctx)
	// An old list proves nothing, and an empty one is a mistake more often than not.
	if t.current && len(t.list) > 0 {
		t.former.cleanUp(ctx, t.tracked.names())
	}
	t.metrics.SetStreams(len(t.streams.all()))
	return done
}

// drop stops the streams that the list lacks, or names with another consumer or other lease keys.
func (t *tracker) drop(ctx context.Context) {
	wanted := map[string]StreamConfig{}
	for _, cfg := range t.list {
		wanted[cfg.key()] = cfg
	}
	for _, st := range t.streams.all() {
		cfg, ok := wanted[st.cfg.key()]
		same := ok && cfg.ConsumerARN == st.cfg.ConsumerARN && cfg.ConsumerName == st.cfg.ConsumerName &&
			cfg.CreationEpoch == st.cfg.CreationEpoch
		if same {
			continue
		}
		t.streams.replace(st, nil)
		st.stop(errFormer)
		st.metrics.Close()
		if ok {
			t.log.InfoContext(ctx, "consumer or lease keys of the stream changed, its shards start again", "stream", st.label)
		} else {
			t.log.InfoContext(ctx, "stream is not among those to read any more, its shards are released", "stream", st.label)
		}
	}
}

// open opens the streams of the list that are not read, some at a time. It returns false
// if a failure was one that passes.
func (t *tracker) open(ctx context.Context) bool {
	running := map[string]*stream{}
	for _, st := range t.streams.all() {
		running[st.cfg.key()] = st
	}
	var todo []*absentee
	t.tracked.mu.Lock()
	known := map[string]streak{}
	for _, a := range t.tracked.absent {
		known[a.cfg.key()] = a.streak
	}
	for _, cfg := range t.list {
		if st := running[cfg.key()]; st == nil || st.err() != nil {
			todo = append(todo, &absentee{cfg: cfg, old: st, streak: known[cfg.key()]})
		}
	}
	t.tracked.absent = todo
	t.tracked.mu.Unlock()
	if len(todo) == 0 {
		return true
	}
	listing, err := t.table.list(ctx)
	parallel.Do(len(todo), openers, func(i int) {
		a, err := todo[i], err
		if err == nil {
			err = t.openOne(ctx, a.cfg, a.old, listing.Leases)
		}
		if err != nil {
			t.failed(ctx, a, err)
			return
		}
		t.tracked.mu.Lock()
		t.tracked.absent = slices.DeleteFunc(slices.Clone(t.tracked.absent), func(b *absentee) bool { return a == b })
		t.tracked.mu.Unlock()
	})
	t.coord.Nudge()
	t.tracked.mu.Lock()
	defer t.tracked.mu.Unlock()
	return !slices.ContainsFunc(t.tracked.absent, func(a *absentee) bool { return retryable(a.err) != giveUp })
}

// failed records that a stream could not be opened.
func (t *tracker) failed(ctx context.Context, a *absentee, err error) {
	if ctx.Err() != nil {
		return
	}
	t.tracked.mu.Lock()
	first := a.err == nil
	a.streak.failed(err)
	t.tracked.mu.Unlock()
	level := slog.LevelDebug
	if first {
		level = slog.LevelWarn
	}
	t.log.LogAttrs(ctx, level, "stream cannot be read yet, trying again", slog.String("stream", a.cfg.resource()),
		slog.Any("err", err))
}

// openOne opens a stream in place of old, which is nil or has stopped.
func (t *tracker) openOne(ctx context.Context, cfg StreamConfig, old *stream, rows []leases.Lease) error {
	var st *stream
	backoff := retry.New(firstBackoff, openingBackoff)
	for attempt := 1; ; attempt++ {
		var err error
		if st, err = t.control.describe(ctx, t.where, cfg); err == nil {
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
		t.log.WarnContext(ctx,
			"a stream of this name was deleted and created again; the leases of the earlier one are those of a former stream",
			"stream", st.label)
	}
	if err := t.registrar.register(ctx, st); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if other := t.streams.replace(old, st); other != nil {
		return fmt.Errorf("%w: %s: %s and %s are the same stream: name it once", kcl.ErrInvalidStream, t.where,
			cfg.resource(), other.cfg.resource())
	}
	if old != nil && old.label != st.label {
		old.metrics.Close()
	}
	t.log.InfoContext(ctx, "stream is read from now on", "stream", st.label)
	t.syncer.request(st)
	return nil
}
