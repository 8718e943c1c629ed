package processors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/processors"
)

// each returns a factory of lanes that call handle with one record at a time.
func each(handle func(context.Context, kcl.Record) error) func(int) kcl.Processor {
	return func(int) kcl.Processor {
		return processors.Each(handle, processors.FuncOptions{
			Checkpoints: processors.Checkpoints{Interval: never},
			Logger:      quiet,
		})
	}
}

var every = processors.Checkpoints{Records: 1, Interval: never}

// gates lets a test decide which record is finished next.
type gates struct {
	mu      sync.Mutex // guards the fields below
	waiting map[string]chan error
	seen    seen
}

func (g *gates) handle(ctx context.Context, r kcl.Record) error {
	done := make(chan error, 1)
	g.mu.Lock()
	if g.waiting == nil {
		g.waiting = map[string]chan error{}
	}
	g.waiting[string(r.Data())] = done
	g.mu.Unlock()
	select {
	case err := <-done:
		if err == nil {
			g.seen.add(r)
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *gates) running() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for n := range g.waiting {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b string) int { return number(a) - number(b) })
	return out
}

func (g *gates) release(n string, err error) {
	g.mu.Lock()
	done := g.waiting[n]
	delete(g.waiting, n)
	g.mu.Unlock()
	done <- err
	synctest.Wait()
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// Keys and the order of completion are random. The checkpoint is always the last record before
// which all are finished, and the records of a key are in order.
func TestX08CheckpointIsTheLowWatermark(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(rt, "records")
		lanes := rapid.IntRange(1, 5).Draw(rt, "lanes")
		limit := rapid.IntRange(1, 50).Draw(rt, "in flight")
		cuts := rapid.SliceOfN(rapid.IntRange(1, 10), n, n).Draw(rt, "batches")
		keys := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e", "f"}), n+1, n+1).Draw(rt, "keys")
		picks := rapid.SliceOfN(rapid.IntRange(0, 1000), 3*n, 3*n).Draw(rt, "completions")
		var trouble error
		inBubble(t, func() {
			trouble = watermark(n, lanes, limit, cuts, keys, picks)
		})
		require.NoError(rt, trouble)
	})
}

func inBubble(t *testing.T, f func()) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { f() })
}

// must is the tb of code whose failures are reported outside the bubble.
type must struct{}

func (must) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (must) FailNow()                          {}
func (must) Helper()                           {}

// watermark finishes records in the order of picks. One in five fails first.
func watermark(n, lanes, limit int, cuts []int, keys []string, picks []int) error {
	g := &gates{}
	s := open(must{}, processors.Concurrent(each(g.handle), processors.ConcurrentOptions{
		Lanes: lanes, MaxBatch: 1, MaxRecords: limit, Checkpoints: every, Logger: quiet,
	}))
	delivered := make(chan error, 1)
	go func() { // ends when everything is delivered
		defer close(delivered)
		for from := 1; from <= n; {
			to := min(from+cuts[from-1]-1, n)
			var batch []kcl.Record
			for i := from; i <= to; i++ {
				batch = append(batch, rec(i, keys[i]))
			}
			for s.deliver(batch...) != nil {
				time.Sleep(time.Second)
			}
			from = to + 1
		}
	}()
	finished := map[int]bool{}
	for round := 0; len(finished) < n; round++ {
		synctest.Wait()
		running := g.running()
		if len(running) == 0 { // a lane or the delivery waits after a failure
			time.Sleep(time.Minute)
			continue
		}
		pick := picks[min(round, len(picks)-1)]
		r := running[pick%len(running)]
		if len(running) > limit {
			return fmt.Errorf("%d in flight, at most %d allowed", len(running), limit)
		}
		if pick%5 == 0 && round < len(picks) {
			g.release(r, errBoom)
			continue
		}
		g.release(r, nil)
		finished[number(r)] = true
		want := 0
		for finished[want+1] {
			want++
		}
		if got := number(s.row.last()); got != want {
			return fmt.Errorf("checkpoint %d, want %d after %v", got, want, g.seen.list())
		}
	}
	<-delivered
	if err := s.shutdown(); err != nil {
		return err
	}
	position := map[string]int{}
	for _, r := range g.seen.list() {
		key := keys[number(r)]
		if number(r) <= position[key] {
			return fmt.Errorf("key %q: %s after %d", key, r, position[key])
		}
		position[key] = number(r)
	}
	return nil
}

// Records without a key have a lane of their own, and stay in order. Records of one key stay in
// order too.
func TestX19RecordsOfOneKeyAreInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gates{}
		s := open(t, processors.Concurrent(each(g.handle),
			processors.ConcurrentOptions{Lanes: 16, MaxBatch: 1, Checkpoints: every}))
		require.NoError(t, s.deliver(rec(1, "a"), rec(2, "a"), rec(3, ""), rec(4, ""), rec(5, "a"), rec(6, "")))
		synctest.Wait()
		require.Equal(t, []string{"1", "3"}, g.running())
		g.release("3", nil)
		require.Equal(t, []string{"1", "4"}, g.running())
		require.Empty(t, s.row.all())
		g.release("1", nil)
		require.Equal(t, "1", s.row.last())
		g.release("2", nil)
		require.Equal(t, "3", s.row.last())
		for _, r := range []string{"5", "4", "6"} {
			g.release(r, nil)
		}
		require.NoError(t, s.shutdown())
		require.Equal(t, "6", s.row.last())
	})
}

func TestConcurrentByAnotherKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gates{}
		s := open(t, processors.Concurrent(each(g.handle), processors.ConcurrentOptions{
			Lanes: 64, Checkpoints: every,
			Key: func(r kcl.Record) (string, bool) { return r.SequenceNumber(), true },
		}))
		require.NoError(t, s.deliver(recs(1, 8, "")...))
		synctest.Wait()
		require.Greater(t, len(g.running()), 2)
		for len(g.running()) > 0 {
			g.release(g.running()[0], nil)
		}
		require.NoError(t, s.shutdown())
		require.Equal(t, "8", s.row.last())
	})
}

func TestX17ConcurrentIsBounded(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]processors.ConcurrentOptions{
		"records": {MaxRecords: 4},
		"bytes":   {MaxBytes: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o.Checkpoints, o.MaxBatch = every, 1
				g := &gates{}
				s := open(t, processors.Concurrent(each(g.handle), o))
				returned := make(chan error, 1)
				// Record 1 is held up. Records that are finished behind it count.
				go func() { // ends with the call
					returned <- s.deliver(rec(1, ""), rec(2, "b"), rec(3, "b"), rec(4, "b"), rec(5, "b"))
				}()
				synctest.Wait()
				for _, r := range []string{"2", "3", "4"} {
					g.release(r, nil)
				}
				require.Equal(t, []string{"1"}, g.running())
				require.Empty(t, returned)
				g.release("1", nil)
				require.NoError(t, <-returned)
				require.Equal(t, "4", s.row.last())
				g.release("5", nil)
				big := kcl.NewRecord(kcl.RecordFields{SequenceNumber: "6", Data: []byte("123456")})
				require.NoError(t, s.deliver(big), "a record above the limit comes alone")
				synctest.Wait()
				require.Equal(t, []string{"123456"}, g.running())
				g.release("123456", nil)
				require.NoError(t, s.shutdown())
				require.Equal(t, "6", s.row.last())
			})
		})
	}
}

func TestX01FailedLaneStopsTheShard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gates{}
		s := open(t, processors.Concurrent(each(g.handle), processors.ConcurrentOptions{MaxBatch: 1, Checkpoints: every}))
		require.NoError(t, s.deliver(rec(1, ""), rec(2, ""), rec(3, "a"), rec(4, "a")))
		synctest.Wait()
		g.release("1", errBoom)

		// The next call waits for one more attempt.
		returned := make(chan error, 1)
		next := func() { returned <- s.deliver(recs(5, 6)...) }
		go next() // ends with the call
		synctest.Wait()
		require.Equal(t, []string{"1", "3"}, g.running())
		g.release("1", errBoom)
		err := <-returned
		require.ErrorIs(t, err, errBoom)
		held, ok := errors.AsType[*processors.HeldError](err)
		require.True(t, ok)
		require.Len(t, held.Records, 1)
		require.Equal(t, "1", held.Records[0].SequenceNumber())

		// The failed lane tries again by itself. Other lanes go on, and no call is accepted.
		g.release("3", nil)
		require.Equal(t, []string{"4"}, g.running())
		g.release("4", nil)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, []string{"1"}, g.running())
		g.release("1", nil)
		require.Equal(t, "1", s.row.last())
		g.release("2", nil)
		require.Equal(t, "4", s.row.last())
		go next() // ends with the call
		require.NoError(t, <-returned)
		synctest.Wait()
		g.release("5", nil)
		g.release("6", nil)
		require.NoError(t, s.end())
		require.Equal(t, "6", s.row.last())
	})
}

// Half of the failed records succeed at the next attempt. The lane has failed until the other half
// succeeds too.
func TestFailedLaneHasFailedUntilAllSucceeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fussy{bad: map[string]error{"3": errBoom}}
		s := open(t, processors.Concurrent(func(int) kcl.Processor {
			return processors.Func(func(ctx context.Context, records []kcl.Record) error {
				time.Sleep(time.Second)
				return f.handle(ctx, records)
			}, processors.FuncOptions{})
		}, processors.ConcurrentOptions{}))
		require.NoError(t, s.deliver(recs(1, 3)...))
		time.Sleep(1001 * time.Millisecond)
		start := time.Now()
		require.ErrorIs(t, s.deliver(rec(4, "k")), errBoom)
		require.GreaterOrEqual(t, time.Since(start), 1999*time.Millisecond, "1 is tried alone, and succeeds; then 2 and 3")
		require.Equal(t, []string{"1"}, f.good.list())
		require.ErrorIs(t, s.shutdown(), errBoom)
	})
}

// A lane's processor that asks for a checkpoint of all delivered records gets one of the records
// that it has processed.
func TestCheckpointInsideALaneIsLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &impolite{f: &fussy{bad: map[string]error{"4": errBoom}}}
		s := open(t, processors.Concurrent(func(n int) kcl.Processor {
			if n == 1 {
				return p
			}
			return processors.Func(ignore, processors.FuncOptions{})
		}, processors.ConcurrentOptions{Lanes: 1}))
		require.NoError(t, s.deliver(recs(1, 3, "")...))
		synctest.Wait()
		require.NoError(t, s.deliver(recs(4, 6, "")...))
		synctest.Wait()
		require.ErrorIs(t, s.shutdown(), errBoom)
		require.ErrorIs(t, p.own, kcl.ErrInvalidCheckpoint)
		require.Equal(t, []string{"3"}, s.row.all())
	})
}

func TestLaneCannotPrepare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, processors.Concurrent(func(int) kcl.Processor { return &preparing{} },
			processors.ConcurrentOptions{Lanes: 1}))
		require.NoError(t, s.deliver(rec(1, "")))
		require.ErrorIs(t, s.shutdown(), errors.ErrUnsupported)
	})
}

// preparing prepares a checkpoint for each batch.
type preparing struct{ impolite }

func (*preparing) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	_, err := in.Checkpointer.Prepare(ctx, kcl.ExtendedSequenceNumber{}, nil)
	return err
}

func (*preparing) ShutdownRequested(context.Context, kcl.ShutdownRequestedInput) error { return nil }

func TestX03PanicInALaneIsAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var got seen
		broken := true
		s := open(t, processors.Concurrent(each(func(_ context.Context, r kcl.Record) error {
			if string(r.Data()) == "2" && broken {
				panic("at the disco")
			}
			got.add(r)
			return nil
		}), processors.ConcurrentOptions{Logger: quiet}))
		require.NoError(t, s.deliver(recs(1, 3)...))
		synctest.Wait()
		err := s.deliver(recs(4, 5)...)
		require.ErrorContains(t, err, "panic: at the disco")
		p, ok := errors.AsType[*processors.PanicError](err)
		require.True(t, ok)
		require.Contains(t, string(p.Stack), "concurrent_test.go")
		broken = false
		require.NoError(t, s.deliver(recs(4, 5)...))
		require.NoError(t, s.shutdown())
		require.Equal(t, numbers(1, 5), got.list())
		require.Equal(t, "5", s.row.last())
	})
}

// A stop finishes the accepted records, and checkpoints them.
func TestX09ConcurrentDrains(t *testing.T) {
	t.Parallel()
	for name, finish := range map[string]func(*shard) error{"shutdown": (*shard).shutdown, "shard end": (*shard).end} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := open(t, processors.Concurrent(each(func(context.Context, kcl.Record) error {
					time.Sleep(200 * time.Millisecond)
					return nil
				}), processors.ConcurrentOptions{Checkpoints: processors.Checkpoints{Interval: never}}))
				require.NoError(t, s.deliver(recs(1, 40, "a", "b", "c", "")...))
				require.NoError(t, finish(s))
				require.Equal(t, []string{"40"}, s.row.all())
			})
		})
	}
}

func TestConcurrentStopsAlthoughALaneFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, processors.Concurrent(each(func(_ context.Context, r kcl.Record) error {
			time.Sleep(time.Second)
			if string(r.Data()) == "5" {
				return errBoom
			}
			return nil
		}), processors.ConcurrentOptions{}))
		require.NoError(t, s.deliver(recs(1, 9, "a", "")...))
		require.ErrorIs(t, s.end(), errBoom, "the shard cannot end")
		require.ErrorIs(t, s.shutdown(), errBoom)
		require.Equal(t, "4", s.row.last())
	})
}

// A stop ends at its time-out, and the checkpoint covers the records that were finished.
func TestX12DrainIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, processors.Concurrent(each(func(ctx context.Context, _ kcl.Record) error {
			select {
			case <-time.After(1500 * time.Millisecond):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}), processors.ConcurrentOptions{MaxBatch: 1, DrainTimeout: 10 * time.Second}))
		require.NoError(t, s.deliver(recs(1, 100)...))
		start := time.Now()
		require.Error(t, s.shutdown())
		require.Equal(t, 10*time.Second, time.Since(start))
		require.Equal(t, "6", s.row.last())
	})
}

func TestX15LeaseLossCancelsTheLanes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var causes []error
		running := 0
		s := open(t, processors.Concurrent(each(func(ctx context.Context, _ kcl.Record) error {
			mu.Lock()
			running++
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			running--
			causes = append(causes, context.Cause(ctx))
			return context.Cause(ctx)
		}), processors.ConcurrentOptions{}))
		require.NoError(t, s.deliver(recs(1, 40, "a", "b", "c", "")...))
		synctest.Wait()
		require.Positive(t, running)
		s.lose()
		require.Zero(t, running, "LeaseLost waits")
		require.NotEmpty(t, causes)
		for _, err := range causes {
			require.ErrorIs(t, err, kcl.ErrLeaseLost)
		}
		require.Empty(t, s.row.all())
	})
}

// LeaseLost ends the lanes even if their context does not end.
func TestLeaseLostCancelsByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var cause error
		s := open(t, processors.Concurrent(each(func(ctx context.Context, _ kcl.Record) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return cause
		}), processors.ConcurrentOptions{}))
		require.NoError(t, s.deliver(recs(1, 4)...))
		synctest.Wait()
		s.p.LeaseLost(context.Background(), kcl.LeaseLostInput{})
		require.ErrorIs(t, cause, kcl.ErrLeaseLost)
		s.cancel(nil)
	})
}

// The lanes end after a time-out of the shutdown, although no call follows.
func TestShutdownTimeoutLeavesNoGoroutine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gates{}
		s := open(t, processors.Concurrent(each(g.handle), processors.ConcurrentOptions{}))
		require.NoError(t, s.deliver(recs(1, 4, "a", "b")...))
		time.AfterFunc(time.Second, func() { s.cancel(kcl.ErrShutdownTimeout) })
		require.ErrorIs(t, s.p.ShutdownRequested(s.ctx, kcl.ShutdownRequestedInput{Checkpointer: s.ck}),
			kcl.ErrShutdownTimeout)
	})
}

func TestConcurrentInitializesEveryLaneOnce(t *testing.T) {
	t.Parallel()
	calls := map[int]int{}
	p := processors.Concurrent(func(n int) kcl.Processor { return &initializing{n: n, calls: calls} },
		processors.ConcurrentOptions{Lanes: 3})
	ctx := t.Context()
	require.ErrorIs(t, p.Initialize(ctx, kcl.InitializeInput{}), errBoom)
	require.NoError(t, p.Initialize(ctx, kcl.InitializeInput{}))
	require.Equal(t, map[int]int{0: 1, 1: 1, 2: 2, 3: 1}, calls)
}

type initializing struct {
	kcl.Processor
	n     int
	calls map[int]int
}

func (p *initializing) Initialize(context.Context, kcl.InitializeInput) error {
	if p.calls[p.n]++; p.n == 2 && p.calls[p.n] == 1 {
		return errBoom
	}
	return nil
}

func TestX08ConcurrentThroughTheLibrary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(t)
		var mu sync.Mutex
		last, running, most, total := map[string]int{}, 0, 0, 0
		handle := func(_ context.Context, r kcl.Record) error {
			key, _ := r.PartitionKey()
			mu.Lock()
			running++
			most = max(most, running)
			n := number(string(r.Data()))
			if n <= last[key] {
				t.Errorf("key %s: %d after %d", key, n, last[key])
			}
			last[key] = n
			mu.Unlock()
			time.Sleep(time.Duration(n%7) * 20 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			running--
			total++
			return nil
		}
		p := func() kcl.Processor {
			return processors.Concurrent(each(handle), processors.ConcurrentOptions{Logger: w.cfg.Logger})
		}
		count := func() int { mu.Lock(); defer mu.Unlock(); return total }
		w.start(p)
		w.put(1, 200, "a", "b", "c", "d", "e", "f", "g")
		eventually(t, "some records", func() bool { return count() > 50 })
		w.stop()
		require.Equal(t, 200, count(), "what was accepted is finished")
		w.start(p)
		w.put(201, 300, "a", "b", "c", "d", "e", "f", "g")
		eventually(t, "300 records", func() bool { return count() >= 300 })
		w.split()
		eventually(t, "the end of the shard", func() bool { return w.checkpoint() == kcl.SentinelShardEnd })
		w.stop()
		require.Equal(t, 300, count(), "nothing comes twice")
		require.Greater(t, most, 1)
	})
}
