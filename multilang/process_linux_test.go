package multilang

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/checkpoint"
	"github.com/kinesis-go/kcl/internal/testsize"
)

// initialized makes a processor with a running child.
func initialized(t *testing.T, c *Command) *childProcessor {
	t.Helper()
	p := c.NewProcessor(kcl.StreamIdentifier{Name: "orders"}, kcl.Shard{ID: shardID})
	require.NoError(t, p.Initialize(t.Context(), kcl.InitializeInput{Checkpoint: trimHorizon}))
	child, ok := p.(*childProcessor)
	require.True(t, ok)
	return child
}

// one delivers a record to a processor.
func one(ctx context.Context, p kcl.Processor) error {
	ck := checkpoint.New(&positions{}, trimHorizon, nil)
	r := kcl.NewRecord(kcl.RecordFields{SequenceNumber: "1"})
	ck.Delivered(r.Position())
	return p.ProcessRecords(ctx, kcl.ProcessRecordsInput{Records: []kcl.Record{r}, Checkpointer: ck})
}

// TestBothEnds: a processor under Serve, as the child of a Command. What it prints does not disturb
// the protocol.
func TestBothEnds(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"ended": {"ShardEnded"}, "stopped": {"ShutdownRequested"}, "lost": {"LeaseLost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := make(chan string, 10)
			env := listen(t, func(e childEvent) { got <- strings.Join(append(e.Data, e.Moment), " ") })
			c := runCommand(t, "served", CommandConfig{}, env)
			p := initialized(t, c)
			row := &positions{}
			ck := checkpoint.New(row, trimHorizon, nil)
			for _, number := range []string{"7", "8"} {
				ck.Delivered(kcl.ExtendedSequenceNumber{SequenceNumber: number})
				require.NoError(t, p.ProcessRecords(t.Context(), kcl.ProcessRecordsInput{
					Records:      []kcl.Record{kcl.NewRecord(kcl.RecordFields{SequenceNumber: number})},
					Checkpointer: ck,
				}))
			}
			child := p.child.proc
			switch name {
			case "ended":
				require.NoError(t, p.ShardEnded(t.Context(), kcl.ShardEndedInput{Checkpointer: ck}))
			case "stopped":
				require.NoError(t, p.ShutdownRequested(t.Context(), kcl.ShutdownRequestedInput{Checkpointer: ck}))
			default:
				p.LeaseLost(t.Context(), kcl.LeaseLostInput{})
			}
			require.Equal(t, "exit status 0", child.status())
			for _, event := range append([]string{"Initialize orders at TRIM_HORIZON", "7 record", "8 record"}, want...) {
				require.Equal(t, event, <-got)
			}
			require.Empty(t, got)
			require.Equal(t, name != "lost", slices.Equal(row.all, []string{"8"}), "%v", row.all)
			require.Zero(t, c.Stats().NoiseLines)
		})
	}
}

// TestProgramThatIsGone: a start that fails is a failed Initialize, which is repeated. It leaks no
// descriptor.
func TestProgramThatIsGone(t *testing.T) {
	program := filepath.Join(t.TempDir(), "child")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/no-such-shell\n"), 0o700))
	c, err := NewCommand(CommandConfig{Args: []string{program}})
	require.NoError(t, err)
	defer c.Close()
	p := c.NewProcessor(kcl.StreamIdentifier{}, kcl.Shard{ID: shardID})
	require.ErrorIs(t, p.Initialize(t.Context(), kcl.InitializeInput{}), os.ErrNotExist)
	before := descriptors(t)
	for range 2 {
		require.ErrorIs(t, p.Initialize(t.Context(), kcl.InitializeInput{}), os.ErrNotExist)
	}
	require.NoError(t, os.Remove(program))
	require.ErrorContains(t, p.Initialize(t.Context(), kcl.InitializeInput{}), "find the program")
	require.Equal(t, before, descriptors(t))
	require.Equal(t, Stats{NotStarted: 4}, c.Stats())
	require.Contains(t, remedy(syscall.EMFILE), "ulimit -n")
	require.Contains(t, remedy(syscall.EAGAIN), "ulimit -u")
}

// ended tells whether a process is gone, or is a zombie that another process must reap.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

// awaitEnd waits for the end of a process that is not a child of this one.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	fd, _, errno := syscall.Syscall(sysPidfdOpen, uintptr(pid), 0, 0)
	if errno == syscall.ESRCH {
		return
	}
	require.Zero(t, errno)
	defer syscall.Close(int(fd))
	var set syscall.FdSet
	set.Bits[fd/64] |= 1 << (fd % 64)
	for {
		n, err := syscall.Select(int(fd)+1, &set, nil, nil, &syscall.Timeval{Sec: 30})
		if err == syscall.EINTR {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, 1, n, "process %d still runs", pid)
		return
	}
}

const sysPidfdOpen = 434

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// TestChildLeadsAGroup: signals of the terminal reach the daemon alone.
func TestChildLeadsAGroup(t *testing.T) {
	t.Parallel()
	p := initialized(t, runCommand(t, "good", CommandConfig{}))
	pid := p.child.proc.pid()
	group, err := syscall.Getpgid(pid)
	require.NoError(t, err)
	require.Equal(t, pid, group)
	p.LeaseLost(t.Context(), kcl.LeaseLostInput{})
	require.True(t, ended(pid))
}

// TestM04ChildThatHangsIsKilled: SIGTERM comes first, and SIGKILL to the one that ignores it.
func TestM04ChildThatHangsIsKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		return // TestLeaseLostOfAChildThatHangs is the quick form: this one takes five seconds
	}
	p := initialized(t, runCommand(t, "deaf", CommandConfig{}))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kcl.ErrLeaseLost)
	require.Equal(t, kcl.ErrLeaseLost, one(ctx, p))
	child := p.child.proc
	p.LeaseLost(ctx, kcl.LeaseLostInput{})
	require.Equal(t, "signal: killed", child.status())
}

// TestGrandchildEndsWithTheGroup: what a dead child has left behind is killed, and holds nothing
// up.
func TestGrandchildEndsWithTheGroup(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"orphan", "escaped"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			var pid atomic.Int64
			env := listen(t, func(e childEvent) {
				n, err := strconv.Atoi(e.Shard)
				require.NoError(t, err)
				pid.Store(int64(n))
			})
			p := initialized(t, runCommand(t, mode, CommandConfig{}, env))
			err := one(t.Context(), p)
			require.ErrorIs(t, err, kcl.ErrRestart)
			require.ErrorContains(t, err, "the child ended with exit status 3")
			p.LeaseLost(t.Context(), kcl.LeaseLostInput{})
			if mode == "escaped" { // nobody can find it
				require.NoError(t, syscall.Kill(int(pid.Load()), syscall.SIGKILL))
			}
			awaitEnd(t, int(pid.Load()))
		})
	}
}

// TestGroupHasTimeToEnd: SIGTERM ends a shell at once. The program that it runs has time until
// SIGKILL.
func TestGroupHasTimeToEnd(t *testing.T) {
	t.Parallel()
	moments, shell := make(chan string, 3), make(chan int, 1)
	env := listen(t, func(e childEvent) {
		moments <- e.Moment
		if e.Moment == "asked to end" {
			awaitEnd(t, <-shell)
		}
	})
	p := initialized(t, runCommand(t, "wrapper", CommandConfig{}, env))
	shell <- p.child.proc.pid()
	require.Equal(t, "ready", <-moments)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kcl.ErrLeaseLost)
	require.Equal(t, kcl.ErrLeaseLost, one(ctx, p))
	child := p.child.proc
	p.LeaseLost(ctx, kcl.LeaseLostInput{})
	require.Equal(t, "signal: terminated", child.status())
	require.Equal(t, "asked to end", <-moments)
	require.Equal(t, "ended", <-moments)
}

// TestOrphansAreNoZombies: the first process of a container has to wait for the processes that its
// children leave behind.
func TestOrphansAreNoZombies(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	require.NoError(t, err)
	first := exec.CommandContext(t.Context(), program)
	first.Env = append(os.Environ(), envMode+"=first")
	out, err := first.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestM04ChildClosesItsInput: the write fails, and the child is stopped.
func TestM04ChildClosesItsInput(t *testing.T) {
	t.Parallel()
	p := initialized(t, runCommand(t, "noinput", CommandConfig{}))
	child := p.child.proc
	err := one(t.Context(), p)
	require.ErrorIs(t, err, kcl.ErrRestart)
	require.ErrorContains(t, err, "the child still runs")
	p.LeaseLost(t.Context(), kcl.LeaseLostInput{})
	require.Equal(t, "signal: terminated", child.status())
}

// TestChildDiesWithItsDaemon: a daemon that is killed leaves no child behind.
func TestChildDiesWithItsDaemon(t *testing.T) {
	t.Parallel()
	initializedPID := make(chan int, 16)
	env := listen(t, func(e childEvent) {
		if e.Moment == "got initialize" {
			initializedPID <- e.PID
		}
	})
	program, err := os.Executable()
	require.NoError(t, err)
	parent := exec.CommandContext(t.Context(), program)
	parent.Env = append(os.Environ(), envMode+"=parent", env)
	require.NoError(t, parent.Start())
	pid := <-initializedPID
	require.NotEqual(t, parent.Process.Pid, pid)
	require.False(t, ended(pid))
	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait()
	awaitEnd(t, pid)
}

// TestChildrenLiveWithoutTheirStarter: the thread that starts children lives on when the goroutine
// that asked for a child has ended, and its thread with it.
func TestChildrenLiveWithoutTheirStarter(t *testing.T) {
	t.Parallel()
	c := runCommand(t, "good", CommandConfig{})
	done := make(chan *childProcessor)
	for range 4 {
		go func() { // ends when it has sent
			runtime.LockOSThread()
			done <- initialized(t, c)
		}()
	}
	children := []*childProcessor{<-done, <-done, <-done, <-done}
	for _, p := range children {
		require.NoError(t, one(t.Context(), p))
		p.LeaseLost(t.Context(), kcl.LeaseLostInput{})
	}
	require.Zero(t, c.Stats().EndedEarly)
}

// TestRestartsLeakNothing: no zombie and no descriptor is left after many children that died.
func TestRestartsLeakNothing(t *testing.T) {
	c := runCommand(t, "restarts", CommandConfig{Logger: slog.New(slog.DiscardHandler)})
	restart := func() {
		p := initialized(t, c)
		require.ErrorIs(t, one(t.Context(), p), kcl.ErrRestart)
		pid := p.child.proc.pid()
		p.LeaseLost(t.Context(), kcl.LeaseLostInput{})
		_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
		require.ErrorIs(t, err, os.ErrNotExist, "a zombie")
	}
	restart()
	before := descriptors(t)
	n := testsize.Pick(10, 50, 1000)
	for range n {
		restart()
	}
	require.LessOrEqual(t, descriptors(t), before)
	require.EqualValues(t, n+1, c.Stats().Starts)
	require.EqualValues(t, n+1, c.Stats().EndedEarly)
}

// TestM05StandardErrorOfAnyLength: the child is never held up, and each line is logged once.
func TestM05StandardErrorOfAnyLength(t *testing.T) {
	t.Parallel()
	mib := testsize.Pick(8, 64, 1024)
	counter := &lineCounter{}
	log := slog.New(slog.NewTextHandler(counter, nil))
	p := initialized(t, runCommand(t, "stderr", CommandConfig{Logger: log}, fmt.Sprintf("MULTILANG_TEST_MIB=%d", mib)))
	require.NoError(t, one(t.Context(), p))
	require.NoError(t, one(t.Context(), p))
	p.LeaseLost(t.Context(), kcl.LeaseLostInput{})
	require.EqualValues(t, mib*1024, counter.lines.Load())
	require.EqualValues(t, 1, counter.unfinished.Load())
}

// lineCounter counts log lines of the children.
type lineCounter struct{ lines, unfinished atomic.Int64 }

func (l *lineCounter) Write(p []byte) (int, error) {
	switch {
	case bytes.Contains(p, []byte("eeee")):
		l.lines.Add(1)
	case bytes.Contains(p, []byte("no end of line")):
		l.unfinished.Add(1)
	}
	return len(p), nil
}

// TestCloseKillsChildren: nothing runs after Close, and nothing starts.
func TestCloseKillsChildren(t *testing.T) {
	t.Parallel()
	c := runCommand(t, "deaf", CommandConfig{})
	p := initialized(t, c)
	c.Close()
	require.Equal(t, "signal: killed", p.child.proc.status())
	p.LeaseLost(t.Context(), kcl.LeaseLostInput{})
	err := c.NewProcessor(kcl.StreamIdentifier{}, kcl.Shard{}).Initialize(t.Context(), kcl.InitializeInput{})
	require.ErrorIs(t, err, errForkerClosed)
	c.Close()
}

// TestPipesOfAChildBlock: a child that is not written in Go cannot read from a pipe that does not.
func TestPipesOfAChildBlock(t *testing.T) {
	t.Parallel()
	p := initialized(t, runCommand(t, "good", CommandConfig{}))
	for fd := range 3 {
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", p.child.proc.pid(), fd))
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(info), "flags:")
		flags, err := strconv.ParseInt(strings.Fields(rest)[0], 8, 64)
		require.NoError(t, err)
		require.Zero(t, flags&syscall.O_NONBLOCK, "descriptor %d", fd)
	}
	p.LeaseLost(t.Context(), kcl.LeaseLostInput{})
}
