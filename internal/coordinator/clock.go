package coordinator

import "time"

// clock reads the two clocks of a machine. The wall clock can be set. The monotonic clock stands
// still while the machine is suspended. Tests replace them.
type clock struct {
	wall func() time.Time
	mono func() time.Duration
}

// newClock returns the clocks of this machine.
func newClock() clock { return newClockOf(nil) }

// newClockOf returns clocks with another wall clock; nil means time.Now.
func newClockOf(wall func() time.Time) clock {
	if wall == nil {
		wall = time.Now
	}
	start := time.Now()
	return clock{
		wall: func() time.Time { return wall().Round(0) },
		mono: func() time.Duration { return time.Since(start) },
	}
}

// instant is a moment on both clocks.
type instant struct {
	wall time.Time
	mono time.Duration
}

func (c clock) now() instant { return instant{c.wall(), c.mono()} }

// since returns the time that has passed since j, for an owner that must not trust its lease for
// too long. It is the larger one of the times on the two clocks. So a wall clock that is set back
// does not lengthen a lease. One that has moved on during a suspension ends it.
func (i instant) since(j instant) time.Duration {
	return max(i.wall.Sub(j.wall), i.mono-j.mono)
}
