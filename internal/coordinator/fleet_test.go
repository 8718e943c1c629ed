package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/leases/memory"
)

// fleet is several workers on one table in memory, within one synctest bubble. Every shard has
// endless records 1, 2, 3, ... A consumer takes one record per period and checkpoints it. The fleet
// checks the rules that no worker may break.
type fleet struct {
	t           *testing.T
	tableFaults *leasefault.Injector // of the table of all workers
	store       leases.Store         // the operator's view of the table
	log         *slog.Logger
	// period is how often a shard delivers a record.
	period time.Duration
	warned *logged
	erased map[string]time.Time // of rows that a test deleted, when

	mu       sync.Mutex // guards the fields below
	workers  map[string]*worker
	shards   map[string]*shard
	problems []string
}

// shard is the history of one shard.
type shard struct {
	reader  string // who delivered last
	at      time.Time
	moves   int           // changes of reader
	gap     time.Duration // the longest time without a delivery
	done    int           // the highest record processed
	repeats int           // records delivered again
	acked   int           // the highest record whose checkpoint was accepted
	reading map[string]int
	holders map[*worker]*holder.Holder // of the consumers that read it
	rewound string                     // why records are delivered again
}

type worker struct {
	f      *fleet
	id     string
	faults *leasefault.Injector // of this worker's view of the table
	coord  *coordinator.Coordinator
	cancel context.CancelFunc
	done   chan struct{}
	err    error
	killed bool
}

func newFleet(t *testing.T, leaseCount int) *fleet {
	warned, table := &logged{}, leasefault.New(memory.New())
	f := &fleet{
		t: t, tableFaults: table, store: table.Store(), workers: map[string]*worker{}, shards: map[string]*shard{}, erased: map[string]time.Time{},
		period: 200 * time.Millisecond, warned: warned,
		log: slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), warned), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for i := range leaseCount {
		f.create(fmt.Sprintf("shardId-%012d", i))
	}
	t.Cleanup(func() {
		for _, w := range f.workers {
			w.stop()
		}
		require.Empty(t, f.problems)
	})
	return f
}

func (f *fleet) create(key string) { f.createFor("", key) }

// createFor makes a lease that a worker of this library has.
func (f *fleet) createFor(owner, key string) {
	require.NoError(f.t, f.store.Create(f.t.Context(), leases.Lease{
		Key: key, ShardID: key, ThroughputKBps: -1, Owner: owner, NativeOwner: owner,
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}))
}

// start runs a worker; change may adapt its configuration.
func (f *fleet) start(id string, change ...func(*coordinator.Config)) *worker {
	w := f.prepare(id, change...)
	w.run()
	return w
}

func (f *fleet) prepare(id string, change ...func(*coordinator.Config)) *worker {
	w := &worker{f: f, id: id, faults: leasefault.New(f.store), done: make(chan struct{})}
	cfg := coordinator.Config{Store: w.faults.Store(), WorkerID: id, Consume: w.consume, Logger: f.log.With("worker", id)}
	for _, c := range change {
		c(&cfg)
	}
	w.coord = coordinator.New(cfg)
	f.mu.Lock()
	f.workers[id] = w
	f.mu.Unlock()
	return w
}

func (w *worker) run() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	go func() { // ends when Run does; stop waits for it
		defer close(w.done)
		w.err = w.coord.Run(ctx)
	}()
}

func (w *worker) stop() {
	w.cancel()
	<-w.done
}

// kill ends a process without warning, as far as others can tell.
func (w *worker) kill() {
	// The table first: a record that no longer counts must not be checkpointed.
	w.faults.SetFault(leasefault.Silent)
	w.f.mu.Lock()
	w.killed = true
	w.f.mu.Unlock()
}

// consume is a consumer that keeps all rules of the scheduler.
func (w *worker) consume(ctx context.Context, h *holder.Holder) {
	key := h.Lease().Key
	at := w.f.begin(w, h)
	defer w.f.end(w, key)
	tick := time.NewTicker(w.f.period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.Stopping():
			if at > 0 {
				w.f.checkpointed(w, key, h.Checkpoint(ctx, number(at)))
			}
			return
		case <-tick.C:
			if isClosed(h.Stopping()) {
				continue // when both are ready, stopping goes first
			}
		}
		if !h.Valid() {
			return
		}
		at++
		w.f.deliver(w, key, at)
		err := h.Checkpoint(ctx, number(at))
		w.f.acknowledged(key, at, err)
		if err != nil {
			w.f.checkpointed(w, key, err)
			return
		}
	}
}

// acknowledged notes an accepted checkpoint. Every later holder must start there or later.
func (f *fleet) acknowledged(key string, at int, err error) {
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		s := f.shardLocked(key)
		s.acked = max(s.acked, at)
	}
}

func number(n int) kcl.ExtendedSequenceNumber {
	return kcl.ExtendedSequenceNumber{SequenceNumber: strconv.Itoa(n)}
}

// begin notes that a consumer starts, and returns the last processed record by the lease.
func (f *fleet) begin(w *worker, h *holder.Holder) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := h.Lease().Key
	s := f.shardLocked(key)
	s.reading[w.id]++
	if s.reading[w.id] > 1 {
		f.problemLocked("%s reads %s twice", w.id, key)
	}
	s.holders[w] = h
	at, err := strconv.Atoi(h.Lease().Checkpoint.SequenceNumber)
	if err != nil {
		return 0
	}
	if at < s.acked {
		f.problemLocked("%s begins %s at %d, but the checkpoint at %d was accepted", w.id, key, at, s.acked)
	}
	return at
}

func (f *fleet) end(w *worker, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shardLocked(key)
	s.reading[w.id]--
	delete(s.holders, w) // it may be valid until the answer to its release is there
}

func (f *fleet) deliver(w *worker, key string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.killed {
		return
	}
	s := f.shardLocked(key)
	for other, h := range s.holders {
		if other != w && h.Valid() {
			f.problemLocked("%s and %s both hold %s", other.id, w.id, key)
		}
	}
	now := time.Now()
	switch {
	case n > s.done+1:
		f.problemLocked("%s skipped from record %d to %d of %s", w.id, s.done, n, key)
	case n <= s.done:
		s.repeats++
	default:
		s.rewound = ""
	}
	s.done = max(s.done, n)
	if s.reader != "" {
		s.gap = max(s.gap, now.Sub(s.at))
		if s.reader != w.id {
			s.moves++
			if n <= s.acked {
				f.problemLocked("%s delivered record %d of %s, which %s had checkpointed up to %d", w.id, n, key, s.reader, s.acked)
			}
		}
	}
	s.reader, s.at = w.id, now
}

// checkpointed checks that a checkpoint failed only for a good reason.
func (f *fleet) checkpointed(w *worker, key string, err error) {
	if err != nil && !errors.Is(err, kcl.ErrLeaseLost) && !errors.Is(err, kcl.ErrShutdownTimeout) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.problemLocked("%s: checkpoint of %s: %v", w.id, key, err)
	}
}

func (f *fleet) problemLocked(format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

func (f *fleet) shardLocked(key string) *shard {
	s := f.shards[key]
	if s == nil {
		s = &shard{reading: map[string]int{}, holders: map[*worker]*holder.Holder{}}
		f.shards[key] = s
	}
	return s
}

// load returns how many leases each owner has in the table.
func (f *fleet) load() map[string]int {
	l, err := f.store.List(f.t.Context())
	require.NoError(f.t, err)
	load := map[string]int{}
	for _, row := range l.Leases {
		load[row.Owner]++
	}
	return load
}

// reset forgets moves and gaps up to now.
func (f *fleet) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.shards {
		s.moves, s.gap, s.repeats = 0, 0, 0
	}
}

func (f *fleet) total(of func(*shard) int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.shards {
		n += of(s)
	}
	return n
}

func (f *fleet) moves() int   { return f.total(func(s *shard) int { return s.moves }) }
func (f *fleet) repeats() int { return f.total(func(s *shard) int { return s.repeats }) }

// longestGap is the longest time that a shard went without a delivery, up to now.
func (f *fleet) longestGap() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var gap time.Duration
	for _, s := range f.shards {
		gap = max(gap, s.gap, time.Since(s.at))
	}
	return gap
}

// logged keeps what is logged as a warning or worse.
type logged struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

// take returns what was logged since the last call.
func (l *logged) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}

// requireBalance demands that the workers hold all leases, evenly.
func (f *fleet) requireBalance(workers ...string) {
	f.t.Helper()
	requireBalance(f.t, f.load(), workers, func(int) int { return 1 })
}

// requireBalance demands that the load is that of workers, and that two of them differ by no more
// than slack of the larger one.
func requireBalance(t *testing.T, load map[string]int, workers []string, slack func(high int) int) {
	t.Helper()
	slices.Sort(workers)
	require.Equal(t, workers, slices.Sorted(maps.Keys(load)), "%v", load)
	counts := slices.Collect(maps.Values(load))
	high := slices.Max(counts)
	require.LessOrEqual(t, high-slices.Min(counts), slack(high), "%v", load)
}

// String returns what was logged and not taken.
func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}
