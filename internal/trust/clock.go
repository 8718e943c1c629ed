package trust

import "time"

// Clock reads the two clocks of a machine. The wall clock can be set. The monotonic clock stands
// still while the machine is suspended. It is safe for concurrent use, except for a change of Wall.
type Clock struct {
	// Wall returns the time of the wall clock. Tests replace it.
	Wall func() time.Time
	mono func() time.Duration
}

// NewClock returns the clocks of this machine, with the wall clock that wall reads; nil means
// time.Now. The monotonic clock begins at zero.
func NewClock(wall func() time.Time) Clock {
	if wall == nil {
		wall = time.Now
	}
	start := time.Now()
	return Clock{
		Wall: func() time.Time { return wall().Round(0) },
		mono: func() time.Duration { return time.Since(start) },
	}
}

// Now returns the present moment.
func (c Clock) Now() Instant { return Instant{c.Wall(), c.mono()} }

// Instant is a moment on both clocks.
type Instant struct {
	Wall time.Time
	Mono time.Duration
}

// Since returns the time since j. It is the larger of the times on the two clocks, because an owner
// must not trust its lease for too long. So a wall clock that is set back does not lengthen a
// lease. A wall clock that has moved on during a suspension ends a lease.
func (i Instant) Since(j Instant) time.Duration {
	return max(i.Wall.Sub(j.Wall), i.Mono-j.Mono)
}
