package multilang

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// attributes makes a child the leader of a process group. The kernel kills the child when the
// thread ends that forked it: see forker.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// loop runs the functions on a thread of its own. The thread ends with the goroutine, because that
// never unlocks it.
func (f *forker) loop() {
	defer close(f.ended)
	runtime.LockOSThread()
	for {
		select {
		case call := <-f.calls:
			call()
		case <-f.over:
			return
		}
	}
}

// pPID is the constant P_PID of waitid.
const pPID = 1

// wait waits for the process, and kills what is left of its group. The kernel gives the number of
// the process to no other one before forget. So the signal reaches no foreign group.
func (p *osProcess) wait() (*os.ProcessState, error) {
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(p.id), 0, syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if !errors.Is(errno, syscall.EINTR) {
			break
		}
	}
	p.awaitGroup()
	state, err := p.forget()
	reapOrphans(p.id)
	return state, err
}

// awaitGroup waits for the rest of the group, if SIGTERM has ended the process. A shell ends at
// once, and the program that it runs may need the time until SIGKILL.
func (p *osProcess) awaitGroup() {
	p.mu.Lock()
	terminated := p.terminated
	p.mu.Unlock()
	limit, tick := time.NewTimer(killTime), time.NewTicker(groupInterval)
	defer limit.Stop()
	defer tick.Stop()
	for terminated && groupLives(p.id) {
		select {
		case <-tick.C:
		case <-p.killed:
			return
		case <-limit.C:
			return
		}
	}
}

const groupInterval = 50 * time.Millisecond // between two looks at a group

// groupLives tells whether a process of the group has not ended.
func groupLives(group int) bool {
	processes, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return false
	}
	for _, name := range processes {
		stat, err := os.ReadFile(name) //nolint:gosec // the kernel names these files
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent group ...: the name may contain anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "Z" && fields[0] != "X" {
			return true
		}
	}
	return false
}

// forget kills the group of the process, which is a zombie, and removes the zombie.
func (p *osProcess) forget() (*os.ProcessState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	signalKill(p.proc)
	p.reaped = true
	return p.proc.Wait()
}

// reapOrphans waits for what was left of a group, so that no zombie stays. If this process is the
// first one of a container, it is the parent of processes whose parent has ended.
func reapOrphans(group int) {
	for {
		if _, err := syscall.Wait4(-group, nil, 0, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			return // there is none
		}
	}
}
