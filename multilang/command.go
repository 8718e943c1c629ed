package multilang

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl"
)

// The variables in the environment of a child. They name the stream of its shard, because the
// messages of the protocol have no room for it.
const (
	envStreamName = "KCL_STREAM_NAME"
	envStreamARN  = "KCL_STREAM_ARN"
)

// CommandConfig configures a [Command]. Args is required; the zero value of every other field is a
// working default.
type CommandConfig struct {
	// Args are the program of the children and its arguments. A program without a slash is looked up
	// in PATH. No shell reads them. Required.
	Args []string
	// Env is the environment of the children, as NAME=value. KCL_STREAM_NAME and KCL_STREAM_ARN are
	// added, the latter only if the ARN of the stream is known. Defaults to nil: the environment of
	// this process.
	Env []string
	// Dir is the working directory of the children. Defaults to that of this process.
	Dir string
	// Timeout is how long a child may take for one answer (timeoutInSeconds in the KCL). The time of
	// a checkpoint does not count. A child that takes longer is stopped, and another one continues
	// at the last checkpoint. Defaults to 0, no limit: a child that hangs is only reported, by
	// scheduler.Scheduler.Healthy. Must not be negative.
	Timeout time.Duration
	// MaxStarts is how many children may start at the same time. A start lasts until the child has
	// answered its first message, or 10 seconds. Defaults to 0: two for each CPU. Must not be
	// negative.
	MaxStarts int
	// Logger receives the log, which contains what children write to standard error. Defaults to
	// slog.Default().
	Logger *slog.Logger
	// OnFailure is called for each failure of a child, with the error that is also logged: the child
	// cannot be started, dies, answers nonsense or nothing in time. A failure of ShutdownRequested
	// does not count. Several goroutines may call OnFailure at the same time, and it must not block.
	// Defaults to nil.
	OnFailure func(stream kcl.StreamIdentifier, shard kcl.Shard, err error)
}

func (c CommandConfig) validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("multilang: CommandConfig."+format, args...))
	}
	if len(c.Args) == 0 || c.Args[0] == "" {
		bad("Args is empty: name the program that processes the records")
	} else if _, err := lookPath(c.Args[0], c.Dir); err != nil {
		bad("Args starts with %q: %w: give the path of a program, or extend PATH", c.Args[0], err)
	}
	if c.Timeout < 0 {
		bad("Timeout is %s: use a positive duration, or 0 for no limit", c.Timeout)
	}
	if c.MaxStarts < 0 {
		bad("MaxStarts is %d: use a positive number, or 0 for two for each CPU", c.MaxStarts)
	}
	return errors.Join(errs...)
}

// Command runs one child process for each shard (MultiLangDaemon in the KCL). A child speaks the
// protocol of the MultiLangDaemon on its standard input and output, and may be written in any
// language. All methods are safe for concurrent use.
type Command struct {
	cfg    CommandConfig
	launch func(env []string) (process, error)
	fork   *forker
	slots  chan struct{} // holds a token for each start
	stats  counters

	mu     sync.Mutex // guards the fields below
	live   map[process]struct{}
	closed bool
}

// NewCommand returns a Command. It starts no process. The error names every problem of cfg, and a
// program that cannot be found.
func NewCommand(cfg CommandConfig) (*Command, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Args = slices.Clone(cfg.Args)
	l := &launcher{args: cfg.Args, dir: cfg.Dir, fork: newForker()}
	return newCommand(cfg, l.fork, l.start), nil
}

func newCommand(cfg CommandConfig, fork *forker, launch func(env []string) (process, error)) *Command {
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	cfg.MaxStarts = cmp.Or(cfg.MaxStarts, 2*runtime.GOMAXPROCS(0))
	return &Command{
		cfg: cfg, launch: launch, fork: fork, slots: make(chan struct{}, cfg.MaxStarts), live: map[process]struct{}{},
	}
}

// NewProcessor is a [kcl.ProcessorFactory]. The processor starts its child in Initialize.
//
// If the child dies, answers nonsense or takes longer than Timeout, Initialize returns an error.
// ProcessRecords and ShardEnded return an error that wraps [kcl.ErrRestart], and so does CheckIdle
// after the death of an idle child. So another child gets everything after the last checkpoint
// again, and other shards are not affected. The child decides
// about all checkpoints. ShardEnded also fails if the child has not checkpointed the last record.
func (c *Command) NewProcessor(stream kcl.StreamIdentifier, shard kcl.Shard) kcl.Processor {
	log := c.cfg.Logger.With("stream", stream.Name, "shard", shard.ID)
	return &childProcessor{command: c, stream: stream, shard: shard, log: log}
}

// start starts a child.
func (c *Command) start(stream kcl.StreamIdentifier) (process, error) {
	proc, err := c.launch(c.environment(stream))
	if err != nil {
		c.stats.fail(notStarted)
		return nil, err
	}
	c.stats.starts.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live[proc] = struct{}{}
	if c.closed {
		proc.kill()
	}
	go func() { // ends with the process
		<-proc.exited()
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.live, proc)
	}()
	return proc, nil
}

// environment returns the environment of a child.
func (c *Command) environment(stream kcl.StreamIdentifier) []string {
	env := c.cfg.Env
	if env == nil {
		env = os.Environ()
	}
	env = slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		return strings.HasPrefix(v, envStreamName+"=") || strings.HasPrefix(v, envStreamARN+"=")
	})
	env = append(env, envStreamName+"="+stream.Name)
	if stream.ARN != "" {
		env = append(env, envStreamARN+"="+stream.ARN)
	}
	return (&exec.Cmd{Env: env, Dir: c.cfg.Dir}).Environ() // the last value of each name
}

// slot waits until another child may start. The function that it returns ends the start.
func (c *Command) slot(ctx context.Context) (release func(), err error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return sync.OnceFunc(func() { <-c.slots }), nil
}

// Close kills the children that still run and waits for their end. Call it after the scheduler's
// Run has returned. Then all processors have stopped their children, except those that have
// exceeded ShutdownTimeout. No child can be started afterwards.
func (c *Command) Close() {
	c.mu.Lock()
	c.closed = true
	live := make([]process, 0, len(c.live))
	for proc := range c.live {
		live = append(live, proc)
	}
	c.mu.Unlock()
	for _, proc := range live {
		proc.kill()
	}
	for _, proc := range live {
		<-proc.exited()
	}
	c.fork.close()
}

// Stats are numbers about the children of a [Command].
type Stats struct {
	// Children is how many child processes run now.
	Children int
	// Starts is how many child processes have been started.
	Starts int64
	// NotStarted to UnfinishedShards count failures. NotStarted counts processes that could not be
	// started. EndedEarly counts children that ended or closed a pipe before their last status.
	// WrongAnswers counts answers other than the expected status. TooLate counts answers that took
	// longer than Timeout. UnfinishedShards counts ends of shards whose last record the child had not
	// checkpointed.
	NotStarted, EndedEarly, WrongAnswers, TooLate, UnfinishedShards int64
	// NoiseLines counts lines on standard output that were no messages. Blank lines do not count.
	NoiseLines int64
	// ReplacedKeys counts partition keys that are no UTF-8. The children get U+FFFD in place of each
	// invalid byte.
	ReplacedKeys int64
}

// Stats returns the numbers up to now.
func (c *Command) Stats() Stats {
	children := 0
	c.mu.Lock()
	for proc := range c.live {
		select {
		case <-proc.exited():
		default:
			children++
		}
	}
	c.mu.Unlock()
	f := func(kind failure) int64 { return c.stats.failures[kind].Load() }
	return Stats{
		Children: children, Starts: c.stats.starts.Load(), NotStarted: f(notStarted), EndedEarly: f(endedEarly),
		WrongAnswers: f(wrongAnswer), TooLate: f(tooLate), UnfinishedShards: f(unfinished),
		NoiseLines: c.stats.noise.Load(), ReplacedKeys: c.stats.replacedKeys.Load(),
	}
}

// failure is a kind of failure, for the statistics.
type failure int

const (
	notStarted failure = iota
	endedEarly
	wrongAnswer
	tooLate
	unfinished
	failureKinds
)

type counters struct {
	starts, noise, replacedKeys atomic.Int64
	failures                    [failureKinds]atomic.Int64
}

func (c *counters) fail(kind failure) { c.failures[kind].Add(1) }
