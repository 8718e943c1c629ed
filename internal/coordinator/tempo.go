package coordinator

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// tempo measures whether the store answers fast enough for FailoverTime. Within that time an owner
// must be able to renew, and others must be able to see that it does not.
type tempo struct {
	failover time.Duration

	mu      sync.Mutex    // guards the fields below
	listing time.Duration // how long the last listing took, or ran until its deadline
	writing time.Duration // of the slowest write of the last round with writes
	round   time.Duration // of the slowest write of this round
	wrote   int           // the number of writes of this round
	cut     int           // the number of writes of this round that ran into their deadline
	allCut  bool          // all writes of the last round with writes ran into their deadline
}

// tooSlow returns an error if the store was too slow in the last round.
func (t *tempo) tooSlow() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	const remedy = "raise FailoverTime in all workers, or give the lease table more capacity"
	switch {
	case t.listing > t.failover/2:
		return fmt.Errorf("leases: the lease table takes %s to list, which is too long for FailoverTime %s: "+
			"the leases of a dead worker are taken late: %s",
			t.listing.Round(time.Millisecond), t.failover, remedy)
	case t.allCut:
		return fmt.Errorf("leases: the lease table does not answer a write within %s, a third of FailoverTime %s: "+
			"leases can be neither taken nor kept: %s",
			t.failover/3, t.failover, remedy)
	}
	return nil
}

// listed notes how long a listing took.
func (t *tempo) listed(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listing = took
}

// written notes how long a write took, and whether it ran into its deadline.
func (t *tempo) written(took time.Duration, cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrote++
	t.round = max(t.round, took)
	if cut {
		t.cut++
	}
}

// endRound ends a round.
func (t *tempo) endRound() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.allCut = t.wrote > 0 && t.cut == t.wrote
	if t.wrote > 0 {
		t.writing = t.round
	}
	t.wrote, t.cut, t.round = 0, 0, 0
}

// slowestWrite returns the time of the slowest recent write.
func (t *tempo) slowestWrite() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(t.writing, t.round)
}

// logTempo ends a round, and logs once when the store has become too slow, and once when it is fast
// enough again.
func (s *scan) logTempo(ctx context.Context) {
	s.tempo.endRound()
	err := s.tempo.tooSlow()
	switch {
	case ctx.Err() != nil:
	case err != nil && !s.slow:
		s.log.Warn("lease table is too slow", "err", err)
	case err == nil && s.slow:
		s.log.Info("lease table is fast enough again")
	}
	s.slow = err != nil
}
