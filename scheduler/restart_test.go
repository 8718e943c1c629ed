package scheduler_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/processors"
	"github.com/kinesis-go/kcl/scheduler"
)

// A processor that asks to be replaced, in ProcessRecords or in ShardEnded: a fresh instance begins
// at the last accepted checkpoint and gets everything behind it again, also what the old one had
// taken without an error. The old one hears LeaseLost, and can neither checkpoint nor go on. The
// lease stays.
func TestRestartBeginsAtTheLastAcceptedCheckpoint(t *testing.T) {
	t.Parallel()
	for _, atEnd := range []bool{false, true} {
		t.Run(fmt.Sprintf("at the shard's end %t", atEnd), func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(1))
				log := r.capture()
				shard := r.open()[0]
				w := r.worker("a", mode)
				died := fmt.Errorf("the child process has died: %w", kcl.ErrRestart)
				var mu sync.Mutex // guards the fields below
				var instances []*processor
				var begun []kcl.ExtendedSequenceNumber
				var accepted kcl.ExtendedSequenceNumber
				var oldCtx context.Context
				collected, lost := 0, ""
				isOld := func(p *processor) bool { return p == instances[0] }

				w.initialize = func(_ context.Context, p *processor, in kcl.InitializeInput) error {
					mu.Lock()
					defer mu.Unlock()
					if p.shard.ID == shard {
						instances, begun = append(instances, p), append(begun, in.Checkpoint)
					}
					return nil
				}
				w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
					mu.Lock()
					defer mu.Unlock()
					if p.shard.ID == shard && isOld(p) {
						oldCtx = ctx //nolint:fatcontext // what becomes of it is the question
						if !accepted.IsZero() {
							collected++
							if collected > 2 && !atEnd {
								return died
							}
							return nil
						}
						accepted = in.Records[len(in.Records)-1].Position()
					}
					p.take(in)
					return p.checkpoint(ctx, in.Checkpointer)
				}
				w.shardEnded = func(_ context.Context, p *processor, _ kcl.ShardEndedInput) error {
					mu.Lock()
					defer mu.Unlock()
					if atEnd && isOld(p) {
						return died
					}
					return nil
				}
				w.leaseLost = func(_ context.Context, p *processor) {
					mu.Lock()
					defer mu.Unlock()
					if isOld(p) {
						lost = p.calls.String()
					}
				}
				w.start()
				r.produce(6, time.Second, keys(2))
				if atEnd {
					r.split(shard)
				}
				r.finished(time.Minute)
				time.Sleep(10 * time.Second)

				mu.Lock()
				require.Len(t, instances, 2)
				require.Equal(t, accepted, begun[1])
				require.GreaterOrEqual(t, collected, 2)
				require.NotEmpty(t, lost)
				require.ErrorIs(t, context.Cause(oldCtx), kcl.ErrRestart)
				require.ErrorIs(t, context.Cause(oldCtx), kcl.ErrLeaseLost)
				old := instances[0].ck
				mu.Unlock()
				err := old.Checkpoint(t.Context())
				require.ErrorIs(t, err, kcl.ErrRestart)
				require.ErrorIs(t, err, kcl.ErrLeaseLost)
				require.Zero(t, log.count(`msg="lease lost"`), "the lease stays")
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// A checkpoint of the old instance that is still being written when it asks to be replaced: the new
// one begins behind it.
func TestRestartWaitsForTheCheckpointUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a")
		slow := new(atomic.Bool)
		w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "update" && call.Update.Set.Has(leases.AttrCheckpoint) && slow.Load() {
				time.Sleep(2 * time.Second)
			}
			return apply()
		})
		var n atomic.Int32
		var begun, taken atomic.Value
		w.initialize = func(_ context.Context, _ *processor, in kcl.InitializeInput) error {
			begun.Store(in.Checkpoint)
			return nil
		}
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			p.take(in)
			if n.Add(1) > 1 {
				return p.checkpoint(ctx, in.Checkpointer)
			}
			taken.Store(in.Records[len(in.Records)-1].Position())
			go func() {
				_ = in.Checkpointer.CheckpointAt(context.WithoutCancel(ctx), in.Records[len(in.Records)-1].Position())
			}()
			time.Sleep(100 * time.Millisecond)
			return kcl.ErrRestart
		}
		slow.Store(true)
		w.start()
		r.put(keys(3)...)
		r.eventually(time.Minute, "another instance", func() bool { return begun.Load() == taken.Load() })
		slow.Store(false)
		r.put(keys(3)...)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A stop during the wait for another instance: there is nobody to ask, and the lease is released at
// once.
func TestStopBetweenTwoInstances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a")
		w.do = func(context.Context, *processor, kcl.ProcessRecordsInput) error { return kcl.ErrRestart }
		w.start()
		r.put(keys(3)...)
		time.Sleep(time.Minute)
		begun := time.Now()
		require.NoError(t, w.stop())
		require.Less(t, time.Since(begun), time.Second)
		require.Empty(t, r.row(r.open()[0]).ActualOwner())
		w = r.worker("b").start()
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// An instance inside a decorator asks to be replaced: the whole processor is, and nothing of the
// old one works on.
func TestRestartReachesThroughDecorators(t *testing.T) {
	t.Parallel()
	for name, decorate := range map[string]func(p func() kcl.Processor) kcl.Processor{
		"retry": func(p func() kcl.Processor) kcl.Processor {
			return processors.Retry(p(), processors.RetryOptions{DeadLetter: func(context.Context,
				processors.DeadLetter,
			) error {
				return nil
			}})
		},
		"batch": func(p func() kcl.Processor) kcl.Processor {
			return processors.Batch(p(), processors.BatchOptions{MaxRecords: 2})
		},
		"concurrent": func(p func() kcl.Processor) kcl.Processor {
			return processors.Concurrent(func(int) kcl.Processor { return p() }, processors.ConcurrentOptions{})
		},
		"retried batch": func(p func() kcl.Processor) kcl.Processor {
			return processors.Retry(processors.Batch(p(), processors.BatchOptions{MaxRecords: 2}), processors.RetryOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				w := r.worker("a")
				var made, dead, again atomic.Int32
				w.replaceEach(func() kcl.Processor {
					n := made.Add(1)
					return decorate(func() kcl.Processor {
						return processors.Func(func(_ context.Context, records []kcl.Record) error {
							if n == 1 {
								if dead.Add(1) > 16 {
									again.Add(1)
								}
								return kcl.ErrRestart
							}
							r.audit.processed("a", r.open()[0], records)
							return nil
						}, processors.FuncOptions{})
					})
				})
				w.start()
				for range 20 {
					r.put(keys(4)...)
					time.Sleep(time.Second)
				}
				r.finished(time.Minute)
				require.EqualValues(t, 2, made.Load())
				require.Zero(t, again.Load(), "an instance that asks to be replaced is not called again and again")
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// An instance that lives for one batch only: the waits grow, and health turns red although each one
// begins well.
func TestRestartsBackOffAndAreTold(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"initialize", "process"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				r.capture()
				w := r.worker("a")
				var made, sick atomic.Int32
				sick.Store(1)
				w.initialize = func(context.Context, *processor, kcl.InitializeInput) error {
					made.Add(1)
					if where == "initialize" && sick.Load() == 1 {
						return kcl.ErrRestart
					}
					return nil
				}
				w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
					if sick.Load() == 1 {
						return kcl.ErrRestart
					}
					p.take(in)
					return p.checkpoint(ctx, in.Checkpointer)
				}
				w.start()
				r.put("k")
				time.Sleep(10 * time.Minute)
				require.Greater(t, made.Load(), int32(10))
				require.Less(t, made.Load(), int32(60))
				require.ErrorContains(t, w.Healthy(), kcl.ErrRestart.Error())
				sick.Store(0)
				r.finished(2 * time.Minute)
				time.Sleep(scheduler.DefaultStallTimeout)
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}
