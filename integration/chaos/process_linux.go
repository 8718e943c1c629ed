package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// Resources of prlimit(2).
const (
	limitFileSize     = 1 // RLIMIT_FSIZE: the bytes of a file, beyond which writes fail
	limitAddressSpace = 9 // RLIMIT_AS: the virtual memory of the process
	unlimited         = ^uint64(0)
)

// limitsWork says that limits of another process can be changed while it runs.
const limitsWork = true

// limit changes the soft limit of a process.
func limit(pid, resource int, value uint64) error {
	limits := [2]uint64{value, unlimited} // soft and hard
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), uintptr(resource),
		uintptr(unsafe.Pointer(&limits)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("change limit %d of process %d: %w", resource, pid, errno)
	}
	return nil
}

// child has a process end with this program.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// memory returns a value of a process's status in bytes, such as VmRSS. 0 means unknown.
func memory(pid int, name string) uint64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), name+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, _ := strconv.ParseUint(fields[0], 10, 64) // 0 if the kernel does not tell
	return kilobytes << 10
}

// descriptors counts the open descriptors of a process, and the sockets among them.
func descriptors(pid int) (all, sockets int) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return 0, 0
	}
	for _, entry := range entries {
		if target, err := os.Readlink(filepath.Join(folder, entry.Name())); err == nil {
			all++
			if strings.HasPrefix(target, "socket:") {
				sockets++
			}
		}
	}
	return all, sockets
}
