package processors_test

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/processors"
)

// fussy is a handler that fails with batches that hold certain records.
type fussy struct {
	bad   map[string]error
	good  seen // what came in batches that did not fail
	calls int
}

func (f *fussy) handle(_ context.Context, records []kcl.Record) error {
	f.calls++
	for _, r := range records {
		if err := f.bad[string(r.Data())]; err != nil {
			return err
		}
	}
	f.good.add(records...)
	return nil
}

// letters is a dead-letter queue.
type letters struct {
	got  []processors.DeadLetter
	fail error
}

func (l *letters) take(_ context.Context, d processors.DeadLetter) error {
	if l.fail != nil {
		return l.fail
	}
	l.got = append(l.got, d)
	return nil
}

func (l *letters) list() []string {
	var out []string
	for _, d := range l.got {
		out = append(out, string(d.Record.Data()))
	}
	return out
}

// One record of 10,000 is bad. All good records arrive in order, the bad one arrives once at the
// dead-letter handler, and the cost is bounded.
func TestX05PoisonRecordIsIsolated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n, attempts = 10_000, 3
		for _, bad := range []int{1, 2, 4_711, 9_999, n} {
			f, dlq := &fussy{bad: map[string]error{strconv.Itoa(bad): errBoom}}, &letters{}
			p := processors.Retry(processors.Func(f.handle, processors.FuncOptions{}), processors.RetryOptions{
				Attempts: attempts, FirstBackoff: 100 * time.Millisecond, MaxBackoff: time.Second, DeadLetter: dlq.take,
				Logger: quiet,
			})
			s := open(t, p)
			start := time.Now()
			require.NoError(t, s.deliver(recs(1, n)...))
			require.LessOrEqual(t, time.Since(start), 2*(attempts-1)*1500*time.Millisecond, "only the attempts wait")
			require.Equal(t, slices.DeleteFunc(numbers(1, n), func(s string) bool { return s == strconv.Itoa(bad) }),
				f.good.list())
			require.LessOrEqual(t, f.calls, 2*attempts+bits.Len(n)+1)
			require.Len(t, dlq.got, 1)
			d := dlq.got[0]
			require.Equal(t, strconv.Itoa(bad), d.Record.Position().String())
			require.Equal(t, "orders", d.Stream.Name)
			require.Equal(t, "shardId-000000000000", d.Shard.ID)
			require.ErrorIs(t, d.Err, errBoom)
			require.GreaterOrEqual(t, d.Attempts, 2*attempts)
			require.NoError(t, s.shutdown())
			require.Equal(t, strconv.Itoa(n), s.row.last(), "the checkpoint passes a record that was taken")
		}
	})
}

// Random records fail in random batches. Every record is either processed, in order, or
// dead-lettered, and the last checkpoint is at the last record.
func TestX05NoRecordIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "records")
		f, dlq := &fussy{bad: map[string]error{}}, &letters{}
		for _, i := range rapid.SliceOfDistinct(rapid.IntRange(1, n), rapid.ID).Draw(t, "bad") {
			f.bad[strconv.Itoa(i)] = errBoom
		}
		s := open(t, processors.Retry(
			processors.Func(f.handle, processors.FuncOptions{Checkpoints: processors.Checkpoints{Interval: never}}),
			processors.RetryOptions{Attempts: 1, DeadLetter: dlq.take, Logger: quiet}))
		for from := 1; from <= n; {
			to := rapid.IntRange(from, n).Draw(t, "to")
			if rapid.IntRange(0, 3).Draw(t, "dlq is away") == 0 {
				dlq.fail = errBoom
				if err := s.deliver(recs(from, to)...); err != nil {
					require.ErrorIs(t, err, errBoom)
				}
				dlq.fail = nil
			}
			require.NoError(t, s.deliver(recs(from, to)...))
			from = to + 1
		}
		var good, bad []string
		for _, r := range numbers(1, n) {
			if f.bad[r] != nil {
				bad = append(bad, r)
			} else {
				good = append(good, r)
			}
		}
		require.Equal(t, good, f.good.list())
		require.Equal(t, bad, dlq.list())
		require.NoError(t, s.shutdown())
		require.Equal(t, strconv.Itoa(n), s.row.last())
	})
}

func TestDeadLetterHandlerThatFailsKeepsTheRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, dlq := &fussy{bad: map[string]error{"3": errBoom}}, &letters{fail: errors.New("queue is away")}
		s := open(t, processors.Retry(processors.Func(f.handle, processors.FuncOptions{}),
			processors.RetryOptions{Attempts: 2, DeadLetter: func(ctx context.Context, d processors.DeadLetter) error {
				if dlq.fail != nil && len(dlq.got) == 0 && f.calls%2 == 0 {
					panic(dlq.fail)
				}
				return dlq.take(ctx, d)
			}, Logger: quiet}))
		for range 3 {
			err := s.deliver(recs(1, 5)...)
			require.ErrorIs(t, err, dlq.fail)
			require.ErrorIs(t, err, errBoom)
			require.ErrorContains(t, err, "record 3")
			require.Equal(t, []string{"1", "2"}, f.good.list())
		}
		calls := f.calls
		dlq.fail = nil
		require.NoError(t, s.deliver(recs(1, 5)...))
		require.Equal(t, calls+2, f.calls, "one more attempt for the record, and one for the rest")
		require.Equal(t, []string{"3"}, dlq.list())
		require.Equal(t, numbers(4, 5), f.good.list()[2:])
	})
}

func TestRetryWithoutDeadLetterReturnsTheError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fussy{bad: map[string]error{"3": errBoom}}
		s := open(t, processors.Retry(processors.Func(f.handle, processors.FuncOptions{}),
			processors.RetryOptions{Attempts: 4}))
		require.ErrorIs(t, s.deliver(recs(1, 5)...), errBoom)
		require.Equal(t, 4, f.calls)
		f.bad = nil
		require.NoError(t, s.deliver(recs(1, 5)...))
		require.Equal(t, numbers(1, 5), f.good.list())
	})
}

func TestTransientErrorsAreNotDeadLettered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("database is away")
		f, dlq := &fussy{bad: map[string]error{"1": away, "4": errBoom}}, &letters{}
		s := open(t, processors.Retry(processors.Func(f.handle, processors.FuncOptions{}), processors.RetryOptions{
			Attempts: 3, DeadLetter: dlq.take, Logger: quiet, Transient: func(err error) bool { return errors.Is(err, away) },
		}))
		require.ErrorIs(t, s.deliver(recs(1, 5)...), away)
		require.Equal(t, 3, f.calls)
		require.Empty(t, dlq.list())
		delete(f.bad, "1")
		require.NoError(t, s.deliver(recs(1, 5)...))
		require.Equal(t, []string{"4"}, dlq.list())
		require.Equal(t, []string{"1", "2", "3", "5"}, f.good.list())
	})
}

func TestRetryContainsPanics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dlq := &letters{}
		s := open(t, processors.Retry(processors.Each(func(_ context.Context, r kcl.Record) error {
			if string(r.Data()) == "2" {
				panic(errBoom)
			}
			return nil
		}, processors.FuncOptions{}), processors.RetryOptions{Attempts: 2, DeadLetter: dlq.take, Logger: quiet}))
		require.NoError(t, s.deliver(recs(1, 3)...))
		require.Equal(t, []string{"2"}, dlq.list())
		p, ok := errors.AsType[*processors.PanicError](dlq.got[0].Err)
		require.True(t, ok)
		require.Contains(t, string(p.Stack), "retry_test.go")
		require.ErrorIs(t, p, errBoom)
	})
}

func TestRetryStopsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, processors.Retry(processors.Func(func(context.Context, []kcl.Record) error { return errBoom },
			processors.FuncOptions{}),
			processors.RetryOptions{Attempts: 1000, FirstBackoff: time.Minute}))
		time.AfterFunc(time.Second, func() { s.cancel(kcl.ErrLeaseLost) })
		start := time.Now()
		require.ErrorIs(t, s.deliver(recs(1, 3)...), kcl.ErrLeaseLost)
		require.Equal(t, time.Second, time.Since(start))
		s.lose()
	})
}

// impolite asks for a checkpoint of all delivered records, also after a failure.
type impolite struct {
	f   *fussy
	own error
}

func (p *impolite) Initialize(context.Context, kcl.InitializeInput) error { return nil }

func (p *impolite) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	if err := p.f.handle(ctx, in.Records); err != nil {
		return err
	}
	return in.Checkpointer.Checkpoint(ctx)
}

func (p *impolite) LeaseLost(context.Context, kcl.LeaseLostInput)         {}
func (p *impolite) ShardEnded(context.Context, kcl.ShardEndedInput) error { return nil }

func (p *impolite) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	p.own = in.Checkpointer.CheckpointAt(ctx, rec(99, "").Position())
	return in.Checkpointer.Checkpoint(ctx)
}

// A processor that asks for a checkpoint of all delivered records gets one of the processed
// records.
func TestCheckpointInsideIsLimited(t *testing.T) {
	t.Parallel()
	for name, decorate := range map[string]func(kcl.Processor) kcl.Processor{
		"retry": func(p kcl.Processor) kcl.Processor {
			return processors.Retry(p, processors.RetryOptions{Attempts: 1})
		},
		"batch": func(p kcl.Processor) kcl.Processor {
			return processors.Batch(p, processors.BatchOptions{MaxRecords: 3})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &impolite{f: &fussy{bad: map[string]error{"4": errBoom}}}
				s := open(t, decorate(p))
				require.NoError(t, s.deliver(recs(1, 3)...))
				require.ErrorIs(t, s.deliver(recs(4, 6)...), errBoom)
				if err := s.shutdown(); err != nil {
					require.ErrorIs(t, err, errBoom)
				}
				require.ErrorIs(t, p.own, kcl.ErrInvalidCheckpoint)
				require.Equal(t, []string{"3"}, s.row.all())
			})
		})
	}
}

// Prepare of the processor inside writes the position that this processor means into the lease's
// row.
func TestPrepareInside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, processors.Batch(&preparing{}, processors.BatchOptions{MaxRecords: 2}))
		require.NoError(t, s.deliver(recs(1, 3)...))
		require.Equal(t, []string{"prepared 2"}, s.row.all())
		s.lose()
	})
}

// committing checkpoints its second batch in its own way, and then fails with it.
type committing struct {
	kcl.Processor
	record func(ctx context.Context, ck kcl.Checkpointer) error
	calls  int
}

func (p *committing) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	if p.calls++; p.calls == 1 {
		return nil
	}
	_ = p.record(ctx, in.Checkpointer)
	return errBoom
}

func (p *committing) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	return in.Checkpointer.Checkpoint(ctx)
}

// A processor checkpoints a part of a batch and then fails with the batch. The checkpoint stays, in
// whatever way it was made. At a stop a decorated processor may then do what an undecorated one
// may.
func TestRecordedAndFailed(t *testing.T) {
	t.Parallel()
	commit := func(ctx context.Context, ck kcl.Checkpointer) error {
		p, err := ck.Prepare(ctx, kcl.ExtendedSequenceNumber{}, nil)
		if err != nil {
			return err
		}
		return p.Commit(ctx)
	}
	for how, record := range map[string]func(ctx context.Context, ck kcl.Checkpointer) error{
		"checkpoint": func(ctx context.Context, ck kcl.Checkpointer) error { return ck.Checkpoint(ctx) },
		"commit":     commit,
	} {
		for outcome, failure := range map[string]error{"known": nil, "unknown": errBoom} {
			for name, decorate := range map[string]func(kcl.Processor) kcl.Processor{
				"plain": func(p kcl.Processor) kcl.Processor { return p },
				"retry": func(p kcl.Processor) kcl.Processor {
					return processors.Retry(p, processors.RetryOptions{Attempts: 1, Logger: quiet})
				},
				"batch": func(p kcl.Processor) kcl.Processor {
					return processors.Batch(p, processors.BatchOptions{MaxRecords: 1, Logger: quiet})
				},
			} {
				t.Run(how+"/"+outcome+"/"+name, func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						p := &committing{Processor: collect(), record: record}
						s := open(t, decorate(p))
						require.NoError(t, s.deliver(rec(1, "k")))
						s.row.setFail(failure)
						require.ErrorIs(t, s.deliver(rec(2, "k")), errBoom)
						s.ck.Failed()
						s.row.setFail(nil)
						p.record = func(context.Context, kcl.Checkpointer) error { return nil }
						require.NotErrorIs(t, s.shutdown(), kcl.ErrInvalidCheckpoint)
						require.Equal(t, "2", s.row.last())
					})
				})
			}
		}
	}
}

// The first and the last record of a shard are bad. The checkpoint still goes beyond them.
func TestSkippedRecordsAreCheckpointedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, dlq := &fussy{bad: map[string]error{"1": errBoom, "2": errBoom, "4": errBoom}}, &letters{}
		s := open(t, processors.Retry(
			processors.Func(f.handle, processors.FuncOptions{
				Checkpoints: processors.Checkpoints{Records: 1, Interval: never},
			}),
			processors.RetryOptions{Attempts: 1, DeadLetter: dlq.take, Logger: quiet}))
		require.NoError(t, s.deliver(recs(1, 2)...))
		require.Equal(t, []string{"1", "2"}, s.row.all())
		require.NoError(t, s.deliver(recs(3, 4)...))
		require.Equal(t, []string{"1", "2", "3", "4"}, s.row.all())
		require.NoError(t, s.shutdown())
		require.Equal(t, []string{"1", "2", "3", "4"}, s.row.all())
	})
}

func TestX05RetryThroughTheLibrary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(t)
		f, dlq := &fussy{bad: map[string]error{"17": errBoom, "60": errBoom}}, &letters{}
		p := func() kcl.Processor {
			return processors.Retry(processors.Func(f.handle, processors.FuncOptions{}),
				processors.RetryOptions{Attempts: 2, DeadLetter: dlq.take, Logger: w.cfg.Logger})
		}
		w.start(p)
		w.put(1, 60)
		time.Sleep(time.Minute)
		w.stop()
		w.start(p)
		w.put(61, 61)
		time.Sleep(time.Minute)
		w.split()
		eventually(t, "the end of the shard", func() bool { return w.checkpoint() == kcl.SentinelShardEnd })
		w.stop()
		require.Equal(t, []string{"17", "60"}, dlq.list())
		require.Equal(t, slices.DeleteFunc(numbers(1, 61), func(s string) bool { return s == "17" || s == "60" }),
			f.good.list())
	})
}
