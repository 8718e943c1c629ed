package main

import (
	"math"
	"syscall"
)

// rlimitProcesses is RLIMIT_NPROC, which package syscall does not name.
const rlimitProcesses = 6

// systemLimits reads the limits of this process.
func systemLimits() limits {
	return limits{descriptors: limit(syscall.RLIMIT_NOFILE), processes: limit(rlimitProcesses)}
}

func limit(resource int) int64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(resource, &l); err != nil || l.Cur > math.MaxInt64 {
		return -1
	}
	return int64(l.Cur)
}
