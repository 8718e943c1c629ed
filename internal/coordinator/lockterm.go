package coordinator

import (
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/leases"
)

// lockTerm is the lock while it is this worker's. The others count from when
// they saw a heartbeat, which is after it was sent; so until its duration has
// passed since then, nobody else is the leader.
type lockTerm struct {
	lock leases.LeaderLock // as written last
	sent instant           // when that was begun
}

// due is how long to wait before the next heartbeat.
func (t lockTerm) due(now instant) time.Duration {
	return max(0, kcl3.LockHeartbeat-now.since(t.sent))
}

// holds tells whether this worker may still act as the leader: a while before
// the others may take the lock it must have stopped.
func (t lockTerm) holds(now instant) bool {
	return now.since(t.sent) < time.Duration(trusted*float64(kcl3.Lifetime(t.lock)))
}
