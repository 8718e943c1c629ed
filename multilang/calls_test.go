package multilang_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

var errSink = errors.New("the sink is down")

// TestFailedCallIsRepeated: the same batch comes again, and no checkpoint covers it meanwhile.
func TestFailedCallIsRepeated(t *testing.T) {
	failures := 3
	p := &script{
		initialize: func(context.Context, kcl.InitializeInput) error {
			if failures--; failures >= 0 {
				return errSink
			}
			return nil
		},
		process: func(_ context.Context, in kcl.ProcessRecordsInput) error {
			require.Len(t, in.Records, 2)
			if failures--; failures >= 0 {
				in.Records[1] = in.Records[0]
				return errSink
			}
			require.NotEqual(t, in.Records[0], in.Records[1], "the batch is whole")
			return nil
		},
		ended: func(context.Context, kcl.ShardEndedInput) error {
			if failures--; failures >= 0 {
				return errSink
			}
			return nil
		},
	}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		d.initialize()
		d.process(1, 2)
		failures = 1
		d.send(3, 4)
		synctest.Wait() // until the backoff
		done := make(chan error)
		go func() { done <- p.checkpointer.Checkpoint(t.Context()) }()
		require.Equal(t, "2", d.checkpoint(""), "3 and 4 are not processed")
		require.NoError(t, <-done)
		d.status(protocol.ProcessRecords)
		failures = 1
		require.NoError(t, d.writer.Simple(protocol.ShardEnded))
		require.Equal(t, "all", d.checkpoint(""))
		d.status(protocol.ShardEnded)
		require.NoError(t, d.end())
		require.Equal(t, []string{
			"initialize", "initialize", "initialize", "initialize", "process 1", "process 3", "process 3", "ended", "ended",
		}, p.called())
	})
}

// TestCallsThatEndServe: the process ends, and the next one starts at the last checkpoint.
func TestCallsThatEndServe(t *testing.T) {
	for name, c := range map[string]struct {
		fail  func() error
		want  string
		calls int // of ProcessRecords
	}{
		"error": {func() error { return errSink }, "multilang: process records: the sink is down", 3},
		"restart": {
			func() error { return kcl.ErrRestart },
			"multilang: process records: kcl: the processor asks to be replaced", 1,
		},
		"panic": {func() error { panic("broken") }, "multilang: process records: panic: broken", 1},
		"goexit": {
			func() error { runtime.Goexit(); return nil }, "multilang: process records: panic: runtime.Goexit was called, " +
				"as t.FailNow and the functions of testify's require do", 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &script{process: func(context.Context, kcl.ProcessRecordsInput) error { return c.fail() }}
			serve(t, p, multilang.Options{Attempts: 3}, func(t *testing.T, d *fakeDaemon) {
				d.initialize()
				d.send(1)
				require.EqualError(t, <-d.served, c.want)
				require.Len(t, p.called(), c.calls+2)
				require.Contains(t, p.called()[c.calls+1], "lost: ")
				require.ErrorIs(t, context.Cause(p.work), kcl.ErrRestart)
				require.ErrorIs(t, p.checkpointer.Checkpoint(t.Context()), kcl.ErrLeaseLost)
			})
		})
	}
	t.Run("initialize", func(t *testing.T) {
		p := &script{initialize: func(context.Context, kcl.InitializeInput) error { return errSink }}
		serve(t, p, multilang.Options{Attempts: 1}, func(t *testing.T, d *fakeDaemon) {
			require.NoError(t, d.writer.Initialize("shardId-7", kcl.ExtendedSequenceNumber{}))
			require.ErrorIs(t, <-d.served, errSink)
			require.Equal(t, []string{"initialize"}, p.called())
		})
	})
	t.Run("shutdown requested panics", func(t *testing.T) {
		p := &script{requested: func(context.Context, kcl.ShutdownRequestedInput) error { panic("broken") }}
		serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
			d.initialize()
			require.NoError(t, d.writer.Simple(protocol.ShutdownRequested))
			require.EqualError(t, <-d.served, "multilang: panic: broken")
		})
	})
}

func TestFailureOfShutdownRequestedIsLogged(t *testing.T) {
	p := &script{requested: func(context.Context, kcl.ShutdownRequestedInput) error { return errSink }}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		d.initialize()
		d.do(protocol.ShutdownRequested)
		d.do(protocol.LeaseLost)
		require.NoError(t, d.end())
		require.Contains(t, d.log.String(), "the sink is down")
		require.Equal(t, []string{"initialize", "requested"}, p.called())
	})
}

// TestShutdownTakesTooLong: the context ends after ShutdownTimeout. A method that returns within a
// second gets LeaseLost. One that does not is left behind.
func TestShutdownTakesTooLong(t *testing.T) {
	for name, late := range map[string]time.Duration{"in time": 900 * time.Millisecond, "never": time.Hour} {
		t.Run(name, func(t *testing.T) {
			p := &script{requested: func(ctx context.Context, _ kcl.ShutdownRequestedInput) error {
				<-ctx.Done()
				require.Equal(t, kcl.ErrShutdownTimeout, context.Cause(ctx))
				time.Sleep(late)
				return context.Cause(ctx)
			}}
			serve(t, p, multilang.Options{ShutdownTimeout: 3 * time.Second}, func(t *testing.T, d *fakeDaemon) {
				d.initialize()
				start := time.Now()
				require.NoError(t, d.writer.Simple(protocol.ShutdownRequested))
				if name == "never" {
					require.ErrorIs(t, <-d.served, kcl.ErrShutdownTimeout)
					require.Equal(t, 4*time.Second, time.Since(start))
					require.Equal(t, []string{"initialize", "requested"}, p.called())
					return
				}
				d.status(protocol.ShutdownRequested)
				require.Equal(t, 3900*time.Millisecond, time.Since(start))
				d.do(protocol.LeaseLost)
				require.NoError(t, d.end())
				require.Contains(t, p.called()[2], "lost: kcl: shutdown took longer")
			})
		})
	}
}

// TestInputEndsDuringACall: the daemon is gone. The call is asked to return, and then LeaseLost is
// called.
func TestInputEndsDuringACall(t *testing.T) {
	for name, c := range map[string]struct {
		late   time.Duration
		ctx    bool // the caller of Serve ends it
		during string
		lost   bool
	}{
		"records":     {time.Second, false, "process", true},
		"context":     {time.Second, true, "process", true},
		"too late":    {time.Minute, false, "process", false},
		"idle":        {0, true, "", true},
		"checkpoint":  {0, false, "checkpoint", true},
		"shard ended": {0, false, "ended", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wait := func(ctx context.Context) error {
				<-ctx.Done()
				require.ErrorIs(t, context.Cause(ctx), kcl.ErrLeaseLost)
				time.Sleep(c.late)
				return context.Cause(ctx)
			}
			p := &script{ended: func(ctx context.Context, _ kcl.ShardEndedInput) error { return wait(ctx) }}
			switch c.during {
			case "process":
				p.process = func(ctx context.Context, _ kcl.ProcessRecordsInput) error { return wait(ctx) }
			case "checkpoint":
				p.process = func(ctx context.Context, in kcl.ProcessRecordsInput) error {
					require.ErrorIs(t, in.Checkpointer.Checkpoint(ctx), kcl.ErrLeaseLost)
					return nil
				}
			}
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				serveHere(ctx, t, p, multilang.Options{ShutdownTimeout: 3 * time.Second}, func(t *testing.T, d *fakeDaemon) {
					d.initialize()
					switch c.during {
					case "process":
						d.send(1)
					case "checkpoint":
						d.send(1)
						require.Equal(t, protocol.Checkpoint, d.next().Action)
					case "ended":
						require.NoError(t, d.writer.Simple(protocol.ShardEnded))
					}
					synctest.Wait()
					start := time.Now()
					if c.ctx {
						cancel(errGone)
						require.ErrorIs(t, <-d.served, errGone)
					} else {
						require.NoError(t, d.end())
					}
					require.Equal(t, min(c.late, 4*time.Second), time.Since(start))
					calls := p.called()
					require.Equal(t, c.lost, calls[len(calls)-1][:4] == "lost", calls)
				})
			})
		})
	}
}

// TestLeaseLostHasItsOwnContext: it lasts for ShutdownTimeout. A LeaseLost that does not return is
// left behind a second later.
func TestLeaseLostHasItsOwnContext(t *testing.T) {
	p := &script{lost: func(ctx context.Context) {
		<-ctx.Done()
		require.Equal(t, kcl.ErrShutdownTimeout, context.Cause(ctx))
		time.Sleep(time.Hour)
	}}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		d.initialize()
		start := time.Now()
		d.do(protocol.LeaseLost)
		require.Equal(t, multilang.DefaultShutdownTimeout+time.Second, time.Since(start))
		require.NoError(t, d.end())
		require.Contains(t, d.log.String(), "processor does not return")
	})
}
