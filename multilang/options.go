package multilang

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/usercode"
)

// The defaults of [Options].
const (
	DefaultAttempts        = 10
	DefaultMinBackoff      = 200 * time.Millisecond
	DefaultMaxBackoff      = 10 * time.Second
	DefaultShutdownTimeout = 25 * time.Second
)

// Options change what [Serve] does. The zero value is a working default.
type Options struct {
	// Input is where the daemon's messages come from. Defaults to os.Stdin.
	Input io.Reader
	// Output is where messages to the daemon go, each with one Write. Defaults to the standard
	// output of the process. Then Serve keeps a descriptor of it for itself. Descriptor 1 becomes
	// the standard error for the rest of the process. So nothing that is printed can disturb the
	// protocol. On Windows only os.Stdout is replaced.
	Output io.Writer
	// Logger receives the log. Defaults to slog.Default(). It should write to the standard error,
	// which the daemon copies to its own log.
	Logger *slog.Logger
	// Attempts is how often Initialize, ProcessRecords and ShardEnded are called until they succeed.
	// Then Serve gives up and returns the error. Must not be negative. Defaults to 10
	// (DefaultAttempts), which takes half a minute with the default backoff.
	Attempts int
	// CheckpointAttempts is how often a checkpoint is tried that the daemon answers with
	// [ErrThrottled] or [ErrDependency]. Must not be negative. Defaults to 10 (DefaultAttempts).
	CheckpointAttempts int
	// MinBackoff is the wait after a first failure. It doubles with each further one, and is spread
	// by a half. Must not be negative. Defaults to 200ms (DefaultMinBackoff).
	MinBackoff time.Duration
	// MaxBackoff is the longest wait, before it is spread. Must not be negative or less than
	// MinBackoff. Defaults to 10s (DefaultMaxBackoff).
	MaxBackoff time.Duration
	// ShutdownTimeout bounds ShutdownRequested and LeaseLost, and the wait for a running call when
	// Serve ends. Must not be negative. Defaults to 25s (DefaultShutdownTimeout). The daemon must
	// wait longer than that: shutdownGraceMillis in its properties.
	ShutdownTimeout time.Duration
}

// validate reports every mistake at once, by field.
func (o Options) validate(processor kcl.Processor) error {
	var errs []error
	if processor == nil {
		errs = append(errs, errors.New("the processor is nil"))
	}
	if o.Attempts < 0 {
		errs = append(errs, errors.New("Options.Attempts is negative"))
	}
	if o.CheckpointAttempts < 0 {
		errs = append(errs, errors.New("Options.CheckpointAttempts is negative"))
	}
	if o.MinBackoff < 0 || o.MaxBackoff < 0 {
		errs = append(errs, errors.New("Options.MinBackoff or Options.MaxBackoff is negative"))
	}
	if d := o.withDefaults(); d.MaxBackoff < d.MinBackoff {
		errs = append(errs, fmt.Errorf("Options.MaxBackoff is %s, less than MinBackoff, which is %s",
			d.MaxBackoff, d.MinBackoff))
	}
	if o.ShutdownTimeout < 0 {
		errs = append(errs, errors.New("Options.ShutdownTimeout is negative"))
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("multilang: %w", errors.Join(errs...))
}

func (o Options) withDefaults() Options {
	if o.Input == nil {
		o.Input = os.Stdin
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Logger = usercode.Logger(o.Logger)
	if o.Attempts == 0 {
		o.Attempts = DefaultAttempts
	}
	if o.CheckpointAttempts == 0 {
		o.CheckpointAttempts = DefaultAttempts
	}
	if o.MinBackoff == 0 {
		o.MinBackoff = DefaultMinBackoff
	}
	if o.MaxBackoff == 0 {
		o.MaxBackoff = DefaultMaxBackoff
	}
	if o.ShutdownTimeout == 0 {
		o.ShutdownTimeout = DefaultShutdownTimeout
	}
	return o
}

// backoff is the wait after failed attempts, from 1.
func (o Options) backoff(failed int) time.Duration {
	wait := o.MaxBackoff
	if shift := failed - 1; shift < 30 {
		wait = min(wait, o.MinBackoff<<shift)
	}
	return wait/2 + chance.N(wait+1, "checkpoint")
}
