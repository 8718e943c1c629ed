//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package multilang

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
)

var stdoutTaken atomic.Bool

// takeStdout returns the standard output under another descriptor. Descriptor 1 becomes the
// standard error, so whatever this process or a child of it prints goes there.
func takeStdout() (*os.File, error) {
	if stdoutTaken.Swap(true) {
		return nil, errors.New("an earlier call of Serve has it: set Options.Output")
	}
	// A process that is started meanwhile must not inherit the descriptor, or the daemon would not
	// see the end of the output.
	syscall.ForkLock.RLock()
	private, err := syscall.Dup(1)
	if err == nil {
		syscall.CloseOnExec(private)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("duplicate descriptor 1: %w", err)
	}
	output := os.NewFile(uintptr(private), "standard output")
	if err := redirect(2, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("redirect descriptor 1 to the standard error: %w", err), output.Close())
	}
	return output, nil
}
