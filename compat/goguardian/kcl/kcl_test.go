package kcl_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	words "github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/compat/goguardian/kcl"
	"github.com/kinesis-go/kcl/multilang"
)

// daemon is the other end of a child.
type daemon struct {
	t        *testing.T
	toChild  io.WriteCloser
	messages *bufio.Scanner
}

// say sends lines. The child must answer each with a message.
func (d *daemon) say(linesAndAnswers ...string) {
	d.t.Helper()
	for i := 0; i < len(linesAndAnswers); i += 2 {
		_, err := io.WriteString(d.toChild, linesAndAnswers[i]+"\n")
		require.NoError(d.t, err)
		require.Equal(d.t, linesAndAnswers[i+1], d.message())
	}
}

// message returns the next line that is not empty, or "" at the end.
func (d *daemon) message() string {
	for d.messages.Scan() {
		if line := d.messages.Text(); line != "" {
			return line
		}
	}
	return ""
}

func status(action string) string {
	return fmt.Sprintf(`{"action": "status", "responseFor": %q}`, action)
}

const (
	initialize = `{"action":"initialize","shardId":"shardId-7","sequenceNumber":"12","subSequenceNumber":3}`
	one        = `{"action":"processRecords","records":[{"data":"YWxpY2U=","partitionKey":"a","sequenceNumber":"1",` +
		`"approximateArrivalTimestamp":5000,"subSequenceNumber":4,"action":"record"}],"millisBehindLatest":1500}`
	two = `{"action":"processRecords","records":[{"data":"Ym9i","partitionKey":"b","sequenceNumber":"2"},` +
		`{"data":"","partitionKey":null,"sequenceNumber":"3"}],"millisBehindLatest":null}`
	everything = `{"action": "checkpoint", "sequenceNumber": null, "subSequenceNumber": null}`
	written    = `{"action":"checkpoint","sequenceNumber":null,"subSequenceNumber":null,"error":null}`
)

// TestUnchangedProgram runs a program that was written for goguardian-go-kcl.
func TestUnchangedProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "program")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/program").CombinedOutput()
	require.NoError(t, err, string(out))
	for name, c := range map[string]struct {
		lines []string // after the records, with their answers
		want  string   // last lines of the standard error
	}{
		"shutdown": {
			[]string{
				`{"action":"shutdownRequested"}`, everything, written, status("shutdownRequested"),
				`{"action":"leaseLost"}`, status("leaseLost"),
			},
			"shutdown requested: <nil>\nlease lost\n",
		},
		"lease lost": {[]string{`{"action":"leaseLost"}`, status("leaseLost")}, "lease lost\n"},
		"shard ended": {
			// The processor checkpoints the last record, and Serve the end.
			[]string{
				`{"action":"shardEnded"}`, everything, written, status("shardEnded"),
			},
			"shard ended: <nil>\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), program)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			input, err := cmd.StdinPipe()
			require.NoError(t, err)
			output, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			d := &daemon{t: t, toChild: input, messages: bufio.NewScanner(output)}
			d.say(initialize, status("initialize"),
				two, `{"action": "checkpoint", "sequenceNumber": "2", "subSequenceNumber": null}`,
				`{"action":"checkpoint","sequenceNumber":"2","subSequenceNumber":null,"error":"ThrottlingException"}`,
				`{"action": "checkpoint", "sequenceNumber": "2", "subSequenceNumber": null}`,
				`{"action":"checkpoint","sequenceNumber":"2","subSequenceNumber":null,"error":"IllegalArgumentException"}`,
				status("processRecords"), one, everything, written, status("processRecords"))
			d.say(c.lines...)
			require.NoError(t, input.Close())
			require.Empty(t, d.message())
			require.NoError(t, cmd.Wait())
			require.Equal(t, "initialized shardId-7\nrecord bob b 2\nrecord   3\n"+
				"checkpoint failed: multilang: checkpoint of 2: the daemon answered IllegalArgumentException\n"+
				"record alice a 1\n"+c.want, stderr.String())
		})
	}
}

// additions is a processor that uses what this package adds.
type additions struct {
	kcl.RecordProcessor
	initialized kcl.InitializationInput
	batches     []kcl.ProcessRecordsInput
	try         func(in *kcl.ProcessRecordsInput) error
	lost        int
}

func (a *additions) Initialize(in *kcl.InitializationInput) { a.initialized = *in }

func (a *additions) TryProcessRecords(in *kcl.ProcessRecordsInput) error {
	a.batches = append(a.batches, *in)
	return a.try(in)
}

func (a *additions) LeaseLost(*kcl.LeaseLostInput) { a.lost++ }

// start runs a process in this one.
func start(t *testing.T, p kcl.RecordProcessor, options ...kcl.Option) (d *daemon, ran <-chan error) {
	t.Helper()
	input, toChild := io.Pipe()
	fromChild, output := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- kcl.GetKCLProcess(p, append(options, kcl.WithInput(input), kcl.WithOutput(output))...).Run()
		output.Close()
	}()
	t.Cleanup(func() { toChild.Close(); fromChild.Close() })
	return &daemon{t: t, toChild: toChild, messages: bufio.NewScanner(fromChild)}, done
}

func TestAdditions(t *testing.T) {
	t.Setenv("KCL_STREAM_NAME", "orders")
	a := &additions{}
	failures := []error{errors.New("the sink is down"), nil, nil}
	a.try = func(in *kcl.ProcessRecordsInput) error {
		failure := failures[0]
		failures = failures[1:]
		if failure == nil {
			err := in.CheckpointAt(in.Records[0].SequenceNumber, 4)
			require.ErrorIs(t, err, multilang.ErrInvalidState)
		}
		return failure
	}
	var logged bytes.Buffer
	d, ran := start(t, a, kcl.WithLogger(log.New(&logged, "child: ", 0)))
	invalid := `{"action":"checkpoint","sequenceNumber":"1","subSequenceNumber":4,"error":"InvalidStateException"}`
	d.say(initialize, status("initialize"),
		one, `{"action": "checkpoint", "sequenceNumber": "1", "subSequenceNumber": 4}`, invalid, status("processRecords"),
		two, `{"action": "checkpoint", "sequenceNumber": "2", "subSequenceNumber": 4}`, invalid, status("processRecords"))
	require.NoError(t, d.toChild.Close())
	require.NoError(t, <-ran)
	require.Equal(t, 1, a.lost)
	require.Equal(t, kcl.InitializationInput{
		ShardID: "shardId-7", SequenceNumber: "12", SubSequenceNumber: 3, StreamName: "orders",
	}, a.initialized)
	require.Len(t, a.batches, 3, "the first one came again")
	require.Equal(t, a.batches[0].Records, a.batches[1].Records)
	require.Equal(t, []kcl.Record{{
		Data: []byte("alice"), PartitionKey: "a", SequenceNumber: "1", SubSequenceNumber: 4,
		ApproximateArrivalTimestamp: time.UnixMilli(5000),
	}}, a.batches[0].Records)
	require.Equal(t, int64(1500), a.batches[0].MillisBehindLatest)
	require.Equal(t, int64(-1), a.batches[2].MillisBehindLatest)
	want := `child: level=WARN msg="processor failed, calling it again" shard=shardId-7 attempt=1 err="the sink is down"`
	require.Equal(t, want+"\n", logged.String())
}

// TestErrors: Run returns what ends the conversation, and LeaseLost comes once.
func TestErrors(t *testing.T) {
	t.Parallel()
	var keep kcl.CheckpointFunc
	a := &additions{try: func(in *kcl.ProcessRecordsInput) error {
		keep = in.Checkpoint
		return fmt.Errorf("stop: %w", words.ErrRestart)
	}}
	d, ran := start(t, a, kcl.WithLogger(nil))
	d.say(initialize, status("initialize"), one, "")
	require.EqualError(t, <-ran, "multilang: process records: stop: kcl: the processor asks to be replaced")
	require.Equal(t, 1, a.lost)
	require.ErrorIs(t, keep(nil), words.ErrLeaseLost)

	a.try = func(*kcl.ProcessRecordsInput) error { panic("broken") }
	d, ran = start(t, a, kcl.WithLogger(nil))
	d.say(initialize, status("initialize"), one, "")
	require.EqualError(t, <-ran, "multilang: process records: panic: broken")
}

// TestInputsAsJSON: programs marshal inputs and records, to hand them on or to log them.
func TestInputsAsJSON(t *testing.T) {
	no := func(*string) error { return nil }
	record := kcl.Record{
		Data: []byte("hello"), PartitionKey: "k", SequenceNumber: "7",
		SubSequenceNumber: 3, ApproximateArrivalTimestamp: time.Unix(1, 0),
	}
	for _, c := range []struct {
		input any
		want  string
	}{
		{kcl.InitializationInput{ShardID: "s", SequenceNumber: "5", StreamName: "orders"}, `{"ShardID":"s"}`},
		{
			kcl.ProcessRecordsInput{
				Records: []kcl.Record{record}, Checkpoint: no, MillisBehindLatest: 4,
				CheckpointAt: func(string, int64) error { return nil },
			},
			`{"Records":[{"data":"aGVsbG8=","partitionKey":"k","sequenceNumber":"7"}]}`,
		},
		{kcl.LeaseLostInput{}, `{}`},
		{kcl.ShardEndedInput{Checkpoint: no}, `{}`},
		{kcl.ShutdownRequestedInput{Checkpoint: no}, `{}`},
	} {
		got, err := json.Marshal(c.input)
		require.NoError(t, err)
		require.Equal(t, c.want, string(got))
	}
}
