// Package kcl has the API of the package kcl of goguardian-go-kcl, so that its users only change
// the import path. It runs a processor as a child of a MultiLangDaemon, the Java one or
// cmd/multilangd, over [multilang.Serve].
//
// What is different:
//
//   - Input structs and [Record] have more fields, and there are more options. A struct literal
//     without field names does not compile.
//   - Errors of checkpoints can be told apart with errors.Is, as package multilang says.
//   - Checkpoints may come from any goroutine. Between two callbacks they wait for the next one.
//   - The end of a shard is checkpointed after ShardEnded, whether the processor did that or not.
//   - A panic of a callback ends Run with an error.
//   - What the program prints to the standard output goes to the standard error.
//   - LeaseLost is also called when the daemon is gone.
//
// New programs should use a processor of github.com/kinesis-go/kcl with [multilang.Serve].
package kcl

import (
	"context"
	"io"
	"log"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl/multilang"
)

// shutdownTimeout is longer than daemons wait. Processors of this API cannot be told to hurry.
const shutdownTimeout = 5 * time.Minute

// RecordProcessor handles the records of one shard. No two callbacks run at the same time.
type RecordProcessor interface {
	// Initialize is called once, before any record.
	Initialize(*InitializationInput)
	// ProcessRecords is called with one batch after the other. It cannot say that it failed: see
	// [ErrorProcessor].
	ProcessRecords(*ProcessRecordsInput)
	// LeaseLost says that another worker has the shard, or that the daemon is gone. It is also
	// called after ShutdownRequested.
	LeaseLost(*LeaseLostInput)
	// ShardEnded says that every record of the shard was delivered.
	ShardEnded(*ShardEndedInput)
	// ShutdownRequested asks the processor to finish. It can still checkpoint.
	ShutdownRequested(*ShutdownRequestedInput)
}

// ErrorProcessor is a [RecordProcessor] that can say that it failed. goguardian-go-kcl does not
// have it.
type ErrorProcessor interface {
	RecordProcessor
	// TryProcessRecords is called in place of ProcessRecords. After an error it gets the same batch
	// again, after a backoff. Run returns the error when all attempts of [multilang.Options] have
	// failed. The next process starts at the last checkpoint. It must not change the data of
	// records with which it fails.
	TryProcessRecords(*ProcessRecordsInput) error
}

// KCLProcess is a child process.
//
//nolint:revive // the name is that of goguardian-go-kcl
type KCLProcess interface {
	// Run talks to the daemon until that closes the standard input, and returns nil then. A program
	// calls it once. After an error it should exit with status 1.
	Run() error
}

// process is the child of GetKCLProcess.
type process struct {
	processor RecordProcessor
	logger    *log.Logger
	input     io.Reader
	output    io.Writer
}

// Option changes what [GetKCLProcess] returns.
type Option func(*process)

// WithLogger sets the logger. The default is that of package log. A nil logger drops the log.
func WithLogger(logger *log.Logger) Option { return func(p *process) { p.logger = logger } }

// WithInput sets where messages of the daemon come from. The default is the standard input.
// goguardian-go-kcl does not have it.
func WithInput(r io.Reader) Option { return func(p *process) { p.input = r } }

// WithOutput sets where messages to the daemon go. The default is the standard output.
// goguardian-go-kcl does not have it.
func WithOutput(w io.Writer) Option { return func(p *process) { p.output = w } }

// GetKCLProcess returns a child process that gives the records to processor. Nothing happens before
// Run.
func GetKCLProcess(processor RecordProcessor, options ...Option) KCLProcess {
	p := &process{processor: processor, logger: log.Default()}
	for _, option := range options {
		option(p)
	}
	return p
}

// Run implements [KCLProcess].
func (p *process) Run() error {
	a := &adapter{processor: p.processor}
	err := multilang.Serve(context.Background(), a, multilang.Options{
		Input: p.input, Output: p.output, Logger: structured(p.logger), ShutdownTimeout: shutdownTimeout,
	})
	if a.requested && err == nil {
		p.processor.LeaseLost(&LeaseLostInput{})
	}
	return err
}

// structured returns a logger whose lines go to l, which adds the time.
func structured(l *log.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	withoutTime := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(lineWriter{l}, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
}

// lineWriter writes each line to a logger.
type lineWriter struct{ logger *log.Logger }

func (w lineWriter) Write(line []byte) (int, error) {
	return len(line), w.logger.Output(2, string(line))
}
