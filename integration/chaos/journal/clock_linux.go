package journal

import (
	"syscall"
	"unsafe"
)

const clockMonotonic = 1 // CLOCK_MONOTONIC

// Now returns a time in nanoseconds. All processes of the machine have the same clock, and nobody
// sets it.
func Now() int64 {
	var t syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		panic(errno) // each kernel has this clock
	}
	return t.Nano()
}
