package scheduler

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// syncState is the state of the shard sync of one stream. It is safe for concurrent use, except for
// first and anchor, which belong to the shard sync.
type syncState struct {
	first  *shardList // the first list of Run
	anchor string     // key of the row that this worker made first, see claim

	mu          sync.Mutex // guards the fields below
	claimed     bool       // the table and the stream's rows in it are this application's
	requested   bool       // a synchronisation before the next interval was requested
	last        time.Time  // the last synchronisation without an error
	failing     streak
	bad         []*leases.RowError // rows that cannot be read
	began       leases.Origin      // where the application began to read the stream, as the rows say
	beganLogged bool               // a difference between began and the configuration was logged
}

// isClaimed tells whether the stream's rows are known to be this application's. Until then no lease
// of the stream is taken.
func (s *syncState) isClaimed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claimed
}

func (s *syncState) setClaimed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed = true
}

// request asks for a synchronisation before the next interval.
func (s *syncState) request() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requested = true
}

// takeRequest tells whether a synchronisation was requested after the last call of takeRequest.
func (s *syncState) takeRequest() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	requested := s.requested
	s.requested = false
	return requested
}

// finished records the result of a synchronisation.
func (s *syncState) finished(err error, bad []*leases.RowError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failing.failed(err)
		return
	}
	s.failing, s.last, s.bad = streak{}, time.Now(), bad
}

// status returns the time of the last good synchronisation, and why later ones failed.
func (s *syncState) status() (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.failing.err
}

// trouble returns the error of the shard sync for Healthy. It also reports a synchronisation that
// never ends: the last good one is then older than the interval allows.
func (s *syncState) trouble(now time.Time, limit, interval time.Duration, label string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(s.failing.err, errRowsVanished):
		return fmt.Errorf("scheduler: %w", s.failing.err)
	case s.failing.err != nil && now.Sub(s.failing.since) >= limit:
		return fmt.Errorf("scheduler: the shards of stream %s cannot be listed since %s (last synchronised %s): %w", label,
			s.failing.since.UTC().Format(time.RFC3339), stamp(s.last), s.failing.err)
	case !s.last.IsZero() && now.Sub(s.last) >= limit+2*interval:
		return fmt.Errorf("scheduler: the shards of stream %s were last synchronised %s, due each %s: the service or "+
			"the lease store does not finish its answer", label, stamp(s.last), interval)
	case len(s.bad) > 0:
		return fmt.Errorf("scheduler: %d row(s) of the table cannot be read, nor their shards: %w", len(s.bad), s.bad[0])
	}
	return nil
}

// stamp formats a time for a message. A zero time is "never".
func stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return "at " + t.UTC().Format(time.RFC3339)
}

// origin returns where the application began to read the stream, by the rows of the last
// synchronisation. It is zero if unknown.
func (s *syncState) origin() leases.Origin {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// setOrigin records where the application began. differs is true the first time that began is not
// the configured position.
func (s *syncState) setOrigin(began, configured leases.Origin) (differs bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = began
	differs = !began.IsZero() && !began.Equal(configured) && !s.beganLogged
	s.beganLogged = s.beganLogged || differs
	return differs
}
