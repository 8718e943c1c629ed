package multilang

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// The environment of a child that is this test binary.
const (
	envMode   = "MULTILANG_TEST_CHILD" // the key of its program in childModes
	envSocket = "MULTILANG_TEST_SOCKET"
)

// childModes are the programs of the children.
var childModes = map[string]func(*realChild){
	"good":     (*realChild).serve,
	"stderr":   (*realChild).floodStderr,
	"deaf":     (*realChild).ignoreSignals,
	"orphan":   (*realChild).leaveGrandchild,
	"escaped":  (*realChild).leaveEscapedGrandchild,
	"wrapper":  (*realChild).wrap,
	"polite":   (*realChild).endPolitely,
	"holder":   func(*realChild) { forever() },
	"parent":   func(*realChild) { runParent() },
	"first":    func(*realChild) { runFirst() },
	"served":   (*realChild).runServe,
	"restarts": (*realChild).answerOnce,
	"noinput":  (*realChild).closeInput,
}

// init makes this test binary a child if the environment says so.
func init() {
	program := childModes[os.Getenv(envMode)]
	if program == nil {
		return
	}
	c := &realChild{writer: protocol.NewChildWriter(os.Stdout)}
	c.lines = protocol.NewLineReader(longLines{c})
	if socket := os.Getenv(envSocket); socket != "" {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(9)
		}
		c.conn, c.answers = conn, bufio.NewReader(conn)
	}
	program(c)
	os.Exit(0)
}

// childEvent is what a child tells the test. The child waits for an answer before it goes on.
type childEvent struct {
	PID    int
	Shard  string
	Moment string
	Data   []string // of records
	Asked  string   // the position that is about to be checkpointed; empty for everything
}

// realChild is a child process.
type realChild struct {
	lines   *protocol.LineReader
	writer  *protocol.ChildWriter
	conn    net.Conn
	answers *bufio.Reader
	shard   string
	last    string // number of the last record
	unread  int    // bytes of the present message that have been read
}

// longLines reads standard input. In the middle of a long line it tells the test.
type longLines struct{ c *realChild }

func (l longLines) Read(p []byte) (int, error) {
	n, err := os.Stdin.Read(p)
	before := l.c.unread
	l.c.unread += n
	if before < longLine && l.c.unread >= longLine {
		l.c.at("half of a long line read")
	}
	return n, err
}

const longLine = 100 << 10

// tell tells the test that the child has come to a moment, and waits until it may go on.
func (c *realChild) tell(e childEvent) {
	if c.conn == nil {
		return
	}
	e.PID, e.Shard = os.Getpid(), c.shard
	if err := json.NewEncoder(c.conn).Encode(e); err != nil {
		os.Exit(8)
	}
	if _, err := c.answers.ReadString('\n'); err != nil {
		os.Exit(8)
	}
}

// at is tell for a moment without more to say.
func (c *realChild) at(moment string) { c.tell(childEvent{Moment: moment}) }

// read reads a message. It ends the process at the end of the input.
func (c *realChild) read() protocol.FromDaemon {
	c.unread = 0
	line, err := c.lines.Next()
	if err != nil {
		os.Exit(0)
	}
	m, err := protocol.ParseFromDaemon(line)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(7)
	}
	return m
}

// serve answers every message. It checkpoints all, then the number of the last record, then its
// number and sub-sequence number, in turns.
func (c *realChild) serve() {
	c.at("started")
	for turn := 0; ; {
		m := c.read()
		action := string(m.Action)
		if m.Action == protocol.Initialize {
			c.shard = m.ShardID
		}
		e := childEvent{Moment: "got " + action}
		for i := range m.Records {
			e.Data = append(e.Data, string(m.Records[i].Data()))
			c.last = m.Records[i].SequenceNumber()
		}
		c.tell(e)
		switch m.Action {
		case protocol.ProcessRecords, protocol.ShardEnded, protocol.ShutdownRequested:
			c.checkpoint(action, turn%3)
			turn++
		}
		c.message(action, "status", func() error { return c.writer.Status(m.Action) })
	}
}

// checkpoint asks for a checkpoint of one of three forms.
func (c *realChild) checkpoint(action string, form int) {
	position := &kcl.ExtendedSequenceNumber{SequenceNumber: c.last}
	if form == 0 || c.last == "" {
		position = nil
	}
	c.tell(childEvent{Moment: "before checkpoint in " + action, Asked: c.last})
	c.message(action, "checkpoint", func() error { return c.writer.Checkpoint(position, form == 2) })
	if answer := c.read(); answer.Error != "" {
		fmt.Fprintln(os.Stderr, "checkpoint:", answer.Error)
	}
	c.at("checkpointed in " + action)
}

// message writes a message in two parts, with moments before, between and after them.
func (c *realChild) message(action, what string, write func() error) {
	c.at("before " + what + " of " + action)
	var whole strings.Builder
	c.writer = protocol.NewChildWriter(&whole)
	if err := write(); err != nil {
		os.Exit(6)
	}
	text := whole.String()
	_, _ = os.Stdout.WriteString(text[:len(text)/2])
	c.at("half a " + what + " of " + action)
	_, _ = os.Stdout.WriteString(text[len(text)/2:])
	c.at("sent " + what + " of " + action)
}

// forever waits for longer than a test takes. The runtime ends a process of which nothing can go
// on.
func forever() { <-time.After(time.Hour) }

// answer reads a message and answers it.
func (c *realChild) answer() protocol.FromDaemon {
	m := c.read()
	if err := c.writer.Status(m.Action); err != nil {
		os.Exit(6)
	}
	return m
}

// answerOnce answers the first message, and dies at the second.
func (c *realChild) answerOnce() {
	c.answer()
	c.read()
	os.Exit(3)
}

// closeInput closes its standard input, answers the first message and lives on.
func (c *realChild) closeInput() {
	m := c.read()
	os.Stdin.Close()
	_ = c.writer.Status(m.Action)
	forever()
}

// floodStderr writes as many MiB to standard error as an environment variable says, then it serves.
func (c *realChild) floodStderr() {
	c.answer()
	m := c.read()
	var mib int
	_, _ = fmt.Sscan(os.Getenv("MULTILANG_TEST_MIB"), &mib)
	block := []byte(strings.Repeat(strings.Repeat("e", 1023)+"\n", 1024))
	for range mib {
		if _, err := os.Stderr.Write(block); err != nil {
			os.Exit(5)
		}
	}
	_, _ = os.Stderr.WriteString("no end of line")
	_ = c.writer.Status(m.Action)
	c.serve()
}

// grandchild starts a process that holds the standard streams of this one, and returns it.
func grandchild() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envMode+"=holder", envSocket+"=")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// wrap is a shell that runs a program: it dies of SIGTERM, and the program does not.
func (c *realChild) wrap() {
	cmd := grandchild()
	cmd.Env = append(os.Environ(), envMode+"=polite")
	cmd.Stdin = nil
	if err := cmd.Start(); err != nil {
		os.Exit(5)
	}
	c.answer()
	forever()
}

// endPolitely needs a moment to end after SIGTERM.
func (c *realChild) endPolitely() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	c.at("ready")
	<-signals
	c.at("asked to end")
	c.at("ended")
}

// leaveGrandchild starts a process of its own group, answers a message and dies at the next.
func (c *realChild) leaveGrandchild() {
	cmd := grandchild()
	if err := cmd.Start(); err != nil {
		os.Exit(5)
	}
	c.shard = fmt.Sprint(cmd.Process.Pid)
	c.at("grandchild")
	c.answerOnce()
}

// ignoreSignals answers a message. Then it hangs, and ignores SIGTERM and the end of its input.
func (c *realChild) ignoreSignals() {
	signal.Ignore(syscall.SIGTERM)
	c.answer()
	forever()
}

// leaveEscapedGrandchild is leaveGrandchild with a grandchild in a group of its own.
func (c *realChild) leaveEscapedGrandchild() {
	cmd := grandchild()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		os.Exit(5)
	}
	c.shard = fmt.Sprint(cmd.Process.Pid)
	c.at("grandchild")
	c.answerOnce()
}

// runParent is a daemon with one child. It waits to be killed.
func runParent() {
	env := append(os.Environ(), envMode+"=good")
	command, err := NewCommand(CommandConfig{Args: os.Args[:1], Env: env})
	if err != nil {
		os.Exit(5)
	}
	p := command.NewProcessor(kcl.StreamIdentifier{}, kcl.Shard{ID: "shard"})
	_ = p.Initialize(context.Background(), kcl.InitializeInput{})
	forever()
}

// runServe is the other end of this package. Its processor prints, and never checkpoints.
func (c *realChild) runServe() {
	if err := Serve(context.Background(), &chatty{c: c}, Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// chatty is a processor that prints every call on standard output, and tells the test about it.
type chatty struct{ c *realChild }

func (p *chatty) say(what string, data ...string) {
	fmt.Println(what, data)
	p.c.tell(childEvent{Moment: what, Data: data})
}

func (p *chatty) Initialize(_ context.Context, in kcl.InitializeInput) error {
	p.c.shard = in.Shard.ID
	p.say("Initialize " + in.Stream.Name + " at " + in.Checkpoint.String())
	return nil
}

func (p *chatty) ProcessRecords(_ context.Context, in kcl.ProcessRecordsInput) error {
	for _, r := range in.Records {
		p.say("record", r.SequenceNumber())
	}
	return nil
}

func (p *chatty) ShardEnded(context.Context, kcl.ShardEndedInput) error {
	p.say("ShardEnded")
	return nil
}

func (p *chatty) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	p.say("ShutdownRequested")
	return in.Checkpointer.Checkpoint(ctx)
}

func (p *chatty) LeaseLost(context.Context, kcl.LeaseLostInput) { p.say("LeaseLost") }

// runFirst is a daemon that gets orphans as its children, as the first process of a container does.
// It has a child that leaves a process behind. Then it must have no child.
func runFirst() {
	const setChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		os.Exit(5)
	}
	command, err := NewCommand(CommandConfig{Args: os.Args[:1], Env: append(os.Environ(), envMode+"=orphan")})
	if err != nil {
		os.Exit(5)
	}
	p := command.NewProcessor(kcl.StreamIdentifier{}, kcl.Shard{ID: "shard"})
	if err := p.Initialize(context.Background(), kcl.InitializeInput{}); err != nil {
		os.Exit(5)
	}
	if err := one(context.Background(), p); !errors.Is(err, kcl.ErrRestart) {
		os.Exit(5)
	}
	p.LeaseLost(context.Background(), kcl.LeaseLostInput{})
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		fmt.Fprintln(os.Stderr, "there is a child:", pid, err)
		os.Exit(1)
	}
}

// runCommand makes a Command whose children are this test binary.
func runCommand(t *testing.T, mode string, cfg CommandConfig, env ...string) *Command {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	cfg.Args = []string{program}
	cfg.Env = append(append(os.Environ(), envMode+"="+mode), env...)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	c, err := NewCommand(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// listen receives the events of children. A child goes on when handle has returned.
func listen(t *testing.T, handle func(childEvent)) (env string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() { // ends when the listener is closed
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { // ends with the child
				defer conn.Close()
				for events := json.NewDecoder(conn); ; {
					var e childEvent
					if err := events.Decode(&e); err != nil {
						return
					}
					handle(e)
					_, _ = io.WriteString(conn, "\n")
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return envSocket + "=" + socket
}
