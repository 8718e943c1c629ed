package scheduler_test

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/processors"
	"github.com/kinesis-go/kcl/scheduler"
)

// A method of the processor that ends its goroutine (require and t.FailNow do) fails as one that
// panics: it is logged, counted, called again by the same consumer, and health tells when it lasts.
func TestGoexitInAProcessorIsAPanic(t *testing.T) {
	t.Parallel()
	for _, method := range []string{
		"factory", "initialize", "process_records", "shard_ended", "shutdown_requested",
		"lease_lost",
	} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				log := r.capture()
				numbers := newSeries()
				w := r.worker("a")
				var calls, sick atomic.Int32
				sick.Store(1)
				exit := func(here string) {
					if here == method && sick.Load() == 1 {
						calls.Add(1)
						runtime.Goexit()
					}
				}
				w.replaceEach(func() kcl.Processor { exit("factory"); return &processor{w: w} },
					func(c *scheduler.Config) { c.Metrics = metrics.New(numbers) })
				w.initialize = func(context.Context, *processor, kcl.InitializeInput) error { exit("initialize"); return nil }
				w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
					exit("process_records")
					p.take(in)
					return p.checkpoint(ctx, in.Checkpointer)
				}
				w.shardEnded = func(context.Context, *processor, kcl.ShardEndedInput) error { exit("shard_ended"); return nil }
				w.shutdown = func(context.Context, *processor, kcl.ShutdownRequestedInput) error {
					exit("shutdown_requested")
					return nil
				}
				w.leaseLost = func(context.Context, *processor) { exit("lease_lost") }
				w.start()
				shard := r.open()[0]
				r.put("k")
				time.Sleep(10 * time.Second)
				switch method {
				case "shard_ended":
					r.split(shard)
				case "lease_lost":
					w.faults.SetFault(func(ctx context.Context, _ leasefault.Call,
						_ func() error,
					) error {
						<-ctx.Done()
						return ctx.Err()
					})
					time.Sleep(20 * time.Second)
					w.faults.SetFault(nil)
				}
				time.Sleep(10 * time.Minute)
				last := method == "lease_lost" || method == "shutdown_requested" // these are called once
				if !last {
					require.ErrorContains(t, w.Healthy(), "runtime.Goexit was called")
					require.Greater(t, calls.Load(), int32(5))
					require.Zero(t, log.count(`msg="lease ended"`), "the same consumer calls again")
					counted := method
					if method == "factory" {
						counted = "initialize"
					}
					require.Greater(t, numbers.value(metrics.ProcessErrors, w.seriesStream(), shard, counted, "panic"), 5.0)
				}
				if method != "factory" && method != "initialize" && !last {
					sick.Store(0)
					r.finished(time.Minute)
				}
				require.NoError(t, w.stop())
				require.Positive(t, log.count("runtime.Goexit was called"))
				require.Positive(t, calls.Load())
				if method == "shutdown_requested" {
					require.Empty(t, r.row(shard).ActualOwner(), "the lease is released")
				}
			})
		})
	}
}

// exitingDecoder ends its goroutine at every other record.
type exitingDecoder struct{ n atomic.Int32 }

func (d *exitingDecoder) Decode(_ context.Context, r kcl.Record) ([]byte, *kcl.Schema, error) {
	if d.n.Add(1)%2 == 0 {
		runtime.Goexit()
	}
	return r.Data(), &kcl.Schema{}, nil
}

// A decoder that ends its goroutine at a record: that record is delivered as it is, the others
// decoded.
func TestGoexitInADecoder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		log := r.capture()
		w := r.worker("a", func(c *scheduler.Config) { c.Decoder = new(exitingDecoder) })
		var decoded, plain atomic.Int32
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			for _, rec := range in.Records {
				if rec.Schema() != nil {
					decoded.Add(1)
				} else {
					plain.Add(1)
				}
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		w.start()
		r.put(keys(10)...)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		require.EqualValues(t, 5, decoded.Load())
		require.EqualValues(t, 5, plain.Load())
		require.Positive(t, log.count("runtime.Goexit was called"))
		r.audit.check(0)
	})
}

// A tracker that ends its goroutine has given no list: the last one counts.
func TestGoexitInATrackerIsNoEmptyList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		r.capture()
		var sick atomic.Bool
		w := r.worker("a", func(c *scheduler.Config) {
			c.Streams = nil
			c.StreamTracker = func(context.Context) ([]scheduler.StreamConfig, error) {
				if sick.Load() {
					runtime.Goexit()
				}
				return []scheduler.StreamConfig{{Name: streamName}}, nil
			}
		}).start()
		r.put(keys(3)...)
		r.finished(time.Minute)
		sick.Store(true)
		time.Sleep(10 * time.Minute)
		r.put(keys(3)...)
		r.finished(time.Minute)
		require.ErrorContains(t, w.Healthy(), "runtime.Goexit was called")
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A lane that ends its goroutine fails as one that panics.
func TestGoexitBehindADecorator(t *testing.T) {
	t.Parallel()
	for name, decorate := range map[string]func(p kcl.Processor) kcl.Processor{
		"batch": func(p kcl.Processor) kcl.Processor { return processors.Batch(p, processors.BatchOptions{}) },
		"concurrent": func(p kcl.Processor) kcl.Processor {
			return processors.Concurrent(func(int) kcl.Processor { return p }, processors.ConcurrentOptions{})
		},
		"retry": func(p kcl.Processor) kcl.Processor { return processors.Retry(p, processors.RetryOptions{}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				r.log = slog.New(slog.DiscardHandler)
				w := r.worker("a")
				var calls atomic.Int32
				w.replaceEach(func() kcl.Processor {
					return decorate(processors.Func(func(_ context.Context, records []kcl.Record) error {
						if calls.Add(1) < 4 {
							runtime.Goexit()
						}
						r.audit.processed("a", r.open()[0], records)
						return nil
					}, processors.FuncOptions{}))
				})
				w.start()
				for range 10 {
					r.put("k")
					time.Sleep(time.Second)
				}
				r.finished(time.Minute)
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// panics is a metrics sink and a log handler that panic, whatever they are asked.
type panics struct{}

func (panics) Series(*metrics.Desc, ...string) metrics.Series { panic("sink") }
func (panics) Remove(*metrics.Desc, ...string)                { panic("sink") }
func (panics) Enabled(context.Context, slog.Level) bool       { return true }
func (panics) Handle(context.Context, slog.Record) error      { panic("handler") }
func (h panics) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h panics) WithGroup(string) slog.Handler                { return h }

// panickingSeries are made, and panic then.
type panickingSeries struct{}

func (panickingSeries) Series(*metrics.Desc, ...string) metrics.Series { return panickingSeries{} }
func (panickingSeries) Remove(*metrics.Desc, ...string)                {}
func (panickingSeries) Record(float64)                                 { panic("series") }

// A metrics sink or a log handler that panics loses numbers and lines, and nothing else.
func TestPanicsOfSinkAndLogHandlerAreContained(t *testing.T) {
	t.Parallel()
	for name, sink := range map[string]metrics.Sink{"sink": panics{}, "series": panickingSeries{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(1))
				w := r.worker("a", mode, func(c *scheduler.Config) {
					c.Metrics, c.Logger = metrics.New(sink),
						slog.New(panics{})
				}).start()
				r.produce(3, time.Second, keys(3))
				r.finished(time.Minute)
				r.split(r.open()[0])
				r.put(keys(3)...)
				r.finished(time.Minute)
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}
