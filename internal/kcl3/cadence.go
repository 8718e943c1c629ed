package kcl3

import "time"

// balanceEvery is how many assignments there are for one that evens out the load.
const balanceEvery = 3

// Cadence tells when to even out the load, for one term of a leader. The zero value begins a term.
type Cadence struct{ runs int }

// MayBalance tells whether the present assignment may even out the load. watched is how
// long the leader has watched the leases, and expiry is how long they need to expire. Before expiry
// the leader does not know which workers are dead, and MayBalance returns false.
func (c *Cadence) MayBalance(watched, expiry time.Duration) bool {
	if watched <= expiry {
		return false
	}
	c.runs++
	return c.runs%balanceEvery == 1
}
