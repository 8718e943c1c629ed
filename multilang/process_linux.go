package multilang

import (
	"errors"
	"os"
	"runtime"
	"syscall"
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
	state, err := p.forget()
	reapOrphans(p.id)
	return state, err
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
