package scheduler

import "time"

// SetWallClock lets a test move the wall clock by what offset returns, as a machine
// does that was suspended. Call it before Run.
func (s *Scheduler) SetWallClock(offset func() time.Duration) {
	s.wall = func() time.Time { return time.Now().Add(offset()) }
}
