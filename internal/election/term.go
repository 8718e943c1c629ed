package election

import (
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// lockTerm is the lock while it belongs to this worker. Other workers count the lock's duration
// from when they saw a heartbeat, which is after it was sent. So no other worker is the leader
// until that duration has passed since the heartbeat was sent.
type lockTerm struct {
	lock leases.LeaderLock // as written last
	sent trust.Instant     // when that write was sent
}

// due returns the time until the next heartbeat.
func (t lockTerm) due(now trust.Instant) time.Duration {
	return max(0, kcl3.LockHeartbeat-now.Since(t.sent))
}

// holds tells whether this worker may still act as the leader. It must stop a while before others
// may take the lock.
func (t lockTerm) holds(now trust.Instant) bool {
	return now.Since(t.sent) < trust.Window(kcl3.Lifetime(t.lock))
}
