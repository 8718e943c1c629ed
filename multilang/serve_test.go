package multilang_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// TestServeRepeatsTheRecording: under the recorded lines of the Java daemon, a child writes what
// the Python child wrote.
func TestServeRepeatsTheRecording(t *testing.T) {
	t.Parallel()
	for pid, lines := range conversations(t) {
		var want strings.Builder
		var asked [][]protocol.Asked // of each action
		for _, e := range lines {
			if e.Dir == "to-child" && !strings.HasPrefix(e.Line, `{"action":"checkpoint"`) {
				asked = append(asked, nil)
			}
			if e.Dir != "from-child" || e.Line == "\n" {
				continue
			}
			want.WriteString("\n" + strings.Replace(e.Line, `"subSequenceNumber": 0`, `"subSequenceNumber": null`, 1))
			if m, err := protocol.ParseFromChild([]byte(e.Line)); err == nil && m.Action == protocol.Checkpoint {
				asked[len(asked)-1] = append(asked[len(asked)-1], m.Asked)
			}
		}
		asked = asked[1:] // none in initialize
		repeat := func(ctx context.Context, c kcl.Checkpointer) error {
			now := asked[0]
			asked = asked[1:]
			for _, a := range now {
				position, all := a.Position()
				switch {
				case all:
					require.NoError(t, c.Checkpoint(ctx))
				case position.SequenceNumber == "1":
					require.ErrorIs(t, c.CheckpointAt(ctx, position), kcl.ErrInvalidCheckpoint)
				default:
					require.NoError(t, c.CheckpointAt(ctx, position))
				}
			}
			return nil
		}
		p := &script{
			process: func(ctx context.Context, in kcl.ProcessRecordsInput) error { return repeat(ctx, in.Checkpointer) },
			requested: func(ctx context.Context, in kcl.ShutdownRequestedInput) error {
				return repeat(ctx, in.Checkpointer)
			},
		}
		var got strings.Builder
		input, toChild := io.Pipe()
		fromChild, output := io.Pipe()
		served := make(chan error, 1)
		go func() {
			served <- multilang.Serve(t.Context(), p, multilang.Options{Input: input, Output: output})
			output.Close()
		}()
		reader := bufio.NewReader(fromChild)
		for _, e := range lines {
			switch e.Dir {
			case "to-child":
				_, err := io.WriteString(toChild, e.Line)
				require.NoError(t, err)
			case "from-child":
				line, err := reader.ReadString('\n')
				require.NoError(t, err)
				got.WriteString(line)
			case "to-child-eof":
				toChild.Close()
			}
		}
		require.NoError(t, <-served)
		require.Equal(t, want.String(), got.String(), "child %d", pid)
	}
}

type exchange struct {
	PID  int    `json:"pid"`
	Dir  string `json:"dir"`
	Line string `json:"line"`
}

// conversations reads the recording, by child. It leaves out checkpoints of "not-a-number", which
// never leave our child.
func conversations(t *testing.T) map[int][]exchange {
	t.Helper()
	file, err := os.Open("internal/protocol/testdata/multilang.jsonl")
	require.NoError(t, err)
	defer file.Close()
	found := map[int][]exchange{}
	for scan := bufio.NewScanner(file); scan.Scan(); {
		var e exchange
		require.NoError(t, json.Unmarshal(scan.Bytes(), &e))
		lines := found[e.PID]
		if strings.Contains(e.Line, `"not-a-number"`) {
			if e.Dir == "from-child" {
				found[e.PID] = lines[:len(lines)-1] // the newline before it
			}
			continue
		}
		found[e.PID] = append(lines, e)
	}
	require.Len(t, found, 4)
	return found
}

func TestLifeOfAShard(t *testing.T) {
	for name, c := range map[string]struct {
		script func(t *testing.T, d *fakeDaemon)
		want   []string // calls after the first two
	}{
		"lease lost": {
			script: func(_ *testing.T, d *fakeDaemon) { d.do(protocol.LeaseLost) },
			want:   []string{"lost: kcl: lease lost"},
		},
		"shard ended": {
			script: func(t *testing.T, d *fakeDaemon) {
				require.NoError(t, d.writer.Simple(protocol.ShardEnded))
				require.Equal(t, "all", d.checkpoint(""))
				d.status(protocol.ShardEnded)
			},
			want: []string{"ended"},
		},
		"shutdown": {
			script: func(_ *testing.T, d *fakeDaemon) {
				d.do(protocol.ShutdownRequested)
				d.do(protocol.LeaseLost)
			},
			want: []string{"requested"},
		},
		"shutdown at the end of the shard": {
			script: func(t *testing.T, d *fakeDaemon) {
				d.do(protocol.ShutdownRequested)
				require.NoError(t, d.writer.Simple(protocol.ShardEnded))
				require.Equal(t, "all", d.checkpoint(""))
				d.status(protocol.ShardEnded)
			},
			want: []string{"requested", "ended"},
		},
		"1.x zombie": {
			script: func(_ *testing.T, d *fakeDaemon) {
				d.raw(`{"action":"shutdown","reason":"ZOMBIE"}`)
				d.status(protocol.Shutdown)
			},
			want: []string{"lost: kcl: lease lost"},
		},
		"1.x terminate": {
			script: func(t *testing.T, d *fakeDaemon) {
				d.raw(`{"action":"shutdown","reason":"TERMINATE"}`)
				require.Equal(t, "all", d.checkpoint(""))
				d.status(protocol.Shutdown)
			},
			want: []string{"ended"},
		},
		"1.x requested": {
			script: func(_ *testing.T, d *fakeDaemon) {
				d.raw(`{"action":"shutdown","reason":"REQUESTED"}`)
				d.status(protocol.Shutdown)
			},
			want: []string{"requested"},
		},
		"1.x unknown reason": {
			script: func(_ *testing.T, d *fakeDaemon) {
				d.raw(`{"action":"shutdown","reason":null}`)
				d.status(protocol.Shutdown)
			},
			want: []string{"lost: kcl: lease lost"},
		},
		"lease lost again": {
			script: func(_ *testing.T, d *fakeDaemon) {
				d.do(protocol.LeaseLost)
				d.do(protocol.ShutdownRequested)
				d.do(protocol.LeaseLost)
			},
			want: []string{"lost: kcl: lease lost"},
		},
		"input ends": {
			script: func(*testing.T, *fakeDaemon) {},
			want:   []string{"lost: kcl: lease lost"},
		},
		"input ends in a line": {
			script: func(t *testing.T, d *fakeDaemon) {
				_, err := io.WriteString(d.input, `{"action":"shardEn`)
				require.NoError(t, err)
			},
			want: []string{"lost: kcl: lease lost"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &script{lost: func(ctx context.Context) { require.NoError(t, ctx.Err()) }}
			serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
				d.initialize()
				d.process(1, 2)
				d.raw(`{"action":"processRecords","records":[],"millisBehindLatest":0}`)
				d.status(protocol.ProcessRecords)
				c.script(t, d)
				require.NoError(t, d.end())
				require.Equal(t, append([]string{"initialize", "process 1"}, c.want...), p.called())
				require.ErrorIs(t, context.Cause(p.work), kcl.ErrLeaseLost)
				require.ErrorIs(t, p.checkpointer.Checkpoint(t.Context()), kcl.ErrLeaseLost)
			})
		})
	}
}

func TestNoCallBeforeInitialize(t *testing.T) {
	p := &script{}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		d.do(protocol.ShutdownRequested)
		d.do(protocol.LeaseLost)
		require.NoError(t, d.end())
		require.Empty(t, p.called())
	})
}

// TestM11PayloadFields: the processor gets whatever the daemon sends.
func TestM11PayloadFields(t *testing.T) {
	t.Setenv("KCL_STREAM_NAME", "other")
	t.Setenv("KCL_STREAM_ARN", "arn:aws:kinesis:eu-west-1:123456789012:stream/orders")
	p := &script{
		initialize: func(_ context.Context, in kcl.InitializeInput) error {
			require.Equal(t, kcl.InitializeInput{
				Stream: kcl.StreamIdentifier{
					AccountID: "123456789012", Name: "orders", ARN: "arn:aws:kinesis:eu-west-1:123456789012:stream/orders",
				},
				Shard: kcl.Shard{ID: "shardId-7"}, Checkpoint: at(12, 3),
			}, in)
			return nil
		},
		process: func(_ context.Context, in kcl.ProcessRecordsInput) error {
			key := "k"
			require.Equal(t, []kcl.Record{kcl.NewRecord(kcl.RecordFields{
				Data: []byte("data"), PartitionKey: &key, SequenceNumber: "13", SubSequenceNumber: 4,
				ApproximateArrival: time.UnixMilli(1795362003000),
			})}, in.Records)
			require.Equal(t, 1500*time.Millisecond, in.BehindLatest)
			require.False(t, in.LagUnknown)
			require.Equal(t, time.Now(), in.ReceivedAt)
			require.Equal(t, time.Now(), in.DeliveredAt)
			return nil
		},
	}
	synctest.Test(t, func(t *testing.T) {
		serveHere(t.Context(), t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
			require.NoError(t, d.writer.Initialize("shardId-7", at(12, 3)))
			d.status(protocol.Initialize)
			d.raw(`{"action":"processRecords","records":[{"data":"ZGF0YQ==","partitionKey":"k","sequenceNumber":"13",` +
				`"approximateArrivalTimestamp":1795362003000,"subSequenceNumber":4,"action":"record"}],` +
				`"millisBehindLatest":1500}`)
			d.status(protocol.ProcessRecords)
			require.NoError(t, d.end())
		})
	})

	for arn, want := range map[string]string{"": "other", "nonsense": "other"} {
		t.Setenv("KCL_STREAM_ARN", arn)
		p := &script{initialize: func(_ context.Context, in kcl.InitializeInput) error {
			require.Equal(t, kcl.StreamIdentifier{Name: want}, in.Stream)
			return nil
		}}
		synctest.Test(t, func(t *testing.T) {
			serveHere(t.Context(), t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
				d.initialize()
				require.NoError(t, d.end())
			})
		})
	}
}

// TestM09UnknownMessages: a newer daemon may send fields and actions that this child does not know.
func TestM09UnknownMessages(t *testing.T) {
	p := &script{process: func(ctx context.Context, in kcl.ProcessRecordsInput) error {
		return in.Checkpointer.Checkpoint(ctx)
	}}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		d.raw(`{"action":"initialize","shardId":"shardId-7","epoch":{"a":[1]}}`)
		d.status(protocol.Initialize)
		d.raw(`{"action":"rebalance","shards":[{"id":1}]}`)
		d.status("rebalance") // the Java daemon would end itself without it
		d.raw(`{"action":"checkpoint","error":null}`)
		for n := range 2 {
			d.raw(fmt.Sprintf(`{"action":"processRecords","epoch":7,"records":[{"data":"","sequenceNumber":"%d","x":1}]}`, n))
			require.Equal(t, "checkpoint", string(d.next().Action))
			d.raw(`{"action":"hello"}`)
			d.raw(`{"action":"checkpoint","sequenceNumber":null,"extra":1,"error":null}`)
			d.status(protocol.ProcessRecords)
		}
		d.do(protocol.LeaseLost)
		require.NoError(t, d.end())
		require.Equal(t, []string{"initialize", "process 0", "process 1", "lost: kcl: lease lost"}, p.called())
		log := d.log.String()
		require.Equal(t, 1, strings.Count(log, "field=epoch"), "each field is logged once")
		require.Equal(t, 1, strings.Count(log, "field=x"))
		require.Contains(t, log, "action=rebalance")
		require.Contains(t, log, "action=hello")
		require.Contains(t, log, "answer to a checkpoint that was not asked for")
	})
}

func TestMessagesThatEndServe(t *testing.T) {
	busy := make(chan struct{}) // never closed
	for name, c := range map[string]struct {
		lines []string
		want  string
	}{
		"no JSON":   {[]string{"Exception in thread main"}, "multilang: read a message: not JSON at byte 1"},
		"no action": {[]string{`{"a":1}`}, "multilang: read a message: a message has no action"},
		"twice":     {[]string{`{"action":"initialize","shardId":"s"}`}, "multilang: the daemon sent initialize twice"},
		"out of turn": {
			[]string{record, `{"action":"leaseLost"}`},
			"multilang: the daemon sent leaseLost before it had the status of the last action",
		},
		"bad data": {
			[]string{`{"action":"processRecords","records":[{"data":"%","sequenceNumber":"1"}]}`},
			"multilang: read a message: decode the data of record 1: illegal base64 data at input byte 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &script{process: func(ctx context.Context, _ kcl.ProcessRecordsInput) error {
				select {
				case <-ctx.Done():
				case <-busy:
				}
				return context.Cause(ctx)
			}}
			serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
				d.initialize()
				for _, line := range c.lines {
					d.raw(line)
				}
				require.EqualError(t, <-d.served, c.want)
				require.ErrorIs(t, context.Cause(p.work), kcl.ErrRestart)
				require.ErrorIs(t, context.Cause(p.work), kcl.ErrLeaseLost)
				require.Contains(t, p.called()[len(p.called())-1], "lost: ")
			})
		})
	}
	for name, lines := range map[string][]string{
		"records first": {record}, "end first": {`{"action":"shardEnded"}`},
	} {
		t.Run(name, func(t *testing.T) {
			p := &script{}
			serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
				d.raw(lines[0])
				require.ErrorContains(t, <-d.served, "outside the life of the processor")
				require.Empty(t, p.called())
			})
		})
	}
}

const record = `{"action":"processRecords","records":[{"data":"","sequenceNumber":"1"}]}`

func TestActionInPlaceOfAnAnswer(t *testing.T) {
	p := &script{process: func(ctx context.Context, in kcl.ProcessRecordsInput) error {
		err := in.Checkpointer.Checkpoint(ctx)
		require.ErrorIs(t, err, kcl.ErrLeaseLost)
		return err
	}}
	serve(t, p, multilang.Options{}, func(t *testing.T, d *fakeDaemon) {
		d.initialize()
		d.send(1)
		require.Equal(t, protocol.Checkpoint, d.next().Action)
		d.raw(record)
		require.EqualError(t, <-d.served, "multilang: the daemon sent processRecords in place of the answer to a checkpoint")
	})
}

func TestOutputThatIsGone(t *testing.T) {
	t.Parallel()
	input, toChild := io.Pipe()
	fromChild, output := io.Pipe()
	fromChild.Close()
	go func() { _, _ = io.WriteString(toChild, `{"action":"initialize","shardId":"s"}`+"\n") }()
	p := &script{}
	err := multilang.Serve(t.Context(), p, multilang.Options{Input: input, Output: output})
	require.EqualError(t, err, "multilang: write the status of initialize: io: read/write on closed pipe")
	require.Len(t, p.called(), 2)
	toChild.Close()
}

func TestInputThatCannotBeRead(t *testing.T) {
	t.Parallel()
	input, toChild := io.Pipe()
	failure := errors.New("broken")
	toChild.CloseWithError(failure)
	err := multilang.Serve(t.Context(), &script{}, multilang.Options{Input: input, Output: io.Discard})
	require.EqualError(t, err, "multilang: read the input: broken")
	require.ErrorIs(t, err, failure)
}

func TestOptionsAreValidated(t *testing.T) {
	t.Parallel()
	err := multilang.Serve(t.Context(), nil, multilang.Options{
		Attempts: -1, CheckpointAttempts: -1, MinBackoff: time.Minute, ShutdownTimeout: -1,
	})
	require.EqualError(t, err, "multilang: the processor is nil\nOptions.Attempts is negative\n"+
		"Options.CheckpointAttempts is negative\nOptions.MaxBackoff is 10s, less than MinBackoff, which is 1m0s\n"+
		"Options.ShutdownTimeout is negative")
	err = multilang.Serve(t.Context(), &script{}, multilang.Options{MinBackoff: -1})
	require.ErrorContains(t, err, "Options.MinBackoff or Options.MaxBackoff is negative")
}
