package scheduler_test

import (
	"context"
	"errors"
	"log/slog"
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

// The context of ProcessRecords lives until the last call, whatever ends the
// work: what was handed to another goroutine is finished there, not cut off.
func TestContextOfProcessRecordsLivesUntilTheLastCall(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(r *rig, w *worker){
		"stop":      func(_ *rig, w *worker) { _ = w.stop() },
		"shard end": func(r *rig, _ *worker) { r.split(r.open()[0]) },
		"hand-over": func(r *rig, _ *worker) {
			r.worker("b").start()
			r.worker("c").start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(2))
				w := r.worker("a", mode)
				var mu sync.Mutex
				kept, asked := map[*processor]context.Context{}, 0
				w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
					mu.Lock()
					kept[p] = ctx //nolint:fatcontext // what becomes of it is the question
					mu.Unlock()
					p.take(in)
					return nil
				}
				last := func(p *processor) error {
					mu.Lock()
					asked++
					ctx := kept[p]
					mu.Unlock()
					time.Sleep(5 * time.Second) // the work that was handed on
					if ctx != nil && ctx.Err() != nil {
						r.audit.violation("the context has ended before the last call: %v", context.Cause(ctx))
					}
					return nil
				}
				w.shutdown = func(ctx context.Context, p *processor, in kcl.ShutdownRequestedInput) error {
					return errors.Join(last(p), in.Checkpointer.Checkpoint(ctx))
				}
				w.shardEnded = func(_ context.Context, p *processor, _ kcl.ShardEndedInput) error { return last(p) }
				w.start()
				r.put(keys(20)...)
				r.finished(time.Minute)
				time.Sleep(10 * time.Second)
				end(r, w)
				r.eventually(2*time.Minute, "a last call", func() bool { mu.Lock(); defer mu.Unlock(); return asked > 0 })
				r.stopAll()
				mu.Lock()
				defer mu.Unlock()
				for p, ctx := range kept {
					require.ErrorIs(t, context.Cause(ctx), kcl.ErrLeaseLost, "%s: the context ends after the last call", p.shard.ID)
				}
				r.audit.check(0)
			})
		})
	}
}

// A batch that the timer of processors.Batch has handed on is not cut off by a stop, and not done
// twice.
func TestStopDoesNotCutOffABatchOfTheTimer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a")
		var calls, cut atomic.Int32
		w.replace(processors.Batch(processors.Func(func(ctx context.Context, _ []kcl.Record) error {
			calls.Add(1)
			select {
			case <-time.After(5 * time.Second):
				return nil
			case <-ctx.Done():
				cut.Add(1)
				return context.Cause(ctx)
			}
		}, processors.FuncOptions{}), processors.BatchOptions{MaxAge: time.Second}))
		w.start()
		time.Sleep(10 * time.Second)
		r.put(keys(3)...)
		time.Sleep(3 * time.Second) // the timer has fired, the work is under way
		require.NoError(t, w.stop())
		require.Zero(t, cut.Load())
		require.EqualValues(t, 1, calls.Load())
		require.False(t, r.row(r.open()[0]).Checkpoint.IsSentinel(), "what was done is checkpointed")
	})
}

type runValue struct{}

// valued decodes nothing, and looks at its context.
type valued struct {
	see func(ctx context.Context, call string)
}

func (v valued) Decode(ctx context.Context, _ kcl.Record) ([]byte, *kcl.Schema, error) {
	v.see(ctx, "decode")
	return nil, nil, nil
}

// The values of Run's context reach everything of the user's that gets a context.
func TestValuesOfRunsContextReachAllCallbacks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		var mu sync.Mutex
		seen := map[string]any{}
		see := func(ctx context.Context, call string) {
			mu.Lock()
			defer mu.Unlock()
			if v, ok := seen[call]; !ok || v == "trace-1" {
				seen[call] = ctx.Value(runValue{})
			}
		}
		w := r.worker("a", func(c *scheduler.Config) {
			c.Decoder = valued{see}
			c.Streams = nil
			c.StreamTracker = func(ctx context.Context) ([]scheduler.StreamConfig, error) {
				see(ctx, "tracker")
				return []scheduler.StreamConfig{{Name: streamName}}, nil
			}
		})
		w.initialize = func(ctx context.Context, _ *processor, _ kcl.InitializeInput) error {
			see(ctx, "initialize")
			return nil
		}
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			see(ctx, "processRecords")
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		w.shardEnded = func(ctx context.Context, _ *processor, _ kcl.ShardEndedInput) error {
			see(ctx, "shardEnded")
			return nil
		}
		w.shutdown = func(ctx context.Context, _ *processor, _ kcl.ShutdownRequestedInput) error {
			see(ctx, "shutdownRequested")
			return nil
		}
		w.leaseLost = func(ctx context.Context, _ *processor) { see(ctx, "leaseLost") }
		w.faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
			see(ctx, "store "+call.Op)
			return apply()
		})
		w.startWith(context.WithValue(context.Background(), runValue{}, "trace-1"))
		r.put(keys(10)...)
		r.finished(time.Minute)
		r.split(r.open()[0])
		time.Sleep(time.Minute)
		w.faults.SetFault(func(ctx context.Context, _ leasefault.Call,
			_ func() error,
		) error {
			<-ctx.Done()
			return ctx.Err()
		})
		time.Sleep(30 * time.Second)
		w.faults.SetFault(nil)
		time.Sleep(30 * time.Second)
		require.NoError(t, w.stop())
		for _, call := range []string{
			"tracker", "initialize", "decode", "processRecords", "shardEnded", "shutdownRequested", "leaseLost",
			"store list", "store create", "store update",
		} {
			require.Equal(t, "trace-1", seen[call], call)
		}
	})
}

// A shutdown that takes longer than it may ends the context, and LeaseLost follows
// once the call that ran has returned: whatever ran, and whenever it returns.
func TestLeaseLostFollowsAnOverrun(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in    string        // the call that overruns
		deaf  time.Duration // how long it goes on after its context has ended
		calls string
	}{
		"batch":                       {in: "process", calls: "IPL"},
		"batch that returns late":     {in: "process", deaf: time.Minute, calls: "IPL"},
		"shutdown":                    {in: "shutdown", calls: "IPSL"},
		"shutdown that returns late":  {in: "shutdown", deaf: time.Minute, calls: "IPSL"},
		"shard end":                   {in: "end", calls: "IPEL"},
		"shard end that returns late": {in: "end", deaf: time.Minute, calls: "IPEL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				shard := r.open()[0]
				w := r.worker("a")
				var began atomic.Bool
				var cause, calls atomic.Value
				overrun := func(ctx context.Context, in string) error {
					if in != tc.in {
						return nil
					}
					began.Store(true)
					<-ctx.Done()
					cause.Store(context.Cause(ctx))
					time.Sleep(tc.deaf)
					return context.Cause(ctx)
				}
				w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
					p.take(in)
					return overrun(ctx, "process")
				}
				w.shutdown = func(ctx context.Context, _ *processor, _ kcl.ShutdownRequestedInput) error {
					return overrun(ctx, "shutdown")
				}
				w.shardEnded = func(ctx context.Context, _ *processor, _ kcl.ShardEndedInput) error { return overrun(ctx, "end") }
				w.leaseLost = func(ctx context.Context, p *processor) {
					if ctx.Err() != nil {
						r.audit.violation("the context of LeaseLost has ended")
					}
					if p.shard.ID == shard {
						calls.Store(p.calls.String())
					}
				}
				w.start()
				r.put("k")
				r.eventually(time.Minute, "delivered", func() bool { return r.audit.count() == 1 })
				if tc.in == "end" {
					r.split(shard)
				}
				time.Sleep(20 * time.Second)
				begun := time.Now()
				err := w.stop()
				require.InDelta(t, scheduler.DefaultShutdownTimeout.Seconds(), time.Since(begun).Seconds(), 1.1)
				require.True(t, began.Load())
				require.ErrorIs(t, cause.Load().(error), kcl.ErrShutdownTimeout)
				_, abandoned := errors.AsType[*leases.AbandonedError](err)
				require.Equal(t, tc.deaf > 0, abandoned, "%v", err)
				time.Sleep(tc.deaf)
				synctest.Wait()
				require.Equal(t, tc.calls, calls.Load())
				r.audit.check(0)
			})
		})
	}
}

// replace gives the worker another processor, the same for all shards.
func (w *worker) replace(p kcl.Processor, opts ...func(*scheduler.Config)) {
	w.replaceEach(func() kcl.Processor { return p }, opts...)
}

// replaceEach gives the worker other processors.
func (w *worker) replaceEach(make func() kcl.Processor, opts ...func(*scheduler.Config)) {
	cfg := scheduler.Config{
		Application: "app", WorkerID: w.name, Streams: []scheduler.StreamConfig{{Name: streamName}},
		Kinesis: w.client, Leases: w.faults.Store(), Logger: w.r.log,
	}
	for _, o := range opts {
		o(&cfg)
	}
	w.Scheduler = scheduler.New(cfg, func(kcl.StreamIdentifier, kcl.Shard) kcl.Processor { return make() })
}

// Work that does not heed its context, behind a decorator, is not hidden: Run says that it was left
// behind, and while it goes on the process does not read the shard a second time.
func TestDeafWorkBehindADecorator(t *testing.T) {
	t.Parallel()
	for name, decorate := range map[string]func(p kcl.Processor) kcl.Processor{
		"plain": func(p kcl.Processor) kcl.Processor { return p },
		"retry": func(p kcl.Processor) kcl.Processor { return processors.Retry(p, processors.RetryOptions{}) },
		"batch": func(p kcl.Processor) kcl.Processor { return processors.Batch(p, processors.BatchOptions{}) },
		"concurrent": func(p kcl.Processor) kcl.Processor {
			return processors.Concurrent(func(n int) kcl.Processor {
				if n == 0 {
					return p
				}
				return processors.Func(func(context.Context, []kcl.Record) error { return nil }, processors.FuncOptions{})
			}, processors.ConcurrentOptions{Lanes: 1})
		},
		"concurrent batches": func(p kcl.Processor) kcl.Processor {
			return processors.Concurrent(func(n int) kcl.Processor {
				if n == 0 {
					return processors.Batch(p, processors.BatchOptions{})
				}
				return processors.Func(func(context.Context, []kcl.Record) error { return nil }, processors.FuncOptions{})
			}, processors.ConcurrentOptions{Lanes: 1})
		},
	} {
		for _, lost := range []bool{false, true} {
			t.Run(name+map[bool]string{false: " at a stop", true: " at a lost lease"}[lost], func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, oneStream(1))
					r.log = slog.New(slog.DiscardHandler)
					w := r.worker("a")
					release := make(chan struct{})
					var working, most, made atomic.Int32
					w.replaceEach(func() kcl.Processor {
						made.Add(1)
						return decorate(processors.Func(func(context.Context, []kcl.Record) error {
							most.Store(max(most.Load(), working.Add(1)))
							<-release
							working.Add(-1)
							return nil
						}, processors.FuncOptions{}))
					})
					w.start()
					r.put("a")
					time.Sleep(10 * time.Second)
					require.EqualValues(t, 1, working.Load())
					if lost {
						w.faults.SetFault(func(ctx context.Context, _ leasefault.Call,
							_ func() error,
						) error {
							<-ctx.Done()
							return ctx.Err()
						})
						time.Sleep(30 * time.Second)
						w.faults.SetFault(nil)
						time.Sleep(5 * time.Minute)
						require.Error(t, w.Healthy())
						require.EqualValues(t, 1, made.Load(), "the shard is not read a second time while the work goes on")
					}
					_, abandoned := errors.AsType[*leases.AbandonedError](w.stop())
					require.True(t, abandoned)
					require.EqualValues(t, 1, working.Load())
					require.EqualValues(t, 1, most.Load())
					close(release)
					synctest.Wait()
				})
			})
		}
	}
}
