package coordinator

import "time"

// SetWallClock lets a test move the wall clock by what offset returns.
func (c *Coordinator) SetWallClock(offset func() time.Duration) {
	wall := c.clock.Wall
	c.clock.Wall = func() time.Time { return wall().Add(offset()) }
}
