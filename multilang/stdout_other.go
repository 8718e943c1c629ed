//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package multilang

import (
	"errors"
	"os"
	"sync/atomic"
)

var stdoutTaken atomic.Bool

// takeStdout returns the standard output, and makes os.Stdout the standard error. Code that does
// not use os.Stdout can still write to the standard output.
func takeStdout() (*os.File, error) {
	if stdoutTaken.Swap(true) {
		return nil, errors.New("an earlier call of Serve has it: set Options.Output")
	}
	output := os.Stdout
	os.Stdout = os.Stderr
	return output, nil
}
