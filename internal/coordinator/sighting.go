package coordinator

import (
	"time"

	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// Sighting says since when a worker has seen a row's counter stand still. It is pure. The search of
// internal/smallworld uses it too.
//
// After a long time without a listing the wait begins anew. After an outage every worker is late.
// The first worker to list the table must not take leases that the others are about to renew. The
// wait begins anew only once for each counter. Otherwise no lease would expire where each listing
// comes late, or where most listings fail.
type Sighting struct {
	// Counter is the counter of the row.
	Counter int64
	// Since is when a listing showed the counter first, monotonic.
	Since time.Duration
	// Excused says that the wait for this counter has begun anew once.
	Excused bool
}

// See returns the sighting after a listing at the time now that shows the row with counter. late
// says that the listing comes long after the one before. restarted tells that the wait begins anew
// for that reason.
func (s Sighting) See(counter int64, now time.Duration, late bool) (seen Sighting, restarted bool) {
	switch {
	case s.Counter != counter:
		return Sighting{Counter: counter, Since: now, Excused: late}, false
	case late && !s.Excused:
		return Sighting{Counter: counter, Since: now, Excused: true}, true
	}
	return s, false
}

// Judge tells whether the lease l is expired or quiet at the monotonic time now, see plan.Row.
func (s Sighting) Judge(l leases.Lease, now, failover time.Duration) (expired, quiet bool) {
	unchangedFor := now - s.Since
	return l.ActualOwner() != "" && trust.Expired(failover, unchangedFor), unchangedFor >= failover*7/10
}

// Late tells whether a listing comes long after the one before. since is the time between both.
func Late(failover, since time.Duration) bool { return since > failover }
