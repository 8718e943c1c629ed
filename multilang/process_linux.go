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
// the process to nobody before Wait. So the signal reaches no foreign group.
func (p *osProcess) wait() (*os.ProcessState, error) {
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(p.id), 0, syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if !errors.Is(errno, syscall.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	signalKill(p.proc)
	p.reaped = true
	return p.proc.Wait()
}
