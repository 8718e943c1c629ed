package coordinator

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// tempo measures whether the store answers fast enough for FailoverTime. Within that time an owner
// must be able to renew. Others must be able to see within it that an owner does not renew.
type tempo struct {
	failover time.Duration

	mu               sync.Mutex    // guards the fields below
	listTime         time.Duration // how long the last listing took, or ran until its deadline
	slowestLastRound time.Duration // of the slowest write of the last round with writes
	slowestThisRound time.Duration // of the slowest write of this round
	writes           int           // the number of writes of this round
	timeouts         int           // the number of writes of this round that ran into their deadline
	allTimedOut      bool          // all writes of the last round with writes ran into their deadline
}

// tooSlow returns an error if the store was too slow in the last round.
func (t *tempo) tooSlow() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	const remedy = "raise FailoverTime in all workers, or give the lease table more capacity"
	switch {
	case t.listTime > t.failover/2:
		return fmt.Errorf("leases: the lease table takes %s to list, which is too long for FailoverTime %s: "+
			"the leases of a dead worker are taken late: %s",
			t.listTime.Round(time.Millisecond), t.failover, remedy)
	case t.allTimedOut:
		return fmt.Errorf("leases: the lease table does not answer a write within %s, a third of FailoverTime %s: "+
			"leases can be neither taken nor kept: %s",
			t.failover/3, t.failover, remedy)
	}
	return nil
}

// recordListing records how long a listing took.
func (t *tempo) recordListing(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listTime = took
}

// recordWrite records how long a write took, and whether it ran into its deadline.
func (t *tempo) recordWrite(took time.Duration, timedOut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes++
	t.slowestThisRound = max(t.slowestThisRound, took)
	if timedOut {
		t.timeouts++
	}
}

// endRound ends a round.
func (t *tempo) endRound() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.allTimedOut = t.writes > 0 && t.timeouts == t.writes
	if t.writes > 0 {
		t.slowestLastRound = t.slowestThisRound
	}
	t.writes, t.timeouts, t.slowestThisRound = 0, 0, 0
}

// slowestWrite returns the time of the slowest recent write.
func (t *tempo) slowestWrite() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(t.slowestLastRound, t.slowestThisRound)
}

// logTempo ends a round. It logs once when the store has become too slow, and once when it is fast
// enough again.
func (s *scanner) logTempo(ctx context.Context) {
	s.tempo.endRound()
	err := s.tempo.tooSlow()
	switch {
	case ctx.Err() != nil:
	case err != nil && !s.slowWarned:
		s.log.Warn("lease table is too slow", "err", err)
	case err == nil && s.slowWarned:
		s.log.Info("lease table is fast enough again")
	}
	s.slowWarned = err != nil
}
