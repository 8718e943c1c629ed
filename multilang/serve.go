package multilang

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// Serve runs processor as a child of a MultiLangDaemon, until the daemon closes the input. It
// returns nil then. A program calls it once, from main, and exits with status 1 after an error.
//
// The messages of the daemon become calls of processor, as package kcl describes them, with these
// differences:
//
//   - Shards have an id alone, and the children of a shard are not known. The stream is known if
//     the environment has KCL_STREAM_ARN or KCL_STREAM_NAME, as under cmd/multilangd.
//   - A checkpoint of Checkpointer reaches the daemon only during a call. Between calls it waits
//     for the next one. It still covers no more than was delivered when it was made. Prepare
//     returns an error that wraps [errors.ErrUnsupported].
//   - Errors of the daemon are a [*DaemonError]. The context ends with [kcl.ErrLeaseLost] as soon
//     as the daemon has answered a checkpoint with ShutdownException.
//   - After ShardEnded has succeeded, Serve checkpoints the end of the shard.
//   - After ShutdownRequested, the context ends when the daemon says that the lease is lost.
//
// The protocol has no word for a failed call. Serve repeats Initialize, ProcessRecords and
// ShardEnded as Options.Attempts says, while the daemon waits. Then it returns the error. It
// returns at once after a panic or an error that wraps [kcl.ErrRestart]. When the process has
// ended, cmd/multilangd starts another child at the last checkpoint. The Java daemon ends itself
// with all its shards, and whatever starts it again has the same effect.
//
// When the input ends, the daemon is gone. The context ends with [kcl.ErrLeaseLost]. Serve waits
// for the running call, for up to Options.ShutdownTimeout and a second. Then it calls LeaseLost,
// unless the processor was finished already. The same happens before Serve returns an error.
//
// When ctx ends, Serve stops in the same way and returns the cause. Do not end it by SIGTERM or
// SIGINT, which may reach the child together with the daemon: the daemon asks its children to
// finish, and needs their answers. Ignore these signals instead. A goroutine that reads the input
// then stays until that ends.
func Serve(ctx context.Context, processor kcl.Processor, o Options) error {
	if err := o.validate(processor); err != nil {
		return err
	}
	o = o.withDefaults()
	if o.Output == nil {
		private, err := takeStdout()
		if err != nil {
			return fmt.Errorf("multilang: take the standard output: %w", err)
		}
		defer func() { _ = private.Close() }()
		o.Output = private
	}
	served := make(chan struct{})
	defer close(served)
	messages := make(chan message)
	// It ends when the input has ended, or with the first message after Serve has returned.
	go readMessages(o.Input, messages, served, o.Logger)

	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(kcl.ErrLeaseLost)
	s := &session{
		processor: processor, options: o, log: o.Logger, stream: streamOfEnvironment(o.Logger),
		writer: protocol.NewChildWriter(o.Output), messages: messages, requests: make(chan request),
		progress: &progress{}, cancel: cancel, quit: ctx.Done(),
		quitCause: func() error { return context.Cause(ctx) },
	}
	s.checkpointer = &checkpointer{
		requests: s.requests, progress: s.progress, options: o, ended: work.Done(),
		cause: func() error { return context.Cause(work) },
	}
	return s.run(work)
}

// errInputEnded says that the daemon has closed the input, or is gone.
var errInputEnded = errors.New("the input has ended")

// message is a message of the daemon, or the error that ends the input.
type message struct {
	protocol.FromDaemon
	receivedAt time.Time
	err        error
}

// readMessages reads the input until it ends.
func readMessages(input io.Reader, messages chan<- message, served <-chan struct{}, log *slog.Logger) {
	lines := protocol.NewLineReader(input)
	lines.OnLong = func() {
		log.Warn("daemon sent a very long line", "bytes_over", protocol.LongLine)
	}
	for {
		m := readMessage(lines)
		select {
		case messages <- m:
		case <-served:
			return
		}
		if m.err != nil {
			return
		}
	}
}

func readMessage(lines *protocol.LineReader) message {
	line, err := lines.Next()
	if errors.Is(err, io.EOF) {
		return message{err: errInputEnded}
	}
	if err != nil {
		return message{err: fmt.Errorf("read the input: %w", err)}
	}
	m := message{receivedAt: time.Now()}
	m.FromDaemon, err = protocol.ParseFromDaemon(line)
	if err != nil && !lines.Complete() {
		return message{err: errInputEnded} // in the middle of a line
	}
	if err != nil {
		m.err = fmt.Errorf("read a message: %w", err)
	}
	return m
}

// streamOfEnvironment returns the stream that the environment names. It is zero if there is none.
func streamOfEnvironment(log *slog.Logger) kcl.StreamIdentifier {
	named := kcl.StreamIdentifier{Name: os.Getenv(envStreamName)}
	arn := os.Getenv(envStreamARN)
	if arn == "" {
		return named
	}
	stream, err := kcl.ParseStreamARN(arn)
	if err != nil {
		log.Warn("ignoring the ARN in "+envStreamARN, "err", err)
		return named
	}
	return stream
}
