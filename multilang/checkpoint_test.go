package multilang_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

func TestFormsOfACheckpoint(t *testing.T) {
	p := &script{
		process: func(ctx context.Context, in kcl.ProcessRecordsInput) error {
			require.NoError(t, in.Checkpointer.CheckpointAt(ctx, at(1, 0)))
			require.NoError(t, in.Checkpointer.CheckpointAt(ctx, at(2, 5)))
			return in.Checkpointer.Checkpoint(ctx)
		},
		ended: func(ctx context.Context, in kcl.ShardEndedInput) error { return in.Checkpointer.Checkpoint(ctx) },
		requested: func(ctx context.Context, in kcl.ShutdownRequestedInput) error {
			return in.Checkpointer.Checkpoint(ctx)
		},
	}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		d.initialize()
		d.send(1, 2, 3)
		for _, want := range []string{"1", "2/5", "all"} {
			require.Equal(t, want, d.checkpoint(""))
		}
		d.status(protocol.ProcessRecords)
		require.NoError(t, d.writer.Simple(protocol.ShutdownRequested))
		require.Equal(t, "all", d.checkpoint(""))
		d.status(protocol.ShutdownRequested)
		require.ErrorIs(t, p.checkpointer.CheckpointAt(t.Context(), at(3, 0)), kcl.ErrLeaseLost, "it has returned")
		require.NoError(t, d.writer.Simple(protocol.ShardEnded))
		require.Equal(t, "all", d.checkpoint(""), "the end of the shard; the processor's checkpoint was there before")
		d.status(protocol.ShardEnded)
		require.NoError(t, d.end())
	})
}

func TestPositionsThatNeverReachTheDaemon(t *testing.T) {
	p := &script{process: func(ctx context.Context, in kcl.ProcessRecordsInput) error {
		for _, position := range []kcl.ExtendedSequenceNumber{
			{}, at(1, -1), {SequenceNumber: "x"}, {SequenceNumber: "LATEST"}, {SequenceNumber: "SHARD_END"},
		} {
			require.ErrorIs(t, in.Checkpointer.CheckpointAt(ctx, position), kcl.ErrInvalidCheckpoint)
		}
		_, err := in.Checkpointer.Prepare(ctx, at(1, 0), nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		gone, cancel := context.WithCancelCause(ctx)
		cancel(errGone)
		require.Equal(t, errGone, in.Checkpointer.Checkpoint(gone))
		return nil
	}}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		d.initialize()
		d.process(1)
		require.NoError(t, d.end())
	})
}

var errGone = errors.New("the caller is gone")

// TestM08CheckpointsOfOtherGoroutines: many goroutines checkpoint at the same time, and each gets
// the answer to its own.
func TestM08CheckpointsOfOtherGoroutines(t *testing.T) {
	const callers = 50
	p := &script{process: func(ctx context.Context, in kcl.ProcessRecordsInput) error {
		var all sync.WaitGroup
		defer all.Wait()
		for i := range callers {
			all.Go(func() {
				err := in.Checkpointer.CheckpointAt(ctx, at(i+1, 0))
				if i%2 == 0 {
					require.NoError(t, err)
					return
				}
				answer, ok := errors.AsType[*multilang.DaemonError](err)
				require.True(t, ok)
				require.Equal(t, at(i+1, 0), answer.Position)
			})
		}
		return nil
	}}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		d.initialize()
		d.send(1, callers)
		for range callers {
			m := d.next()
			number := *m.Asked.SequenceNumber
			javaError := ""
			if (number[len(number)-1]-'0')%2 == 0 {
				javaError = "IllegalArgumentException"
			}
			require.NoError(t, d.writer.Answer(m.Asked, javaError))
		}
		d.status(protocol.ProcessRecords)
		require.NoError(t, d.end())
	})
}

// TestM08CheckpointBetweenCalls: the daemon does not read between two actions. The checkpoint waits
// for the next one and covers what was delivered when it was made.
func TestM08CheckpointBetweenCalls(t *testing.T) {
	p := &script{}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		done := make(chan error)
		checkpoint := func(ctx context.Context) {
			go func() { done <- p.checkpointer.Checkpoint(ctx) }()
			synctest.Wait()
		}
		d.initialize()
		d.process(1, 2)
		checkpoint(t.Context())
		d.send(3, 4)
		require.Equal(t, "2", d.checkpoint(""), "the processor may fail with 3 and 4")
		d.status(protocol.ProcessRecords)
		require.NoError(t, <-done)

		checkpoint(t.Context()) // of 4
		p.process = func(ctx context.Context, in kcl.ProcessRecordsInput) error { return in.Checkpointer.Checkpoint(ctx) }
		d.send(5)
		first, second := d.checkpoint(""), ""
		if first == "4" {
			second = d.checkpoint("")
		}
		require.Contains(t, []string{"4 all", "all "}, first+" "+second, "4 needs no checkpoint after 5")
		d.status(protocol.ProcessRecords)
		require.NoError(t, <-done)

		p.process = nil
		checkpoint(t.Context())
		d.raw(`{"action":"processRecords","records":[]}`)
		require.Equal(t, "all", d.checkpoint(""), "also without records")
		d.status(protocol.ProcessRecords)
		require.NoError(t, <-done)

		gone, cancel := context.WithCancelCause(t.Context())
		checkpoint(gone)
		cancel(errGone)
		require.Equal(t, errGone, <-done)
		checkpoint(t.Context())
		d.do(protocol.LeaseLost)
		require.ErrorIs(t, <-done, kcl.ErrLeaseLost)
		require.NoError(t, d.end())
	})
}

// TestM10CheckpointErrors: the caller can tell apart what the daemon answers.
func TestM10CheckpointErrors(t *testing.T) {
	kinds := []error{
		kcl.ErrLeaseLost, kcl.ErrInvalidCheckpoint, multilang.ErrThrottled, multilang.ErrDependency,
		multilang.ErrInvalidState,
	}
	for exception, want := range map[string]error{
		"ShutdownException":                   kcl.ErrLeaseLost,
		"IllegalArgumentException":            kcl.ErrInvalidCheckpoint,
		"ThrottlingException":                 multilang.ErrThrottled,
		"KinesisClientLibDependencyException": multilang.ErrDependency,
		"InvalidStateException":               multilang.ErrInvalidState,
		"NullPointerException":                nil,
	} {
		t.Run(exception, func(t *testing.T) {
			p := &script{process: func(ctx context.Context, in kcl.ProcessRecordsInput) error {
				err := in.Checkpointer.CheckpointAt(ctx, at(2, 1))
				for _, kind := range kinds {
					require.Equal(t, kind == want, errors.Is(err, kind), "%v is %v", err, kind) //nolint:errorlint // which one
				}
				require.EqualError(t, err, "multilang: checkpoint of 2/1: the daemon answered "+exception)
				require.Equal(t, exception == "ShutdownException", ctx.Err() != nil, "a running method must return then")
				return nil
			}}
			serve(t, p, multilang.Options{CheckpointAttempts: 1}, func(t *testing.T, d *fakeDaemon) {
				d.initialize()
				d.send(1, 2)
				require.Equal(t, "2/1", d.checkpoint(exception))
				d.status(protocol.ProcessRecords)
				d.do(protocol.LeaseLost)
				require.NoError(t, d.end())
			})
		})
	}
}

// TestM10ThrottledCheckpointIsRepeated: with a backoff, within bounds, also between two calls.
func TestM10ThrottledCheckpointIsRepeated(t *testing.T) {
	p := &script{process: func(ctx context.Context, in kcl.ProcessRecordsInput) error {
		return in.Checkpointer.Checkpoint(ctx)
	}}
	o := multilang.Options{CheckpointAttempts: 4, MinBackoff: time.Second, MaxBackoff: 2 * time.Second}
	serve(t, p, o, func(t *testing.T, d *fakeDaemon) {
		d.initialize()
		d.send(1)
		start := time.Now()
		for _, answer := range []string{
			"ThrottlingException", "KinesisClientLibDependencyException", "ThrottlingException", "",
		} {
			require.Equal(t, "all", d.checkpoint(answer))
		}
		require.InDelta(t, 5*time.Second, time.Since(start), float64(2500*time.Millisecond))
		d.status(protocol.ProcessRecords)

		p.process = func(ctx context.Context, in kcl.ProcessRecordsInput) error {
			require.ErrorIs(t, in.Checkpointer.Checkpoint(ctx), multilang.ErrThrottled)
			return nil
		}
		d.send(2)
		for range 4 {
			d.checkpoint("ThrottlingException")
		}
		d.status(protocol.ProcessRecords)

		done := make(chan error)
		p.process = func(context.Context, kcl.ProcessRecordsInput) error {
			go func() { done <- p.checkpointer.Checkpoint(t.Context()) }()
			synctest.Wait()
			return nil
		}
		d.send(3)
		require.Equal(t, "all", d.checkpoint("ThrottlingException"))
		d.status(protocol.ProcessRecords)
		p.process = nil
		synctest.Wait()
		time.Sleep(3 * time.Second)
		d.send(4)
		require.Equal(t, "3", d.checkpoint(""), "the number, because 4 was delivered meanwhile")
		require.NoError(t, <-done)
		d.status(protocol.ProcessRecords)
		require.NoError(t, d.end())
	})
}

// TestLostLease: after ShutdownException the processor gets no further records, and no end.
func TestLostLease(t *testing.T) {
	p := &script{process: func(ctx context.Context, in kcl.ProcessRecordsInput) error {
		err := in.Checkpointer.Checkpoint(ctx)
		require.ErrorIs(t, context.Cause(ctx), kcl.ErrLeaseLost)
		require.ErrorIs(t, in.Checkpointer.Checkpoint(t.Context()), kcl.ErrLeaseLost, "without asking the daemon")
		return err
	}}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		d.initialize()
		d.send(1)
		d.checkpoint("ShutdownException")
		d.status(protocol.ProcessRecords)
		d.process(2)
		d.do(protocol.ShutdownRequested)
		d.do(protocol.ShardEnded)
		d.do(protocol.LeaseLost)
		require.NoError(t, d.end())
		require.Len(t, p.called(), 3)
		require.Contains(t, p.called()[2], "lost: ")
	})
}

func TestEndOfAShardIsCheckpointed(t *testing.T) {
	for name, c := range map[string]struct {
		answers []string
		want    string // error of Serve
		status  bool
		calls   []string
	}{
		"throttled": {[]string{"ThrottlingException", "ThrottlingException", ""}, "", true, []string{"initialize", "ended"}},
		"lost": {
			[]string{"ShutdownException"},
			"", true,
			[]string{"initialize", "ended", "lost: kcl: lease lost"},
		},
		"refused": {
			[]string{"InvalidStateException"}, "multilang: checkpoint the end of the shard: multilang: checkpoint of " +
				"all that was delivered: the daemon answered InvalidStateException", false, nil,
		},
		"throttled for ever": {
			[]string{"ThrottlingException", "ThrottlingException", "ThrottlingException"},
			"multilang: checkpoint the end of the shard: multilang: checkpoint of " +
				"all that was delivered: the daemon answered ThrottlingException", false, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &script{}
			serve(t, p, multilang.Options{CheckpointAttempts: 3}, func(t *testing.T, d *fakeDaemon) {
				d.initialize()
				require.NoError(t, d.writer.Simple(protocol.ShardEnded))
				for _, answer := range c.answers {
					require.Equal(t, "all", d.checkpoint(answer))
				}
				if !c.status {
					require.EqualError(t, <-d.served, c.want)
					return
				}
				d.status(protocol.ShardEnded)
				require.NoError(t, d.end())
				require.Equal(t, c.calls, p.called())
			})
		})
	}
}
