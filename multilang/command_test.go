package multilang

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func TestChildLivesThroughItsShard(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, CommandConfig{}, good)
		require.NoError(t, b.initialize(t.Context()))
		require.Equal(t, Stats{Children: 1, Starts: 1}, b.Stats())
		require.NoError(t, b.process(t.Context(), 1, 2))
		require.NoError(t, b.process(t.Context(), 3))
		require.NoError(t, b.end(t.Context()))
		require.Equal(t, []string{"2", "3"}, b.writer.all, "the row has 3 already when the shard ends")
		b.gone()
		synctest.Wait()
		require.Equal(t, Stats{Starts: 1}, b.Stats())
		require.Empty(t, b.failures)
	})
}

// TestM06Shutdown: SIGTERM reaches the child as shutdownRequested, its checkpoint counts, and then
// it is told that the lease is lost, as by the Java daemon.
func TestM06Shutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var got []protocol.Action
		b := newBench(t, CommandConfig{}, func(f *fakeChild) {
			for {
				m := f.next()
				got = append(got, m.Action)
				if m.Action == protocol.ShutdownRequested {
					require.Empty(t, f.checkpoint())
				}
				if m.Action == protocol.LeaseLost {
					require.Equal(t, "InvalidStateException", f.checkpoint())
				}
				f.answer(m.Action)
			}
		})
		require.NoError(t, b.initialize(t.Context()))
		require.NoError(t, b.process(t.Context(), 1))
		require.NoError(t, b.shutdown(t.Context()))
		require.Equal(t, []string{"1"}, b.writer.all)
		require.Equal(t, []protocol.Action{"initialize", "processRecords", "shutdownRequested", "leaseLost"}, got)
		b.gone()
		b.lose(t.Context()) // changes nothing
		require.Len(t, got, 4)
	})
}

// TestM04FailuresOfAChild: each failure of a child, in each action, ends this child alone. The
// error names the exit status and the last lines on standard error. The next child goes on.
func TestM04FailuresOfAChild(t *testing.T) {
	failures := map[string]struct {
		program func(f *fakeChild, action protocol.Action)
		want    string
		stats   Stats
	}{
		"dies": {
			func(f *fakeChild, _ protocol.Action) { f.exit("signal: killed") },
			"the child ended with signal: killed; its last lines on standard error: Traceback | KeyError: \"x\\ty\"",
			Stats{EndedEarly: 1},
		},
		"ends with 0": {
			func(f *fakeChild, _ protocol.Action) {}, "the child ended with exit status 0", Stats{EndedEarly: 1},
		},
		"closes its output": {
			func(f *fakeChild, _ protocol.Action) { f.outW.Close(); f.hang() },
			"end of the child's output; the child still runs",
			Stats{EndedEarly: 1},
		},
		"answers another action": {
			func(f *fakeChild, _ protocol.Action) { f.answer("shutdown"); f.hang() },
			"the child answers \"shutdown\", expected the status of ",
			Stats{WrongAnswers: 1},
		},
		"answers nothing": {
			func(f *fakeChild, _ protocol.Action) { f.print(`{"action": "status"}` + "\n"); f.hang() },
			"the child answers \"\", expected the status of ",
			Stats{WrongAnswers: 1},
		},
		"hangs": {
			func(f *fakeChild, _ protocol.Action) { f.hang() }, "within 30s", Stats{TooLate: 1},
		},
	}
	for name, failure := range failures {
		for _, action := range []protocol.Action{
			protocol.Initialize, protocol.ProcessRecords, protocol.ShardEnded, protocol.ShutdownRequested, protocol.LeaseLost,
		} {
			t.Run(name+" in "+string(action), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					b := newBench(t, CommandConfig{Timeout: 30 * time.Second}, func(f *fakeChild) {
						for {
							m := f.next()
							if m.Action == action {
								f.complain("Traceback\nKeyError: \"x\ty\"\n")
								failure.program(f, action)
								return
							}
							if m.Action != protocol.Initialize {
								f.checkpoint()
							}
							f.answer(m.Action)
						}
					}, good)
					err := b.upTo(action)
					if action == protocol.LeaseLost {
						require.NoError(t, err)
						require.Len(t, b.failures, 1)
						err = b.failures[0]
					} else {
						require.ErrorContains(t, err, string(action))
					}
					require.ErrorContains(t, err, failure.want)
					if strings.Contains(failure.want, "ended") { // a running child may still write
						require.ErrorContains(t, err, "KeyError")
					}
					switch action {
					case protocol.Initialize:
						b.gone()
						require.NotErrorIs(t, err, kcl.ErrRestart)
						require.NoError(t, b.initialize(t.Context()))
						b.lose(t.Context())
					case protocol.ProcessRecords, protocol.ShardEnded:
						require.ErrorIs(t, err, kcl.ErrRestart)
						b.lose(t.Context())
					}
					if action != protocol.Initialize {
						b.gone()
					}
					if action == protocol.ShutdownRequested {
						require.Empty(t, b.failures, "the worker stops anyway")
					} else {
						require.Len(t, b.failures, 1)
					}
					stats := b.Stats()
					stats.Children, stats.Starts = 0, 0
					require.Equal(t, failure.stats, stats)
				})
			})
		}
	}
}

// upTo calls the methods up to the one that leads to an action, and returns the error of that one.
func (b *bench) upTo(action protocol.Action) error {
	b.t.Helper()
	ctx := b.t.Context()
	steps := []struct {
		action protocol.Action
		do     func() error
	}{
		{protocol.Initialize, func() error { return b.initialize(ctx) }},
		{protocol.ProcessRecords, func() error { return b.process(ctx, 1) }},
	}
	for _, s := range steps {
		err := s.do()
		if s.action == action {
			return err
		}
		require.NoError(b.t, err)
	}
	switch action {
	case protocol.ShardEnded:
		return b.end(ctx)
	case protocol.ShutdownRequested:
		return b.shutdown(ctx)
	default:
		b.lose(ctx)
		return nil
	}
}

// TestLeaseLostDuringAnAction: the call returns at once. The child finishes its batch without
// checkpoints, and is told about the loss.
func TestLeaseLostDuringAnAction(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var answers []string
		var got []protocol.Action
		b := newBench(t, CommandConfig{Timeout: time.Minute}, func(f *fakeChild) {
			f.answer(f.next().Action)
			for {
				m := f.next()
				got = append(got, m.Action)
				time.Sleep(20 * time.Second)
				answers = append(answers, f.checkpoint())
				f.answer(m.Action)
			}
		})
		require.NoError(t, b.initialize(t.Context()))
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() {
			b.ck.Close(kcl.ErrLeaseLost)
			cancel(kcl.ErrLeaseLost)
		})
		begun := time.Now()
		require.Equal(t, kcl.ErrLeaseLost, b.process(ctx, 1))
		require.Equal(t, 5*time.Second, time.Since(begun))
		b.lose(t.Context())
		require.Equal(t, 40*time.Second, time.Since(begun))
		require.Equal(t, []protocol.Action{"processRecords", "leaseLost"}, got)
		require.Equal(t, []string{"ShutdownException", "InvalidStateException"}, answers)
		require.Empty(t, b.writer.all)
		require.Empty(t, b.failures)
		b.gone()
	})
}

// TestLeaseLostBeforeABatchIsWritten: LeaseLost may come before the goroutine that writes the batch
// has begun.
func TestLeaseLostBeforeABatchIsWritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for range 20 {
			b := newBench(t, CommandConfig{}, good)
			require.NoError(t, b.initialize(t.Context()))
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(kcl.ErrLeaseLost)
			require.Equal(t, kcl.ErrLeaseLost, b.process(ctx, 1))
			b.lose(t.Context())
			b.gone()
		}
	})
}

// TestLeaseLostOfAChildThatHangs: the child gets the time of the call, then SIGTERM, then SIGKILL.
func TestLeaseLostOfAChildThatHangs(t *testing.T) {
	cases := map[string]struct {
		timeout time.Duration
		want    time.Duration
	}{
		"without a time-out":        {0, 25 * time.Second},
		"with a shorter time-out":   {10 * time.Second, 10 * time.Second},
		"with a longer one than it": {40 * time.Second, 25 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBench(t, CommandConfig{Timeout: c.timeout}, func(f *fakeChild) {
					f.ignoresTerm.Store(true)
					f.answer(f.next().Action)
					f.next()
					f.hang()
				})
				require.NoError(t, b.initialize(t.Context()))
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(5*time.Second, func() { cancel(kcl.ErrLeaseLost) })
				require.Equal(t, kcl.ErrLeaseLost, b.process(ctx, 1))
				begun := time.Now()
				ctx, end := context.WithTimeoutCause(t.Context(), 25*time.Second, kcl.ErrShutdownTimeout)
				defer end()
				b.lose(ctx)
				child := b.children[0]
				require.Equal(t, c.want, child.terminated.Load().Sub(begun))
				require.Equal(t, c.want+killTime, child.killedWith.Load().Sub(begun))
				require.Equal(t, c.want+killTime, time.Since(begun))
				b.gone()
			})
		})
	}
}

// TestOverrunDuringABatch: a shutdown that has taken too long leaves no time for the child.
func TestOverrunDuringABatch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, CommandConfig{}, func(f *fakeChild) {
			f.ignoresTerm.Store(true)
			f.answer(f.next().Action)
			f.next()
			f.hang()
		})
		require.NoError(t, b.initialize(t.Context()))
		begun := time.Now()
		ctx, end := context.WithTimeoutCause(t.Context(), 25*time.Second, kcl.ErrShutdownTimeout)
		defer end()
		require.Equal(t, kcl.ErrShutdownTimeout, b.process(ctx, 1))
		b.lose(t.Context())
		require.Equal(t, 25*time.Second, time.Since(begun))
		require.Equal(t, "signal: killed", b.children[0].how)
	})
}

// TestShutdownOfAChildThatHangs: the child is killed when the shutdown has taken too long, at once.
func TestShutdownOfAChildThatHangs(t *testing.T) {
	for _, action := range []protocol.Action{protocol.ShutdownRequested, protocol.LeaseLost} {
		t.Run(string(action), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBench(t, CommandConfig{}, func(f *fakeChild) {
					f.ignoresTerm.Store(true)
					for {
						m := f.next()
						if m.Action == action {
							f.hang()
						}
						f.answer(m.Action)
					}
				})
				require.NoError(t, b.initialize(t.Context()))
				begun := time.Now()
				ctx, end := context.WithTimeoutCause(t.Context(), 25*time.Second, kcl.ErrShutdownTimeout)
				defer end()
				err := b.shutdown(ctx)
				if action == protocol.ShutdownRequested {
					require.Equal(t, kcl.ErrShutdownTimeout, err)
				} else {
					require.NoError(t, err, "all checkpoints are made")
				}
				require.Equal(t, 25*time.Second, time.Since(begun))
				b.gone()
				b.lose(t.Context())
				require.Equal(t, 25*time.Second, time.Since(begun))
			})
		})
	}
}

// TestChildThatDoesNotEnd: a child that has answered everything and lives on is stopped.
func TestChildThatDoesNotEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, CommandConfig{}, func(f *fakeChild) {
			f.ignoresTerm.Store(true)
			for range 2 {
				f.answer(f.next().Action)
			}
			f.hang()
		})
		require.NoError(t, b.initialize(t.Context()))
		begun := time.Now()
		require.NoError(t, b.end(t.Context()))
		require.Equal(t, exitTime+killTime, time.Since(begun))
		b.gone()
	})
}

// TestEndOfAShardNeedsACheckpoint: SHARD_END is written only if the child has checkpointed its last
// record.
func TestEndOfAShardNeedsACheckpoint(t *testing.T) {
	aggregate := func() []kcl.Record {
		records := make([]kcl.Record, 3)
		for i := range records {
			records[i] = kcl.NewRecord(kcl.RecordFields{SequenceNumber: "10", SubSequenceNumber: int64(i), Aggregated: true})
		}
		return records
	}
	cases := map[string]struct {
		inBatch, atEnd func(f *fakeChild)
		empty          bool // no record is delivered
		good           bool
	}{
		"everything":                 {atEnd: func(f *fakeChild) { f.checkpoint() }, good: true},
		"the number of the last":     {atEnd: func(f *fakeChild) { f.checkpointAt("10") }, good: true},
		"in the batch":               {inBatch: func(f *fakeChild) { f.checkpoint() }, good: true},
		"no record and none asked":   {empty: true, good: true},
		"nothing":                    {},
		"an earlier record":          {atEnd: func(f *fakeChild) { f.checkpointAt("9") }},
		"a number that is refused":   {atEnd: func(f *fakeChild) { f.checkpointAt("11") }},
		"earlier after it was asked": {inBatch: func(f *fakeChild) { f.checkpointAt("8") }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBench(t, CommandConfig{}, func(f *fakeChild) {
					for {
						m := f.next()
						if m.Action == protocol.ProcessRecords && c.inBatch != nil && len(m.Records) == 3 {
							c.inBatch(f)
						}
						if m.Action == protocol.ShardEnded && c.atEnd != nil {
							c.atEnd(f)
						}
						f.answer(m.Action)
					}
				})
				require.NoError(t, b.initialize(t.Context()))
				if !c.empty {
					require.NoError(t, b.process(t.Context(), 8, 9))
					require.NoError(t, b.deliver(t.Context(), aggregate()))
				}
				err := b.end(t.Context())
				if c.good {
					require.NoError(t, err)
					b.gone()
					return
				}
				require.ErrorIs(t, err, kcl.ErrRestart)
				require.ErrorContains(t, err, "without a checkpoint of its last record 10/2")
				require.EqualValues(t, 1, b.Stats().UnfinishedShards)
				require.Len(t, b.failures, 1)
				b.lose(t.Context())
				b.gone()
			})
		})
	}
}

// awsError has a code, as the errors of the AWS SDK.
type awsError string

func (e awsError) Error() string     { return "aws says " + string(e) }
func (e awsError) ErrorCode() string { return string(e) }

// TestCheckpointErrorsHaveTheNamesOfJava: a refused checkpoint does not fail the action.
func TestCheckpointErrorsHaveTheNamesOfJava(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("write lease: %w", err) }
	at := func(number string) func(f *fakeChild) string {
		return func(f *fakeChild) string { return f.checkpointAt(number) }
	}
	cases := map[string]struct {
		fail error
		ask  func(f *fakeChild) string // nil asks for everything
		want string
	}{
		"accepted":            {nil, nil, ""},
		"lease lost":          {wrapped(kcl.ErrLeaseLost), nil, "ShutdownException"},
		"stop took too long":  {wrapped(kcl.ErrShutdownTimeout), nil, "ShutdownException"},
		"not delivered":       {nil, at("99"), "IllegalArgumentException"},
		"not a number":        {nil, at("x"), "IllegalArgumentException"},
		"a sentinel":          {nil, at("LATEST"), "IllegalArgumentException"},
		"throttled":           {wrapped(awsError("ThrottlingException")), nil, "ThrottlingException"},
		"throughput exceeded": {awsError("ProvisionedThroughputExceededException"), nil, "ThrottlingException"},
		"no table":            {wrapped(awsError("ResourceNotFoundException")), nil, "InvalidStateException"},
		"no network":          {wrapped(errors.New("connection refused")), nil, "KinesisClientLibDependencyException"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				got := "none"
				b := newBench(t, CommandConfig{}, func(f *fakeChild) {
					f.answer(f.next().Action)
					f.next()
					if c.ask != nil {
						got = c.ask(f)
					} else {
						got = f.checkpoint()
					}
					f.answer(protocol.ProcessRecords)
					good(f)
				})
				require.NoError(t, b.initialize(t.Context()))
				b.writer.fail = c.fail
				require.NoError(t, b.process(t.Context(), 1, 2))
				require.Equal(t, c.want, got)
				b.lose(t.Context())
			})
		})
	}
}

// TestCheckpointDuringInitialize: there is nothing to checkpoint yet.
func TestCheckpointDuringInitialize(t *testing.T) {
	bubble(t, func(t *testing.T) {
		got := ""
		b := newBench(t, CommandConfig{}, func(f *fakeChild) {
			f.next()
			got = f.checkpoint()
			f.answer(protocol.Initialize)
			good(f)
		})
		require.NoError(t, b.initialize(t.Context()))
		require.Equal(t, "InvalidStateException", got)
		b.lose(t.Context())
	})
}

// TestAnswersHaveTheirOwnTime: each answer may take Timeout, and a slow checkpoint does not count.
func TestAnswersHaveTheirOwnTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, CommandConfig{Timeout: 10 * time.Second}, func(f *fakeChild) {
			f.answer(f.next().Action)
			f.next()
			for range 3 {
				time.Sleep(9 * time.Second)
				f.checkpoint()
			}
			time.Sleep(9 * time.Second)
			f.answer(protocol.ProcessRecords)
			good(f)
		})
		require.NoError(t, b.initialize(t.Context()))
		b.writer.slow = 20 * time.Second
		require.NoError(t, b.process(t.Context(), 1))
		b.lose(t.Context())
		require.Empty(t, b.failures)
	})
}

// TestNoiseIsSkipped: lines that are no messages change nothing. Each is logged once, cut and
// escaped. Blank lines are not noise.
func TestNoiseIsSkipped(t *testing.T) {
	noise := map[string]string{
		"text":             "hello\x1b[31m \xff world",
		"number":           "42",
		"array":            `["action"]`,
		"cut off":          `{"action": "status", "respon`,
		"unknown action":   `{"action": "fly"}`,
		"no action":        `{"responseFor": "processRecords"}`,
		"unknown property": `{"action": "status", "responseFor": "processRecords", "extra": 1}`,
		"nested":           `{"action": {"action": "status"}, "responseFor": "processRecords"}`,
		"deep":             strings.Repeat("[", 100_000),
		"1 MiB":            strings.Repeat("x", 1<<20),
		"10 MiB":           strings.Repeat("{", 10<<20),
	}
	for name, line := range noise {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBench(t, CommandConfig{}, func(f *fakeChild) {
					f.answer(f.next().Action)
					f.next()
					f.print("\n  \r\n" + line + "\n\n")
					f.answer(protocol.ProcessRecords)
					good(f)
				})
				require.NoError(t, b.initialize(t.Context()))
				require.NoError(t, b.process(t.Context(), 1))
				require.EqualValues(t, 1, b.Stats().NoiseLines)
				b.lose(t.Context())
				log := b.log.String()
				require.Equal(t, 1, strings.Count(log, "no message"), log)
				require.Contains(t, log, "shard="+shardID)
				require.Contains(t, log, "pid=1")
				require.NotContains(t, log, "\x1b")
				for _, l := range strings.Split(log, "\n") {
					require.Less(t, len(l), 1000)
				}
				require.Empty(t, b.writer.all)
			})
		})
	}
}

// TestChildPrintsWhileItIsWrittenTo: neither side waits for the other.
func TestChildPrintsWhileItIsWrittenTo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBench(t, CommandConfig{}, func(f *fakeChild) {
			f.answer(f.next().Action)
			var first [10]byte
			_, err := f.in.Read(first[:])
			f.ok(err)
			f.print(strings.Repeat("progress\n", 10_000))
			require.Empty(t, f.checkpointMeanwhile())
			f.answer(protocol.ProcessRecords)
			good(f)
		})
		require.NoError(t, b.initialize(t.Context()))
		key := strings.Repeat("k", 1<<20)
		require.NoError(t, b.deliver(t.Context(), []kcl.Record{
			kcl.NewRecord(kcl.RecordFields{SequenceNumber: "1", PartitionKey: &key}),
		}))
		require.Equal(t, []string{"1"}, b.writer.all)
		b.lose(t.Context())
	})
}

// TestRecordsOfAnyBytes: data of 1 MiB arrive unchanged. Keys that are no UTF-8 are replaced and
// counted.
func TestRecordsOfAnyBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		data := make([]byte, 1<<20)
		for i := range data {
			data[i] = byte(i * 7)
		}
		b := newBench(t, CommandConfig{}, func(f *fakeChild) {
			f.answer(f.next().Action)
			for range 2 {
				m := f.next()
				require.Equal(t, data, m.Records[0].Data())
				key, _ := m.Records[0].PartitionKey()
				require.Equal(t, "a\uFFFDb", key)
				f.answer(protocol.ProcessRecords)
			}
			good(f)
		})
		require.NoError(t, b.initialize(t.Context()))
		key := "a\xffb"
		for _, number := range []string{"1", "2"} {
			require.NoError(t, b.deliver(t.Context(), []kcl.Record{
				kcl.NewRecord(kcl.RecordFields{SequenceNumber: number, PartitionKey: &key, Data: data}),
			}))
		}
		require.EqualValues(t, 2, b.Stats().ReplacedKeys)
		b.lose(t.Context())
	})
}

// checkpointMeanwhile asks for a checkpoint in the middle of a message of the daemon. The answer
// follows the rest of the message.
func (f *fakeChild) checkpointMeanwhile() string {
	f.ok(f.writer.Checkpoint(nil, false))
	f.line()
	return f.next().Error
}

// TestStartsAreLimited: a slot becomes free when a child has answered, or after ten seconds.
func TestStartsAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		slow := func(f *fakeChild) {
			m := f.next()
			time.Sleep(4 * time.Second)
			f.answer(m.Action)
			good(f)
		}
		b := newBench(t, CommandConfig{MaxStarts: 1}, func(f *fakeChild) {
			if f.number == 2 {
				f.hang()
			}
			slow(f)
		})
		begun := time.Now()
		var ends [3]time.Duration
		done := make(chan error, 3)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, kcl.ErrShutdownTimeout)
		defer cancel()
		processors := make([]kcl.Processor, 3)
		for i := range ends {
			processors[i] = b.NewProcessor(kcl.StreamIdentifier{}, kcl.Shard{ID: shardID})
			time.Sleep(time.Millisecond)
			go func() { // ends within the minute
				err := processors[i].Initialize(ctx, kcl.InitializeInput{})
				ends[i] = time.Since(begun).Truncate(time.Second)
				done <- err
			}()
		}
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.Equal(t, kcl.ErrShutdownTimeout, <-done)
		require.Equal(t, [3]time.Duration{4 * time.Second, time.Minute, 18 * time.Second}, ends)
		synctest.Wait()
		require.Equal(t, 2, b.Stats().Children)
		for _, p := range processors {
			p.LeaseLost(t.Context(), kcl.LeaseLostInput{})
		}
		b.gone()
	})
}

// TestStartThatIsRefused: a fork that fails is a failed Initialize.
func TestStartThatIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, CommandConfig{}, good)
	b.launch = func([]string) (process, error) { return nil, errors.New("no more processes") }
	require.ErrorContains(t, b.initialize(t.Context()), "no more processes")
	require.Equal(t, Stats{NotStarted: 1}, b.Stats())
	require.Len(t, b.failures, 1)
	b.lose(t.Context())
}

func TestCommandConfigIsValidated(t *testing.T) {
	t.Parallel()
	_, err := NewCommand(CommandConfig{Args: []string{"no-such-program-xyz"}, Timeout: -1, MaxStarts: -1})
	require.ErrorContains(t, err, `Args starts with "no-such-program-xyz": find the program: exec: `)
	require.ErrorContains(t, err, "Timeout is -1ns: use a positive duration, or 0 for no limit")
	require.ErrorContains(t, err, "MaxStarts is -1")
	_, err = NewCommand(CommandConfig{})
	require.ErrorContains(t, err, "Args is empty")
}

func TestEnvironmentNamesTheStream(t *testing.T) {
	t.Parallel()
	b := newBench(t, CommandConfig{Env: []string{"A=0", "KCL_STREAM_ARN=old", "A=1", "KCL_STREAM_NAME=old"}}, good)
	require.Equal(t, []string{"A=1", "KCL_STREAM_NAME=orders"}, b.environment(kcl.StreamIdentifier{Name: "orders"}))
	require.Equal(t, []string{"A=1", "KCL_STREAM_NAME=orders", "KCL_STREAM_ARN=arn:x"},
		b.environment(kcl.StreamIdentifier{Name: "orders", ARN: "arn:x"}))
}
