package multilang_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// fakeDaemon is a scripted daemon with one child, which runs Serve in this process.
type fakeDaemon struct {
	t      *testing.T
	input  *io.PipeWriter // of the child
	writer *protocol.DaemonWriter
	lines  *protocol.LineReader
	log    *logged
	served chan error
}

// serve runs script against a child, in virtual time. At its end the child must have returned, or
// returns when its input ends.
func serve(t *testing.T, p kcl.Processor, o multilang.Options, script func(t *testing.T, d *fakeDaemon)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { serveHere(t.Context(), t, p, o, script) })
}

func serveHere(
	ctx context.Context, t *testing.T, p kcl.Processor, o multilang.Options, script func(t *testing.T, d *fakeDaemon),
) {
	input, toChild := io.Pipe()
	fromChild, output := io.Pipe()
	d := &fakeDaemon{
		t: t, input: toChild, writer: protocol.NewDaemonWriter(toChild), lines: protocol.NewLineReader(fromChild),
		log: &logged{}, served: make(chan error, 1),
	}
	o.Input, o.Output = input, output
	o.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), d.log), nil))
	go func() {
		d.served <- multilang.Serve(ctx, p, o)
		output.Close()
	}()
	defer fromChild.Close()
	defer toChild.Close()
	script(t, d)
	toChild.Close()
	_, err := d.lines.Next()
	require.Equal(t, io.EOF, err, "the child says nothing more")
	time.Sleep(2 * time.Hour) // calls that were left behind end
}

// end closes the child's input, and returns what Serve returns.
func (d *fakeDaemon) end() error {
	d.input.Close()
	return <-d.served
}

func (d *fakeDaemon) raw(line string) {
	_, err := io.WriteString(d.input, line+"\n")
	require.NoError(d.t, err)
}

func (d *fakeDaemon) initialize() {
	require.NoError(d.t, d.writer.Initialize("shardId-7", kcl.ExtendedSequenceNumber{SequenceNumber: "TRIM_HORIZON"}))
	d.status(protocol.Initialize)
}

// send sends records, and does not wait for the status.
func (d *fakeDaemon) send(numbers ...int) {
	require.NoError(d.t, d.writer.ProcessRecords(records(numbers...), time.Second, true, time.Now()))
}

func (d *fakeDaemon) process(numbers ...int) {
	d.send(numbers...)
	d.status(protocol.ProcessRecords)
}

// do sends an action without fields and waits for its status.
func (d *fakeDaemon) do(action protocol.Action) {
	require.NoError(d.t, d.writer.Simple(action))
	d.status(action)
}

func (d *fakeDaemon) status(action protocol.Action) {
	d.t.Helper()
	m := d.next()
	require.Equal(d.t, protocol.FromChild{Action: protocol.Status, ResponseFor: action}, m)
}

func (d *fakeDaemon) next() protocol.FromChild {
	d.t.Helper()
	line, err := d.lines.Next()
	require.NoError(d.t, err)
	m, err := protocol.ParseFromChild(line)
	require.NoError(d.t, err)
	return m
}

// checkpoint reads a checkpoint and answers it. It returns the position, or "all".
func (d *fakeDaemon) checkpoint(javaError string) string {
	d.t.Helper()
	m := d.next()
	require.Equal(d.t, protocol.Checkpoint, m.Action)
	require.NoError(d.t, d.writer.Answer(m.Asked, javaError))
	position, all := m.Asked.Position()
	if all {
		return "all"
	}
	if m.Asked.SubSequenceNumber != nil {
		return fmt.Sprintf("%s/%d", position.SequenceNumber, position.SubSequenceNumber)
	}
	return position.SequenceNumber
}

// records makes records with sequence numbers.
func records(numbers ...int) []kcl.Record {
	var out []kcl.Record
	for _, n := range numbers {
		key := fmt.Sprint("key-", n)
		out = append(out, kcl.NewRecord(kcl.RecordFields{
			SequenceNumber: strconv.Itoa(n), PartitionKey: &key, Data: []byte(key), ApproximateArrival: time.UnixMilli(int64(n)),
		}))
	}
	return out
}

func at(number int, sub int64) kcl.ExtendedSequenceNumber {
	return kcl.ExtendedSequenceNumber{SequenceNumber: strconv.Itoa(number), SubSequenceNumber: sub}
}

// logged is a log in memory.
type logged struct {
	mu   sync.Mutex
	text []byte
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// script is a processor of functions. It notes its calls. A function that is nil succeeds.
type script struct {
	mu    sync.Mutex
	calls []string

	initialize func(ctx context.Context, in kcl.InitializeInput) error
	process    func(ctx context.Context, in kcl.ProcessRecordsInput) error
	ended      func(ctx context.Context, in kcl.ShardEndedInput) error
	requested  func(ctx context.Context, in kcl.ShutdownRequestedInput) error
	lost       func(ctx context.Context)

	work         context.Context //nolint:containedctx // that of the processor, as it may keep it
	checkpointer kcl.Checkpointer
}

var _ kcl.Processor = (*script)(nil)

func (s *script) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

// called returns the calls so far.
func (s *script) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *script) Initialize(ctx context.Context, in kcl.InitializeInput) error {
	s.note("initialize")
	s.work = ctx
	if s.initialize == nil {
		return nil
	}
	return s.initialize(ctx, in)
}

func (s *script) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	s.note("process " + in.Records[0].SequenceNumber())
	s.checkpointer = in.Checkpointer
	if s.process == nil {
		return nil
	}
	return s.process(ctx, in)
}

func (s *script) LeaseLost(ctx context.Context, _ kcl.LeaseLostInput) {
	s.note("lost: " + context.Cause(s.work).Error())
	if s.lost != nil {
		s.lost(ctx)
	}
}

func (s *script) ShardEnded(ctx context.Context, in kcl.ShardEndedInput) error {
	s.note("ended")
	if s.ended == nil {
		return nil
	}
	return s.ended(ctx, in)
}

func (s *script) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	s.note("requested")
	if s.requested == nil {
		return nil
	}
	return s.requested(ctx, in)
}
