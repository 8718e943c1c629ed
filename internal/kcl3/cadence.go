package kcl3

import "time"

// balanceEvery is how many assignments there are for one that evens out the load.
const balanceEvery = 3

// Cadence tells when to even out the load, for one term of a leader. The zero value is the
// beginning.
type Cadence struct{ runs int }

// Next tells whether the present assignment may even out the load. A new leader does not know which
// workers are dead until it has watched the leases for as long as they need to expire. Until then
// the answer is no.
func (c *Cadence) Next(watched, expiry time.Duration) bool {
	if watched <= expiry {
		return false
	}
	c.runs++
	return c.runs%balanceEvery == 1
}
