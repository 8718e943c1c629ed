//go:build !linux

package journal

import "time"

// Now returns a time in nanoseconds. It is the wall clock, which may be set meanwhile.
func Now() int64 { return time.Now().UnixNano() }
