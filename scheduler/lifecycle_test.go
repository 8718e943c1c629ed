package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

// A processor that sleeps for ten lease periods keeps its lease, although
// another worker would like to have it, and gets nothing twice.
func TestSlowProcessorKeepsItsLease(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		a := r.worker("a", mode)
		a.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			time.Sleep(10 * scheduler.DefaultFailoverTime)
			if ctx.Err() != nil {
				r.audit.violation("lease lost: %v", context.Cause(ctx))
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		a.start()
		r.put(keys(10)...)
		r.eventually(10*time.Second, "both shards are read", func() bool { return r.owned() == 2 })
		owner := r.row(r.open()[0]).Owner
		time.Sleep(5 * scheduler.DefaultFailoverTime)
		require.Equal(t, owner, r.row(r.open()[0]).Owner)
		r.produce(3, 30*time.Second, keys(10))
		r.finished(30 * time.Minute)
		require.NoError(t, a.stop())
		r.audit.check(0)
	})
}

// Kill and hand-over: a dead worker's shards flow again within 17.5 seconds,
// and at most the batch in hand comes twice.
func TestKilledWorkersShardsAreTakenOver(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(4))
		a, b := r.worker("a", mode).start(), r.worker("b", mode).start()
		r.eventually(time.Minute, "two shards each", func() bool { return held(a) == 2 && held(b) == 2 })
		r.produce(5, time.Second, keys(40))
		r.finished(time.Minute)
		a.kill()
		died := time.Now()
		r.put(keys(40)...)
		r.finished(17500 * time.Millisecond)
		t.Logf("flowing again after %s", time.Since(died))
		require.Equal(t, 4, held(b))
		require.NoError(t, b.stop())
		r.audit.check(40)
	})
}

// held counts the shards that a worker processes.
func held(w *worker) int {
	n := 0
	for _, st := range w.Status().Streams {
		for _, sh := range st.Shards {
			if sh.State == scheduler.StateProcessing {
				n++
			}
		}
	}
	return n
}

// workers come and go gracefully while data flows: nothing comes twice.
func TestX09GracefulStopsMakeNoDuplicates(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(6))
		current := r.worker("w0", mode).start()
		for i := range 4 {
			r.produce(3, 700*time.Millisecond, keys(60))
			next := r.worker(fmt.Sprintf("w%d", i+1), mode).start()
			r.produce(8, 700*time.Millisecond, keys(60))
			stop := time.Now()
			require.NoError(t, current.stop())
			require.Less(t, time.Since(stop), 5*time.Second)
			current = next
		}
		r.produce(3, time.Second, keys(60))
		r.finished(30 * time.Second)
		require.NoError(t, current.stop())
		r.audit.check(0)
	})
}

// With CheckpointInterval the library checkpoints, and a stop leaves nothing behind.
func TestCheckpointInterval(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		auto := func(c *scheduler.Config) { c.CheckpointInterval = 10 * time.Second }
		start := func(name string) *worker {
			w := r.worker(name, mode, auto)
			w.do = func(_ context.Context, p *processor, in kcl.ProcessRecordsInput) error { p.take(in); return nil }
			w.shutdown = func(context.Context, *processor, kcl.ShutdownRequestedInput) error { return nil }
			return w.start()
		}
		shard := r.open()[0]
		w := start("a")
		r.produce(5, time.Second, keys(5))
		require.Equal(t, kcl.SentinelTrimHorizon, r.row(shard).Checkpoint.SequenceNumber)
		r.produce(7, time.Second, keys(5))
		first := r.row(shard).Checkpoint
		require.False(t, first.IsSentinel())
		r.produce(1, 2*time.Second, keys(5))
		require.Equal(t, first, r.row(shard).Checkpoint, "not after every batch")
		require.NoError(t, w.stop())
		require.Positive(t, r.row(shard).Checkpoint.Compare(first), "once more at the stop")
		w = start("b")
		r.produce(1, time.Second, keys(5))
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// errors and panics; the same batch comes again and nothing is
// skipped; other shards do not notice.
func TestX01FailingProcessorGetsTheSameBatchAgain(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		sick := r.open()[0]
		var calls, initialized atomic.Int32
		var first atomic.Value
		w := r.worker("a", mode)
		w.initialize = func(context.Context, *processor, kcl.InitializeInput) error {
			if initialized.Add(1) == 1 {
				panic("initialize")
			}
			return nil
		}
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if p.shard.ID == sick {
				n := calls.Add(1)
				if n == 1 {
					first.Store(in.Records[0].SequenceNumber())
				}
				if n <= 4 {
					require.Equal(t, first.Load(), in.Records[0].SequenceNumber())
					if n%2 == 0 {
						panic(fmt.Sprintf("call %d", n))
					}
					return errors.New("not today")
				}
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		r.put(keys(20)...)
		w.start()
		r.eventually(10*time.Second, "the healthy shard has been processed", func() bool { return r.audit.count() > 5 })
		r.produce(5, time.Second, keys(20))
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// X-01: a stop while a failed batch waits to be delivered again. "Everything
// delivered so far" is then what was delivered with success.
func TestX01StopAfterAFailureKeepsTheBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		shard := r.open()[0]
		var failing atomic.Bool
		w := r.worker("a")
		w.do = func(_ context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if failing.Load() {
				return errors.New("never")
			}
			p.take(in)
			return nil
		}
		w.shutdown = func(ctx context.Context, _ *processor, in kcl.ShutdownRequestedInput) error {
			return in.Checkpointer.Checkpoint(ctx)
		}
		w.start()
		r.put("k")
		r.eventually(10*time.Second, "the first record is processed", func() bool { return r.audit.count() == 1 })
		processed := w.shard(shard).Position
		failing.Store(true)
		r.put(keys(5)...)
		r.eventually(10*time.Second, "the next batch fails", func() bool { return w.shard(shard).Err != nil })
		require.NoError(t, w.stop())
		require.Equal(t, processed, r.row(shard).Checkpoint)
		w = r.worker("b").start()
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A stop while the processor does not agree to the end of its shard: it is asked
// to shut down all the same, and can checkpoint what it has.
func TestStopWhileTheShardsEndFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		parent := r.open()[0]
		w := r.worker("a")
		w.do = func(_ context.Context, p *processor, in kcl.ProcessRecordsInput) error { p.take(in); return nil }
		var refused, asked atomic.Int32
		w.shardEnded = func(context.Context, *processor, kcl.ShardEndedInput) error {
			refused.Add(1)
			return errors.New("not yet")
		}
		w.shutdown = func(ctx context.Context, _ *processor, in kcl.ShutdownRequestedInput) error {
			asked.Add(1)
			return in.Checkpointer.Checkpoint(ctx)
		}
		w.start()
		r.put(keys(5)...)
		r.eventually(10*time.Second, "the records are processed", func() bool { return r.audit.count() == 5 })
		r.split(parent)
		r.eventually(time.Minute, "the end is refused", func() bool { return refused.Load() >= 2 })
		require.NoError(t, w.stop())
		require.EqualValues(t, 1, asked.Load())
		require.False(t, r.row(parent).Finished())
		require.False(t, r.row(parent).Checkpoint.IsSentinel(), "what was processed is checkpointed")
		w = r.worker("b").start()
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A processor that never succeeds does not hold up a stop, and its batch
// belongs to the next worker.
func TestStopWhileTheProcessorFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a")
		w.do = func(context.Context, *processor, kcl.ProcessRecordsInput) error { return errors.New("never") }
		w.shutdown = func(context.Context, *processor, kcl.ShutdownRequestedInput) error { return errors.New("nor this") }
		w.start()
		r.put(keys(5)...)
		time.Sleep(time.Minute)
		require.ErrorContains(t, w.shard(r.open()[0]).Err, "never")
		before := time.Now()
		require.NoError(t, w.stop())
		require.Less(t, time.Since(before), time.Second)
		require.Empty(t, r.row(r.open()[0]).Owner)
		w = r.worker("b").start()
		r.finished(10 * time.Second)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// a processor that returns when its context ends gets the cause, and one
// that never returns is abandoned and named; Run returns in time either way.
func TestX11StopHasABound(t *testing.T) {
	t.Parallel()
	for _, obeys := range []bool{true, false} {
		t.Run(fmt.Sprintf("processor obeys %t", obeys), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				w := r.worker("a", func(c *scheduler.Config) { c.ShutdownTimeout = 20 * time.Second })
				release := make(chan struct{})
				var cause atomic.Value
				w.do = func(ctx context.Context, _ *processor, _ kcl.ProcessRecordsInput) error {
					if !obeys {
						<-release
						return nil
					}
					<-ctx.Done()
					cause.Store(context.Cause(ctx))
					return ctx.Err()
				}
				w.start()
				r.put(keys(1)...)
				time.Sleep(5 * time.Second)
				before := time.Now()
				err := w.stop()
				took := time.Since(before)
				require.GreaterOrEqual(t, took, 20*time.Second)
				require.LessOrEqual(t, took, 21*time.Second)
				if obeys {
					require.NoError(t, err)
					require.ErrorIs(t, cause.Load().(error), kcl.ErrShutdownTimeout)
				} else {
					abandoned := new(leases.AbandonedError)
					require.ErrorAs(t, err, &abandoned)
					require.Equal(t, r.open(), abandoned.Keys)
				}
				close(release)
			})
		})
	}
}

// A frozen worker: another takes over; the first one's processor learns of it,
// its checkpoints are refused, and LeaseLost is its last call.
func TestX07LeaseLostEndsTheProcessor(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		a := r.worker("a", mode)
		var cause, refused atomic.Value
		a.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			<-ctx.Done()
			cause.Store(context.Cause(ctx))
			refused.Store(in.Checkpointer.Checkpoint(context.WithoutCancel(ctx)))
			return nil
		}
		a.start()
		r.put(keys(3)...)
		time.Sleep(2 * time.Second)
		a.faults.SetFault(func(ctx context.Context, _ leasefault.Call, _ func() error) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
		b := r.worker("b", mode).start()
		r.finished(30 * time.Second)
		require.ErrorIs(t, cause.Load().(error), kcl.ErrLeaseLost)
		require.ErrorIs(t, refused.Load().(error), kcl.ErrLeaseLost)
		require.Equal(t, []string{"IPL"}, r.audit.lifecycles)
		time.Sleep(30 * time.Second)
		require.ErrorContains(t, a.Healthy(), "the lease table cannot be read since")
		a.faults.SetFault(nil)
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
		r.audit.check(0)
	})
}

// what a processor may not checkpoint.
func TestX06CheckpointMisuse(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", mode)
		var kept kcl.Checkpointer
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			kept = in.Checkpointer
			last := in.Records[len(in.Records)-1].Position()
			ahead := kcl.ExtendedSequenceNumber{SequenceNumber: last.SequenceNumber, SubSequenceNumber: 1}
			for _, pos := range []kcl.ExtendedSequenceNumber{
				ahead,
				{},
				{SequenceNumber: kcl.SentinelShardEnd},
				{SequenceNumber: kcl.SentinelLatest},
				{SequenceNumber: "x"},
			} {
				if err := in.Checkpointer.CheckpointAt(ctx, pos); !errors.Is(err, kcl.ErrInvalidCheckpoint) {
					r.audit.violation("%q was accepted: %v", pos, err)
				}
			}
			p.take(in)
			if err := in.Checkpointer.CheckpointAt(ctx, last); err != nil {
				return err
			}
			if len(in.Records) > 1 {
				if err := in.Checkpointer.CheckpointAt(ctx, in.Records[0].Position()); !errors.Is(err, kcl.ErrInvalidCheckpoint) {
					r.audit.violation("a step back was accepted: %v", err)
				}
			}
			return nil
		}
		w.start()
		r.produce(5, time.Second, keys(10))
		r.finished(10 * time.Second)
		require.NoError(t, w.stop())
		require.ErrorIs(t, kept.Checkpoint(t.Context()), kcl.ErrLeaseLost)
		r.audit.check(0)
	})
}

// A prepared checkpoint that was not committed comes back to the next owner.
func TestPreparedCheckpointIsHandedOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a")
		var prepared kcl.ExtendedSequenceNumber
		w.do = func(ctx context.Context, _ *processor, in kcl.ProcessRecordsInput) error {
			p, err := in.Checkpointer.Prepare(ctx, kcl.ExtendedSequenceNumber{}, []byte("state"))
			prepared = p.Pending()
			return err
		}
		w.shutdown = func(context.Context, *processor, kcl.ShutdownRequestedInput) error { return nil }
		w.start()
		r.put(keys(3)...)
		time.Sleep(time.Second)
		require.NoError(t, w.stop())

		next := r.worker("b")
		var in kcl.InitializeInput
		next.initialize = func(_ context.Context, _ *processor, got kcl.InitializeInput) error { in = got; return nil }
		next.start()
		r.finished(10 * time.Second)
		require.NoError(t, next.stop())
		require.Equal(t, prepared, in.Pending)
		require.Equal(t, "state", string(in.PendingState))
		require.Equal(t, kcl.SentinelTrimHorizon, in.Checkpoint.SequenceNumber)
		r.audit.check(0)
	})
}

// Half an hour with little data: subscriptions are renewed every five minutes
// and the worker stays healthy.
func TestFiveMinuteRenewals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		var subscribes atomic.Int32
		r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
			if c.Operation == "SubscribeToShard" {
				subscribes.Add(1)
			}
			return nil
		})
		w := r.worker("a").start()
		for range 30 {
			r.put(keys(4)...)
			time.Sleep(time.Minute)
			require.NoError(t, w.Healthy())
		}
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
		require.InDelta(t, 12, int(subscribes.Load()), 4)
	})
}

// A connection that goes silent is noticed within 35 seconds, long before the
// stream's own end.
func TestSilentConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		r.srv.Inject(kinesistest.Fault{
			Operation: "SubscribeToShard", Times: 1,
			Do: []kinesistest.Action{kinesistest.StallStream(kinesistest.AfterEvents(3))},
		})
		w := r.worker("a").start()
		time.Sleep(30 * time.Second)
		r.put(keys(4)...)
		r.finished(45 * time.Second)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

func TestRunOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a")
		require.ErrorContains(t, w.Healthy(), "Run has not been called")
		require.Empty(t, w.Status().Streams)
		w.start()
		time.Sleep(time.Second)
		require.ErrorIs(t, w.Run(t.Context()), scheduler.ErrStarted)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		require.ErrorIs(t, w.Run(t.Context()), scheduler.ErrStarted)
		require.Equal(t, "stopped", w.Status().Phase)
	})
}
