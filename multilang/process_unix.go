//go:build unix

package multilang

import (
	"errors"
	"os"
	"syscall"
)

// signalTerminate asks the group of the process to end.
func signalTerminate(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGTERM) }

// signalKill ends the group of the process. A group that has ended is no error.
func signalKill(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// remedy says what to do about a system that refuses to start a process. It is empty if there is
// nothing to say.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return ": raise the limit of open files (ulimit -n), each child needs 3 of them"
	case errors.Is(err, syscall.EAGAIN):
		return ": raise the limit of processes (ulimit -u, pids.max of the control group), each shard needs one"
	case errors.Is(err, syscall.ENOMEM):
		return ": give more memory, or read fewer shards in each worker"
	}
	return ""
}
