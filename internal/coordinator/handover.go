package coordinator

import (
	"time"
)

// handoverTime is what an owner of the KCL has to hand over a lease. (Its
// gracefulLeaseHandoffTimeoutMillis.)
const handoverTime = 30 * time.Second

// handover is for how long this worker may hand over a lease.
func (c Config) handover() time.Duration { return c.ShutdownTimeout + abandonAfter }

// handoverLimit is for how long a lease may be handed over before it is assigned
// whatever its owner does, which may need told; 0 when it did not say so.
func (c Config) handoverLimit(told time.Duration) time.Duration {
	if told == 0 {
		told = c.handover() // the same in all workers
	}
	return max(handoverTime, told) + c.FailoverTime
}
