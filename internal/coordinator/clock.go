package coordinator

import "time"

// clock reads the two clocks of a machine. The wall clock can be set; the
// monotonic one stands still while a machine is suspended. Tests replace them.
type clock struct {
	wall func() time.Time
	mono func() time.Duration
}

func newClock() clock { return newClockOf(nil) }

// newClockOf reads another wall clock.
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

// since is how much time has passed at least since j, as far as an owner may
// hope: the clock that has moved further counts. A wall clock that is set back
// does not lengthen a lease, and one that moved on during a suspension ends it.
func (i instant) since(j instant) time.Duration {
	return max(i.wall.Sub(j.wall), i.mono-j.mono)
}
