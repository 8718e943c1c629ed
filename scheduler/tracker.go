package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// StreamTracker returns the streams that the application reads now (MultiStreamTracker in the KCL).
// Each worker calls its own tracker, at the start and then every Config.StreamRefreshInterval, from
// one goroutine. ctx ends after 30 seconds, and the function must then return. A function that does
// not return counts as failed, and a stop does not wait for it. The lists of workers may differ for
// a while.
//
// A new stream in the list is read without a restart. Reading starts from the checkpoints in the
// lease table, or else from its InitialPosition. After a stream has left the list, its processors
// get ShutdownRequested, and its leases are released and kept. If the stream comes back, reading
// goes on from its checkpoints; see [FormerStreams]. Only streams of the list are read. (The KCL
// reads a former stream until its leases are deleted, and reads all other streams of the table
// too.) A change of ConsumerName or ConsumerARN restarts the stream's consumers. A change of
// InitialPosition has no effect on a stream in the list. With an empty list no stream is read.
//
// After an error, a panic or an invalid list the previous list stays in force. The library logs a
// warning, and Healthy returns an error if the failures last.
type StreamTracker func(ctx context.Context) ([]StreamConfig, error)

const (
	trackTimeout   = 30 * time.Second // the limit of a call of the tracker
	openers        = 8                // streams that are opened at the same time
	openAttempts   = 4                // attempts to open a stream until the next refresh
	openingBackoff = 2 * time.Second  // the longest wait between two attempts
)

// errFormer is the error that stops a stream after it has left the list.
var errFormer = errors.New("the stream has left the list of streams")

// errTracker wraps the errors of the tracker.
var errTracker = errors.New("ask Config.StreamTracker")

// key identifies a stream in a list.
func (c StreamConfig) key() string {
	if c.ARN != "" {
		return c.ARN
	}
	return c.Name
}

// tracked has the failures of the tracker and the unopened streams, for Status and Healthy.
type tracked struct {
	mu       sync.Mutex // guards the fields below
	asking   streak     // failures of the tracker
	unopened []*unopenedStream
}

// unopenedStream is a stream of the list that could not be opened yet.
type unopenedStream struct {
	cfg StreamConfig
	old *stream // the stopped stream that cfg replaces, which reports its own error; or nil
	streak
}

// trouble returns the errors of the list for Healthy.
func (t *tracked) trouble(now time.Time, limit time.Duration) []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	if t.asking.err != nil && now.Sub(t.asking.since) >= limit {
		errs = append(errs,
			fmt.Errorf("scheduler: Config.StreamTracker has failed since %s, the previous list stays in force: %w",
				t.asking.since.UTC().Format(time.RFC3339), t.asking.err))
	}
	for _, a := range t.unopened {
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
	for _, a := range t.unopened {
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
	for _, a := range t.unopened {
		names[a.cfg.identifier().Name] = true
	}
	return names
}

// tracker opens and stops streams to match the list of streams. It belongs to the goroutine of
// loop, except for tracked.
type tracker struct {
	function  StreamTracker // nil: the list is Config.Streams
	interval  time.Duration
	validate  func(listName string, list []StreamConfig) []error
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

	list     []StreamConfig
	listName string // for errors
	current  bool   // list is the last answer of the tracker function
	asking   question
}

// question calls a user function that may not return.
type question struct{ running chan struct{} } // closed when the abandoned call returns; nil without one

// errNoAnswer says that a call was abandoned and has not returned.
var errNoAnswer = fmt.Errorf("it has not returned in %s: %w", trackTimeout, context.DeadlineExceeded)

// ask calls f with a time limit of trackTimeout. It abandons a call that ignores its context.
// Healthy reports such a call, and a stop does not wait for it. ask makes no other call until that
// call returns.
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
	go func() { // ends when f returns; joined, unless the call is abandoned
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

// loop opens new streams of the list, stops streams that have left it, searches again for deleted
// streams, and deletes leases of former streams. It ends with ctx. The first list must be set
// before.
func (t *tracker) loop(ctx context.Context) {
	if !t.streams.multi {
		return
	}
	backoff := retry.New(openingBackoff, maxBackoff)
	for {
		every := t.interval
		refresh := time.Now().Add(every - every/5 + chance.N(2*every/5+1, "tracker"))
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
			case <-t.streams.refresh:
				timer.Stop()
				asked = true
			}
		}
		if err := t.refresh(ctx); err != nil && ctx.Err() == nil {
			t.log.WarnContext(ctx, "stream tracker failed, keeping the previous list", "err", err)
		}
	}
}

// refresh gets the list from the tracker function.
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
		if bad := errors.Join(t.validate(t.listName, list)...); bad != nil {
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

// apply opens and stops streams to match the list. It returns false if opening a stream failed with
// a transient error.
func (t *tracker) apply(ctx context.Context) (done bool) {
	t.stopRemoved(ctx)
	done = t.open(ctx)
	// Delete no leases by an old list. An empty list is mostly a mistake.
	if t.current && len(t.list) > 0 {
		t.former.cleanUp(ctx, t.tracked.names())
	}
	t.metrics.SetStreams(len(t.streams.all()))
	return done
}

// stopRemoved stops the streams that are not in the list, or that the list gives another consumer
// or other lease keys.
func (t *tracker) stopRemoved(ctx context.Context) {
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
			t.log.InfoContext(ctx, "consumer or lease keys of the stream changed, restarting its shards", "stream", st.label)
		} else {
			t.log.InfoContext(ctx, "stream has left the list of streams, releasing its shards", "stream", st.label)
		}
	}
}

// open opens the unread streams of the list. It returns false after a transient error.
func (t *tracker) open(ctx context.Context) bool {
	running := map[string]*stream{}
	for _, st := range t.streams.all() {
		running[st.cfg.key()] = st
	}
	var todo []*unopenedStream
	t.tracked.mu.Lock()
	known := map[string]streak{}
	for _, a := range t.tracked.unopened {
		known[a.cfg.key()] = a.streak
	}
	for _, cfg := range t.list {
		if st := running[cfg.key()]; st == nil || st.err() != nil {
			todo = append(todo, &unopenedStream{cfg: cfg, old: st, streak: known[cfg.key()]})
		}
	}
	t.tracked.unopened = todo
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
		same := func(b *unopenedStream) bool { return a == b }
		t.tracked.unopened = slices.DeleteFunc(slices.Clone(t.tracked.unopened), same)
		t.tracked.mu.Unlock()
	})
	t.coord.Nudge()
	t.tracked.mu.Lock()
	defer t.tracked.mu.Unlock()
	return !slices.ContainsFunc(t.tracked.unopened, func(a *unopenedStream) bool { return retryable(a.err) != giveUp })
}

// failed records that a stream could not be opened.
func (t *tracker) failed(ctx context.Context, a *unopenedStream, err error) {
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

// openOne opens a stream, and replaces old with it. old is a stopped stream or nil.
func (t *tracker) openOne(ctx context.Context, cfg StreamConfig, old *stream, rows []leases.Lease) error {
	var st *stream
	backoff := retry.New(firstBackoff, openingBackoff)
	for attempt := 1; ; attempt++ {
		var err error
		if st, err = t.control.describe(ctx, t.listName, cfg); err == nil {
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
	if st.replacesStream(rows) {
		t.log.WarnContext(ctx,
			"stream was deleted and created again; the leases of the earlier stream are those of a former stream",
			"stream", st.label)
	}
	if err := t.registrar.register(ctx, st); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if other := t.streams.replace(old, st); other != nil {
		return fmt.Errorf("%w: %s: %s and %s are the same stream: name it once", kcl.ErrInvalidStream, t.listName,
			cfg.resource(), other.cfg.resource())
	}
	if old != nil && old.label != st.label {
		old.metrics.Close()
	}
	t.log.InfoContext(ctx, "reading the stream begins", "stream", st.label)
	t.syncer.request(st)
	return nil
}
