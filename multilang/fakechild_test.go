package multilang

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// fakeChild is a process made of pipes, for tests in virtual time. Its program is a function.
type fakeChild struct {
	number                 int
	in, out, err           *io.PipeReader
	inW, outW, errW        *io.PipeWriter
	lines                  *protocol.LineReader
	writer                 *protocol.ChildWriter
	done                   chan struct{}
	once                   sync.Once
	how                    string
	ignoresTerm            atomic.Bool
	terminated, killedWith atomic.Pointer[time.Time]
}

// startFake runs a program as a child.
func startFake(number int, program func(*fakeChild)) *fakeChild {
	f := &fakeChild{number: number, done: make(chan struct{})}
	f.in, f.inW = io.Pipe()
	f.out, f.outW = io.Pipe()
	f.err, f.errW = io.Pipe()
	f.lines = protocol.NewLineReader(f.in)
	f.writer = protocol.NewChildWriter(f.outW)
	go func() { // ends with the process
		defer f.exit("exit status 0")
		program(f)
	}()
	return f
}

// exit ends the process.
func (f *fakeChild) exit(how string) {
	f.once.Do(func() {
		f.how = how
		f.in.Close()
		f.outW.Close()
		f.errW.Close()
		close(f.done)
	})
}

func (f *fakeChild) pid() int                { return f.number }
func (f *fakeChild) stdin() io.WriteCloser   { return f.inW }
func (f *fakeChild) stdout() io.ReadCloser   { return f.out }
func (f *fakeChild) stderr() io.ReadCloser   { return f.err }
func (f *fakeChild) exited() <-chan struct{} { return f.done }
func (f *fakeChild) status() string          { return f.how }
func (f *fakeChild) failed() bool            { return f.how != "exit status 0" }

func (f *fakeChild) terminate() {
	now := time.Now()
	f.terminated.CompareAndSwap(nil, &now)
	if !f.ignoresTerm.Load() {
		f.exit("signal: terminated")
	}
}

func (f *fakeChild) kill() {
	now := time.Now()
	f.killedWith.CompareAndSwap(nil, &now)
	f.exit("signal: killed")
}

// ok ends the program if the process has died.
func (f *fakeChild) ok(err error) {
	if err != nil {
		runtime.Goexit()
	}
}

// line reads a line of the daemon, with its end.
func (f *fakeChild) line() string {
	line, err := f.lines.Next()
	f.ok(err)
	return string(line) + "\n"
}

// next reads a message of the daemon.
func (f *fakeChild) next() protocol.FromDaemon {
	m, err := protocol.ParseFromDaemon([]byte(f.line()))
	f.ok(err)
	return m
}

// print writes to standard output.
func (f *fakeChild) print(text string) {
	_, err := io.WriteString(f.outW, text)
	f.ok(err)
}

// complain writes to standard error.
func (f *fakeChild) complain(text string) {
	_, err := io.WriteString(f.errW, text)
	f.ok(err)
}

func (f *fakeChild) answer(action protocol.Action) { f.ok(f.writer.Status(action)) }

// checkpoint asks for a checkpoint of everything, and returns the name of the error.
func (f *fakeChild) checkpoint() string {
	f.ok(f.writer.Checkpoint(nil, false))
	return f.next().Error
}

// checkpointAt asks for a checkpoint of a number, and returns the name of the error.
func (f *fakeChild) checkpointAt(number string) string {
	f.ok(f.writer.Checkpoint(&kcl.ExtendedSequenceNumber{SequenceNumber: number}, false))
	return f.next().Error
}

// good answers every message, and checkpoints wherever that is possible.
func good(f *fakeChild) {
	for {
		m := f.next()
		switch m.Action {
		case protocol.ProcessRecords, protocol.ShardEnded, protocol.ShutdownRequested:
			f.checkpoint()
		}
		f.answer(m.Action)
	}
}

// hang does nothing until the process is killed.
func (f *fakeChild) hang() {
	<-f.done
	runtime.Goexit()
}

// bench is a Command whose children are programs of the test, and one processor.
type bench struct {
	*Command
	t         *testing.T
	processor kcl.Processor
	writer    *positions
	ck        *checkpoint.Checkpointer
	log       *bytes.Buffer
	failures  []error

	mu       sync.Mutex // guards children
	children []*fakeChild
}

const shardID = "shardId-000000000007"

// newBench makes a Command. The nth child runs the nth program, and later ones the last.
func newBench(t *testing.T, cfg CommandConfig, programs ...func(*fakeChild)) *bench {
	t.Helper()
	b := &bench{t: t, writer: &positions{}, log: &bytes.Buffer{}}
	cfg.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(&lockedWriter{w: b.log}, t.Output()),
		&slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg.OnFailure = func(_ kcl.StreamIdentifier, shard kcl.Shard, err error) {
		require.Equal(t, shardID, shard.ID)
		b.failures = append(b.failures, err)
	}
	b.Command = newCommand(cfg, newForker(), func([]string) (process, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		n := len(b.children)
		child := startFake(n+1, programs[min(n, len(programs)-1)])
		b.children = append(b.children, child)
		return child, nil
	})
	t.Cleanup(b.Close)
	b.next()
	return b
}

// next makes another processor, as the library does after ErrRestart.
func (b *bench) next() {
	b.processor = b.NewProcessor(kcl.StreamIdentifier{Name: "orders"}, kcl.Shard{ID: shardID})
	b.ck = checkpoint.New(b.writer, trimHorizon, nil)
}

var trimHorizon = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon}

func (b *bench) initialize(ctx context.Context) error {
	return b.processor.Initialize(ctx, kcl.InitializeInput{Checkpoint: trimHorizon})
}

// process delivers a batch of records with the given sequence numbers.
func (b *bench) process(ctx context.Context, numbers ...int) error {
	records := make([]kcl.Record, len(numbers))
	for i, n := range numbers {
		key := "key"
		records[i] = kcl.NewRecord(kcl.RecordFields{
			SequenceNumber: fmt.Sprint(n), PartitionKey: &key, Data: []byte("data"),
		})
	}
	return b.deliver(ctx, records)
}

func (b *bench) deliver(ctx context.Context, records []kcl.Record) error {
	b.ck.Delivered(records[len(records)-1].Position())
	return b.processor.ProcessRecords(ctx, kcl.ProcessRecordsInput{Records: records, Checkpointer: b.ck})
}

func (b *bench) end(ctx context.Context) error {
	return b.processor.ShardEnded(ctx, kcl.ShardEndedInput{Checkpointer: b.ck})
}

func (b *bench) shutdown(ctx context.Context) error {
	return b.processor.ShutdownRequested(ctx, kcl.ShutdownRequestedInput{Checkpointer: b.ck})
}

func (b *bench) lose(ctx context.Context) {
	b.ck.Close(kcl.ErrLeaseLost)
	b.processor.LeaseLost(ctx, kcl.LeaseLostInput{})
}

// gone requires that no child runs.
func (b *bench) gone() {
	b.t.Helper()
	for _, child := range b.children {
		select {
		case <-child.done:
		default:
			b.t.Fatalf("child %d still runs", child.number)
		}
	}
}

// positions is a lease row in memory.
type positions struct {
	mu   sync.Mutex // guards the fields below
	all  []string
	fail error
	slow time.Duration // of each write
}

func (p *positions) Checkpoint(ctx context.Context, pos kcl.ExtendedSequenceNumber) error {
	time.Sleep(p.slow)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.all = append(p.all, pos.String())
	return nil
}

func (p *positions) Prepare(context.Context, kcl.ExtendedSequenceNumber, []byte) error { return nil }

// lockedWriter lets several goroutines write.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
