//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/kinesis-go/kcl/integration/chaos/journal"
	"github.com/kinesis-go/kcl/integration/chaos/tcpproxy"
)

const (
	failoverTime = 5 * time.Second
	stopLimit    = 25 * time.Second // for a worker after SIGTERM: its ShutdownTimeout, and much more
	maxRestart   = 3 * time.Second  // until a worker is started again
	tailInterval = 250 * time.Millisecond
	workerMemory = "96MiB" // GOMEMLIMIT
	outOfMemory  = 2       // exit status of the Go runtime after a fatal error
)

// fleet is the workers of a round.
type fleet struct {
	binary, dir string
	checker     *checker
	slots       []*slot
	wg          sync.WaitGroup // the slots

	mu       sync.Mutex // guards the fields below
	problems []string   // of the workers
	starts   int
}

// slot is the place of one worker. A worker that has ended is replaced by another one.
type slot struct {
	index   int
	kinesis *tcpproxy.Proxy
	table   *tcpproxy.Proxy
	metrics string // address of the worker's metrics, or empty

	mu       sync.Mutex // guards the fields below
	cmd      *exec.Cmd  // nil while none runs
	journal  string
	state    state
	mark     int64 // the size of the journal when the worker started or woke up
	squeezed bool  // its memory is or was limited
}

// state is what was done to a worker.
type state int

// The states of a worker.
const (
	down state = iota
	running
	frozen
	ending   // SIGTERM or SIGKILL was sent
	quitting // SIGQUIT was sent, for the stacks
)

// newFleet makes the places of n workers before the server at upstream.
func newFleet(binary, dir, upstream string, n int, c *checker) (*fleet, error) {
	f := &fleet{binary: binary, dir: dir, checker: c}
	for i := range n {
		s := &slot{index: i}
		f.slots = append(f.slots, s)
		for _, proxy := range []**tcpproxy.Proxy{&s.kinesis, &s.table} {
			made, err := tcpproxy.Listen(upstream)
			if err != nil {
				f.close()
				return nil, err
			}
			*proxy = made
		}
	}
	return f, nil
}

// start runs all workers until ctx ends. Then each gets SIGTERM. wait returns after them.
func (f *fleet) start(ctx context.Context) {
	for _, s := range f.slots {
		f.wg.Go(func() { // ends after ctx and its worker
			for n := 0; ctx.Err() == nil; n++ {
				f.work(ctx, s, n)
				pause(ctx, rand.N(maxRestart))
			}
		})
	}
}

func (f *fleet) wait() { f.wg.Wait() }

// close ends the proxies.
func (f *fleet) close() {
	for _, s := range f.slots {
		for _, proxy := range []*tcpproxy.Proxy{s.kinesis, s.table} {
			if proxy != nil {
				proxy.Close()
			}
		}
	}
}

// anyBusy returns the place of a worker that runs and has processed records, or nil.
func (f *fleet) anyBusy() *slot {
	for _, i := range rand.Perm(len(f.slots)) {
		if f.slots[i].busy() {
			return f.slots[i]
		}
	}
	return nil
}

// problem notes what a worker should not have done.
func (f *fleet) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	slog.Error("problem", "what", text)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problems = append(f.problems, text)
}

// work runs one worker of a slot, and reads its journal until it has ended.
func (f *fleet) work(ctx context.Context, s *slot, n int) {
	name := fmt.Sprintf("worker-%d-%d", s.index, n)
	path := filepath.Join(f.dir, name+".journal")
	log, err := os.Create(filepath.Join(f.dir, name+".log"))
	if err != nil {
		f.problem("%s: %v", name, err)
		return
	}
	defer func() { _ = log.Close() }() // the worker has written it
	cmd := f.command(s, name, path)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		f.problem("start %s: %v", name, err)
		return
	}
	s.set(cmd, path)
	f.mu.Lock()
	f.starts++
	f.mu.Unlock()

	exited := make(chan struct{})
	go func() { // ends with the process; joined below
		defer close(exited)
		_ = cmd.Wait() // the state is read from cmd
	}()
	f.tail(ctx, s, path, exited)
	last := s.clear()
	status := cmd.ProcessState.ExitCode()
	signaled := cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()
	switch {
	case last == ending && (signaled || status == 0), last == quitting:
	case status == outOfMemory && s.wasSqueezed():
	default:
		f.problem("%s ended by itself with %s", name, cmd.ProcessState)
	}
}

// command is a worker. Half of them poll, and half use fan-out, with HTTP/1.1 or HTTP/2.
func (f *fleet) command(s *slot, name, path string) *exec.Cmd {
	arguments := []string{
		"-stream", stream, "-application", application, "-worker", name, "-journal", path,
		"-failover", failoverTime.String(), "-metrics", s.metrics,
	}
	switch s.index % 4 {
	case 0:
		arguments = append(arguments, "-h2c")
	case 1, 3:
		arguments = append(arguments, "-mode", "polling")
	}
	if s.index%3 == 2 {
		arguments = append(arguments, "-checkpoints", "500ms")
	}
	cmd := exec.Command(f.binary, arguments...)
	cmd.Env = append(os.Environ(),
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_SESSION_TOKEN=", "AWS_PROFILE=", "AWS_REGION="+region,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ENDPOINT_URL=", "GOMEMLIMIT="+workerMemory,
		"AWS_ENDPOINT_URL_KINESIS=http://"+s.kinesis.Address(), "AWS_ENDPOINT_URL_DYNAMODB=http://"+s.table.Address())
	cmd.SysProcAttr = child()
	return cmd
}

// tail hands the journal of a worker to the checker until the worker has ended. After ctx it has
// the worker end.
func (f *fleet) tail(ctx context.Context, s *slot, path string, exited <-chan struct{}) {
	reader := journal.Reader{Batch: f.checker.delivered}
	var file *os.File
	read := func() {
		if file == nil {
			file, _ = os.Open(path) // the worker may not have made it yet
		}
		if file != nil {
			if _, err := io.Copy(&reader, file); err != nil {
				f.problem("read %s: %v", path, err)
			}
		}
	}
	tick := time.NewTicker(tailInterval)
	defer tick.Stop()
	done := ctx.Done()
	for {
		select {
		case <-tick.C:
			read()
		case <-done:
			done = nil
			f.terminate(s)
		case <-exited:
			read()
			reader.Close()
			if file != nil {
				_ = file.Close() // it was only read
			}
			return
		}
	}
}

// terminate sends SIGTERM to a worker that has not been told to end, and watches how long it takes.
func (f *fleet) terminate(s *slot) bool {
	pid, ok := s.signal(syscall.SIGTERM, running, ending)
	if ok {
		time.AfterFunc(stopLimit, func() {
			if s.kill(pid) {
				f.problem("worker %d had not ended %v after SIGTERM", s.index, stopLimit)
			}
		})
	}
	return ok
}

// set notes a worker that was started.
func (s *slot) set(cmd *exec.Cmd, path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cmd, s.journal, s.state, s.mark, s.squeezed = cmd, path, running, 0, false
}

// clear notes that the worker has ended. It returns its last state.
func (s *slot) clear() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.state
	s.cmd, s.state = nil, down
	return last
}

// signal sends a signal to the worker if it is in state from, and notes its next state.
func (s *slot) signal(signal syscall.Signal, from, to state) (pid int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil || s.state != from || s.cmd.Process.Signal(signal) != nil {
		return 0, false
	}
	s.state = to
	s.mark = s.sizeLocked()
	return s.cmd.Process.Pid, true
}

// kill sends SIGKILL if the process is still that of pid.
func (s *slot) kill(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil && s.cmd.Process.Pid == pid && s.cmd.Process.Kill() == nil
}

// limit changes a limit of the worker if it is still that of pid; 0 stands for any that runs. value
// gets the present size of the journal.
func (s *slot) limit(pid, resource int, value func(pid int, journal uint64) uint64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil || pid != 0 && s.cmd.Process.Pid != pid || pid == 0 && s.state != running {
		return 0, errNotRunning
	}
	if resource == limitAddressSpace {
		s.squeezed = true
	}
	pid = s.cmd.Process.Pid
	return pid, limit(pid, resource, value(pid, uint64(s.sizeLocked())))
}

var errNotRunning = errors.New("no worker runs")

func (s *slot) wasSqueezed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.squeezed
}

// busy tells whether the worker runs, and has processed records since it started or woke up.
func (s *slot) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == running && s.sizeLocked() > s.mark
}

// pid returns the process of a running worker, or 0.
func (s *slot) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil || s.state != running {
		return 0
	}
	return s.cmd.Process.Pid
}

func (s *slot) sizeLocked() int64 {
	info, err := os.Stat(s.journal)
	if err != nil {
		return 0 // the worker has not made it yet
	}
	return info.Size()
}

// String names the slot in logs.
func (s *slot) String() string { return "worker " + strconv.Itoa(s.index) }
