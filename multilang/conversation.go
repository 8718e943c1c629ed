package multilang

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

const (
	// noiseLine is how many bytes of a line are logged if the line is no message.
	noiseLine = 256
	// maxMessage is how many bytes of a line are kept. The messages of a child are shorter by far.
	maxMessage = 1 << 20
	// exitTime is how long a child may take to end after its standard input was closed, and what
	// is left of its pipes may take after its end.
	exitTime, pipeTime = 10 * time.Second, 2 * time.Second
	// killTime is the time between SIGTERM and SIGKILL.
	killTime = 5 * time.Second
)

// serve carries out a checkpoint that a child asks for. It returns the name of the error for the
// child, or nothing.
type serve func(ctx context.Context, asked protocol.Asked) string

// conversation is the exchange of messages with one child. It sends one action at a time, and
// serves checkpoints until the child's status for that action comes. If the context of a call ends
// first, the action stays open. Its methods belong to one goroutine at a time.
//
//	idle --act--> open --status--> idle
//	                |  \--wrong status, end of the child, no answer in time--> broken
//	                \--context ends--> open --finish--> idle or broken
type conversation struct {
	proc    process
	writer  *protocol.DaemonWriter
	timeout time.Duration // for an answer; 0 is no limit
	stats   *counters
	log     *slog.Logger

	messages chan protocol.FromChild // closed at the end of the child's standard output
	over     chan struct{}           // closed by stop: nobody receives messages any more
	errs     stderrDrain
	drained  chan struct{} // closed at the end of the child's standard error
	helpers  sync.WaitGroup

	open    protocol.Action // the action that waits for its status, or empty
	writing chan error      // gets the result of the running write; nil if there is none
	broken  error           // why the child gets no more messages
	keys    int64           // of writer.InvalidKeys, as far as they are counted in stats
}

// converse begins a conversation with a child that has just been started.
func converse(proc process, timeout time.Duration, stats *counters, log *slog.Logger) *conversation {
	c := &conversation{
		proc: proc, writer: protocol.NewDaemonWriter(proc.stdin()), timeout: timeout, stats: stats,
		log:      log.With("pid", proc.pid()),
		messages: make(chan protocol.FromChild, 16), over: make(chan struct{}), drained: make(chan struct{}),
	}
	c.errs.emit = func(line []byte) {
		c.log.LogAttrs(context.Background(), slog.LevelInfo, "child wrote to standard error",
			slog.String("line", escape(line, stderrLine)))
	}
	// stop waits for these goroutines. The first two end with the pipes.
	c.helpers.Go(c.read)
	c.helpers.Go(func() {
		defer close(c.drained)
		c.errs.run(proc.stderr())
	})
	c.helpers.Go(c.closePipes)
	return c
}

// closePipes closes this side of the pipes after the end of the child. A process that the child has
// left behind may hold the other side open.
func (c *conversation) closePipes() {
	<-c.proc.exited()
	select {
	case <-c.drained:
	case <-time.After(pipeTime):
	}
	c.proc.stderr().Close()
	c.proc.stdin().Close()
	select {
	case <-c.over: // nobody reads what is left
	case <-time.After(pipeTime):
	}
	c.proc.stdout().Close()
}

// read hands on the messages of the child. It logs every other line once.
func (c *conversation) read() {
	defer close(c.messages)
	lines := protocol.NewLineReader(c.proc.stdout())
	lines.Limit = maxMessage
	lines.OnLong = func() {
		c.log.Warn("child prints a very long line on standard output, the daemon drops it", "bytes", protocol.LongLine)
	}
	var begin [noiseLine]byte
	for {
		line, err := lines.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.log.Debug("standard output of the child cannot be read any more", "err", err)
			}
			return
		}
		length, text := len(line), begin[:copy(begin[:], line)] // parsing changes the line
		message, err := protocol.ParseFromChild(line)
		if err != nil {
			c.stats.noise.Add(1)
			c.log.Warn("child printed a line that is no message, skipping it",
				"err", err, "bytes", length, "line", escape(text, noiseLine))
			continue
		}
		select {
		case c.messages <- message:
		case <-c.over:
			return
		}
	}
}

// act sends an action and waits for its status. If ctx ends first, act returns the cause of ctx,
// and the action stays open. Any other error ends the conversation.
func (c *conversation) act(ctx context.Context, action protocol.Action, send func() error, serve serve) error {
	if c.broken != nil {
		return c.broken
	}
	c.open = action
	c.write(send)
	return c.finish(ctx, serve)
}

// write begins a write on a goroutine of its own, because the child may print meanwhile. finish
// receives the result. Without finish, stop ends the write.
func (c *conversation) write(send func() error) {
	done := make(chan error, 1)
	c.writing = done
	c.helpers.Go(func() { done <- send() })
}

// finish waits for the status of the open action, and serves checkpoints until then.
func (c *conversation) finish(ctx context.Context, serve serve) error {
	var late <-chan time.Time
	var timer *time.Timer
	if c.timeout > 0 {
		timer = time.NewTimer(c.timeout)
		defer timer.Stop()
		late = timer.C
	}
	for c.open != "" {
		if c.broken != nil {
			return c.broken
		}
		messages := c.messages
		if c.writing != nil {
			messages = nil // the child answers when it has got the whole message
		}
		select {
		case err := <-c.writing:
			c.writing = nil
			c.countKeys()
			if err != nil {
				return c.breakOff(ctx, endedEarly, fmt.Errorf("send %s to the child: %w", c.open, err))
			}
		case m, ok := <-messages:
			switch {
			case !ok:
				return c.breakOff(ctx, endedEarly, fmt.Errorf("wait for the status of %s: end of the child's output", c.open))
			case m.Action == protocol.Checkpoint:
				name := serve(ctx, m.Asked)
				c.write(func() error { return c.writer.Answer(m.Asked, name) })
			case m.ResponseFor != c.open:
				return c.breakOff(ctx, wrongAnswer,
					fmt.Errorf("the child answers %.40q, expected the status of %s", m.ResponseFor, c.open))
			default:
				c.open = ""
			}
		case <-late:
			return c.breakOff(ctx, tooLate, fmt.Errorf("no answer to %s within %s", c.open, c.timeout))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if timer != nil {
			timer.Reset(c.timeout)
		}
	}
	return nil
}

// checkIdle returns an error if the child has ended although no action is open.
func (c *conversation) checkIdle(ctx context.Context) error {
	select {
	case <-c.proc.exited():
		if c.broken == nil {
			return c.breakOff(ctx, endedEarly, errors.New("wait for work: the child runs no more"))
		}
	default:
	}
	return c.broken
}

// countKeys adds the partition keys that were replaced to the statistics.
func (c *conversation) countKeys() {
	n := c.writer.InvalidKeys()
	c.stats.replacedKeys.Add(n - c.keys)
	c.keys = n
}

// breakOff ends the conversation because of a failure. It waits a moment for the end of the child,
// so that the error can say how the child ended and what it wrote last.
func (c *conversation) breakOff(ctx context.Context, kind failure, err error) error {
	if kind == endedEarly {
		select {
		case <-c.proc.exited():
			select {
			case <-c.drained:
			case <-time.After(pipeTime):
			case <-ctx.Done():
			}
			err = fmt.Errorf("%w; the child ended with %s", err, c.proc.status())
		case <-time.After(pipeTime):
			err = fmt.Errorf("%w; the child still runs", err)
		case <-ctx.Done():
		}
	}
	if tail := c.errs.tail(); tail != "" {
		err = fmt.Errorf("%w; its last lines on standard error: %s", err, tail)
	}
	c.broken = err
	c.stats.fail(kind)
	return c.broken
}

// stop ends the child and waits until nothing is left of it. It closes the child's standard input,
// and gives the child patience to end by itself. Then come SIGTERM and, after killTime, SIGKILL. If
// ctx ends, SIGKILL comes at once.
func (c *conversation) stop(ctx context.Context, patience time.Duration) {
	c.proc.stdin().Close()
	clean := c.broken == nil && c.open == ""
	if !c.exits(ctx, patience) {
		clean = false
		c.proc.terminate()
		c.exits(ctx, killTime)
	}
	c.kill()
	if clean && c.proc.failed() {
		c.log.WarnContext(ctx, "child has finished its work, and has then failed", "status", c.proc.status())
	}
}

// kill ends the child at once, and waits until nothing is left of it.
func (c *conversation) kill() {
	c.proc.kill()
	<-c.proc.exited()
	close(c.over)
	c.helpers.Wait()
	c.log.Debug("child process ended", "status", c.proc.status())
	c.broken = cmp.Or(c.broken, errStopped)
}

// exits tells whether the child ends within d and before ctx.
func (c *conversation) exits(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.proc.exited():
		return true
	default:
	}
	select {
	case <-c.proc.exited():
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

var errStopped = errors.New("the child was stopped")

// initialize tells the child its shard and position.
func (c *conversation) initialize(ctx context.Context, shardID string, at kcl.ExtendedSequenceNumber) error {
	return c.act(ctx, protocol.Initialize, func() error { return c.writer.Initialize(shardID, at) }, noCheckpointer)
}

// leaseLost waits for the status of the open action, and says that the lease is lost.
func (c *conversation) leaseLost(ctx context.Context) error {
	if err := c.finish(ctx, leaseIsLost); err != nil {
		return err
	}
	return c.simple(ctx, protocol.LeaseLost, noCheckpointer)
}

// simple sends an action without fields.
func (c *conversation) simple(ctx context.Context, action protocol.Action, serve serve) error {
	return c.act(ctx, action, func() error { return c.writer.Simple(action) }, serve)
}

// noCheckpointer answers checkpoints when there is nothing that can be checkpointed.
func noCheckpointer(context.Context, protocol.Asked) string { return invalidState }
