package processors_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/processors"
)

// batches keeps the batches that it gets, and fails while setFail says so.
type batches struct {
	mu   sync.Mutex // guards the fields below
	got  []string   // one for each batch: the records, with spaces
	fail error
	last kcl.ProcessRecordsInput
	kcl.Processor
}

func collect() *batches {
	b := &batches{}
	b.Processor = processors.Func(b.handle, processors.FuncOptions{Checkpoints: every, Logger: quiet})
	return b
}

func (b *batches) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	b.mu.Lock()
	b.last = in
	b.mu.Unlock()
	return b.Processor.ProcessRecords(ctx, in)
}

func (b *batches) handle(_ context.Context, records []kcl.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	var s seen
	s.add(records...)
	b.got = append(b.got, strings.Join(s.all, " "))
	return nil
}

func (b *batches) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.got...)
}

func (b *batches) setFail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

func TestBatchByNumberAndSize(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		o    processors.BatchOptions
		want []string
	}{
		"records": {processors.BatchOptions{MaxRecords: 4}, []string{"1 2 3 4", "5 6 7 8"}},
		"bytes":   {processors.BatchOptions{MaxBytes: 3}, []string{"1 2 3", "4 5 6", "7 8 9"}},
		"large":   {processors.BatchOptions{MaxBytes: 1}, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := collect()
				s := open(t, processors.Batch(b, test.o))
				for n := 1; n <= 10; n += 3 {
					require.NoError(t, s.deliver(recs(n, min(n+2, 10))...))
				}
				require.Equal(t, test.want, b.list())
				full := strings.Fields(test.want[len(test.want)-1])
				require.Equal(t, full[len(full)-1], s.row.last(), "what is held is not checkpointed")
				require.NoError(t, s.shutdown())
				require.Equal(t, numbers(1, 10), strings.Fields(strings.Join(b.list(), " ")))
				require.Equal(t, "10", s.row.last())
			})
		})
	}
}

// A timer hands on records that wait, because the Processor interface brings no call without
// records.
func TestX10BatchByAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := collect()
		s := open(t, processors.Batch(b, processors.BatchOptions{MaxRecords: 3, MaxAge: 10 * time.Second}))
		require.NoError(t, s.deliver(recs(1, 2)...))
		time.Sleep(6 * time.Second)
		require.NoError(t, s.deliver(recs(3, 4)...))
		received := time.Now()
		require.Equal(t, []string{"1 2 3"}, b.list())
		time.Sleep(5 * time.Second)
		require.Len(t, b.list(), 1, "4 has waited for five seconds only")
		time.Sleep(5*time.Second + time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{"1 2 3", "4"}, b.list())
		require.Equal(t, received, b.last.ReceivedAt)
		require.Equal(t, 10*time.Second, b.last.DeliveredAt.Sub(received))
		require.Equal(t, "4", s.row.last())
		time.Sleep(time.Hour)
		require.NoError(t, s.shutdown())
		require.Len(t, b.list(), 2)
	})
}

// A batch that the timer handed on and that failed is tried again without a call. A call gets the
// error, and does not change the order.
func TestBatchByAgeThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := collect()
		s := open(t, processors.Batch(b, processors.BatchOptions{Logger: quiet}))
		b.setFail(errBoom)
		require.NoError(t, s.deliver(recs(1, 4)...))
		time.Sleep(time.Minute)
		for range 5 {
			err := s.deliver(recs(5, 6)...)
			require.ErrorIs(t, err, errBoom)
			require.ErrorContains(t, err, "record 1 failed")
		}
		require.Empty(t, s.row.all())
		b.setFail(nil)
		time.Sleep(time.Minute)
		require.NoError(t, s.deliver(recs(5, 6)...))
		time.Sleep(time.Minute)
		require.Equal(t, []string{"1", "2 3", "4", "5 6"}, b.list())
		require.NoError(t, s.end())
	})
}

func TestBatchPanicByAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		s := open(t, processors.Batch(processors.Func(func(context.Context, []kcl.Record) error {
			if calls++; calls == 1 {
				panic("once")
			}
			return nil
		}, processors.FuncOptions{}), processors.BatchOptions{Logger: quiet}))
		require.NoError(t, s.deliver(rec(1, "k")))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 2, calls)
		require.NoError(t, s.shutdown())
		require.Equal(t, "1", s.row.last())
	})
}

// The timer and the calls never run at the same time: the next call waits for a slow batch.
func TestX15BatchCallsOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		running := 0
		s := open(t, processors.Batch(processors.Func(func(context.Context, []kcl.Record) error {
			running++
			require.Equal(t, 1, running)
			time.Sleep(10 * time.Second)
			running--
			return nil
		}, processors.FuncOptions{}), processors.BatchOptions{MaxRecords: 2}))
		require.NoError(t, s.deliver(rec(1, "k")))
		time.Sleep(2 * time.Second)
		start := time.Now()
		require.NoError(t, s.deliver(recs(2, 3)...))
		require.Equal(t, 19*time.Second, time.Since(start))
		require.NoError(t, s.deliver(rec(4, "k")))
		time.Sleep(2 * time.Second)
		require.NoError(t, s.shutdown())
		require.Equal(t, "4", s.row.last())
	})
}

func TestBatchEndOfShard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := collect()
		s := open(t, processors.Batch(b, processors.BatchOptions{MaxRecords: 4}))
		require.NoError(t, s.deliver(recs(1, 3)...))
		s.ck.Delivered(rec(6, "k").Position())
		children := []kcl.ChildShard{{ID: "child"}}
		require.NoError(t, s.p.ProcessRecords(s.ctx,
			kcl.ProcessRecordsInput{Records: recs(4, 6), AtShardEnd: true, Children: children, Checkpointer: s.ck}))
		require.Equal(t, []string{"1 2 3 4", "5 6"}, b.list())
		require.True(t, b.last.AtShardEnd)
		require.Equal(t, children, b.last.Children)
		require.NoError(t, s.end())
		require.Equal(t, "6", s.row.last())
	})
}

// The last batch says that it is the last one, also at a second attempt by the timer or a call.
func TestBatchThatFailsAtTheEndOfShard(t *testing.T) {
	t.Parallel()
	children := []kcl.ChildShard{{ID: "child"}}
	for name, again := range map[string]func(s *shard, in kcl.ProcessRecordsInput) error{
		"call": func(s *shard, in kcl.ProcessRecordsInput) error { return s.p.ProcessRecords(s.ctx, in) },
		"end":  func(s *shard, _ kcl.ProcessRecordsInput) error { return s.end() },
		"stop": func(s *shard, _ kcl.ProcessRecordsInput) error { return s.shutdown() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := collect()
				b.setFail(errBoom)
				s := open(t, processors.Batch(b, processors.BatchOptions{Logger: quiet}))
				s.ck.Delivered(rec(3, "k").Position())
				in := kcl.ProcessRecordsInput{Records: recs(1, 3), AtShardEnd: true, Children: children, Checkpointer: s.ck}
				require.ErrorIs(t, s.p.ProcessRecords(s.ctx, in), errBoom)
				b.setFail(nil)
				require.NoError(t, again(s, in))
				require.Equal(t, numbers(1, 3), strings.Fields(strings.Join(b.list(), " ")))
				require.True(t, b.last.AtShardEnd)
				if name != "end" { // whose own input has none
					require.Equal(t, children, b.last.Children)
				}
				s.cancel(nil)
			})
		})
	}
}

// A batch that fails at a stop is not checkpointed. The records before it are.
func TestBatchShutdownThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := collect()
		s := open(t, processors.Batch(b, processors.BatchOptions{MaxRecords: 4}))
		require.NoError(t, s.deliver(recs(1, 6)...))
		b.setFail(errBoom)
		require.ErrorIs(t, s.shutdown(), errBoom)
		require.Equal(t, "4", s.row.last())
		time.Sleep(time.Hour)
	})
}

func TestBatchLeaseLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := collect()
		s := open(t, processors.Batch(b, processors.BatchOptions{}))
		require.NoError(t, s.deliver(recs(1, 6)...))
		s.lose()
		time.Sleep(time.Hour)
		require.Empty(t, b.list())
	})
}

// All records are handed on in order, with random batches and failures.
func TestBatchKeepsOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "records")
		b := collect()
		s := open(t, processors.Batch(b, processors.BatchOptions{
			MaxAge: time.Hour, Logger: quiet, MaxRecords: rapid.IntRange(1, 9).Draw(t, "max records"),
			MaxBytes: int64(rapid.IntRange(1, 20).Draw(t, "max bytes")),
		}))
		for from := 1; from <= n; {
			to := rapid.IntRange(from, n).Draw(t, "to")
			if rapid.IntRange(0, 2).Draw(t, "fails") == 0 {
				b.setFail(errBoom)
				_ = s.deliver(recs(from, to)...)
				b.setFail(nil)
			}
			require.NoError(t, s.deliver(recs(from, to)...))
			from = to + 1
			done := len(strings.Fields(strings.Join(b.list(), " ")))
			require.Equal(t, done, number(s.row.last()), "the checkpoint is what was handed on and finished")
		}
		require.NoError(t, s.shutdown())
		require.Equal(t, numbers(1, n), strings.Fields(strings.Join(b.list(), " ")))
		require.Equal(t, n, number(s.row.last()))
	})
}

func TestBatchThroughTheLibrary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(t)
		b := collect()
		p := func() kcl.Processor {
			b.Processor = processors.Func(b.handle, processors.FuncOptions{})
			return processors.Batch(b, processors.BatchOptions{MaxRecords: 40, MaxAge: 20 * time.Second, Logger: w.cfg.Logger})
		}
		w.start(p)
		time.Sleep(10 * time.Second)
		w.put(1, 50)
		time.Sleep(5 * time.Second)
		require.Len(t, b.list(), 1)
		time.Sleep(20 * time.Second)
		require.Len(t, b.list(), 2, "the rest goes by age")
		w.put(51, 60)
		time.Sleep(5 * time.Second)
		w.stop()
		require.Len(t, b.list(), 3, "and at a stop")
		w.start(p)
		w.put(61, 70)
		w.split()
		eventually(t, "the end of the shard", func() bool { return w.checkpoint() == kcl.SentinelShardEnd })
		w.stop()
		require.Equal(t, numbers(1, 70), strings.Fields(strings.Join(b.list(), " ")))
	})
}
