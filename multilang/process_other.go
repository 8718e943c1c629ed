//go:build !unix

package multilang

import (
	"os"
	"syscall"
)

// attributes has nothing to ask for: there are no process groups.
func attributes() *syscall.SysProcAttr { return nil }

// signalTerminate ends the process, because it cannot be asked.
func signalTerminate(p *os.Process) { _ = p.Kill() }

// signalKill ends the process. What it has started lives on.
func signalKill(p *os.Process) { _ = p.Kill() }

func remedy(error) string { return "" }
