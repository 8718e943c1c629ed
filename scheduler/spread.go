package scheduler

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

const (
	spreadEach  = 250 * time.Millisecond // of time for each worker of a fleet, when it starts together
	spreadMost  = 30 * time.Second
	spreadAsk   = 5 * time.Second // how long may be spent on each look at who is there
	tagCheckers = 2               // of a fleet, on average, ask whose the stream consumer is,
	tagSpread   = 4 * time.Second // within so much more time: the service answers five a second

	// listening is for how long a worker listens at most before it knows whether
	// others start with it.
	listening = 1500 * time.Millisecond
	// smallFleet is how many workers are told apart without listening.
	smallFleet = int(listening / spreadEach)
)

// spread keeps the workers of a fleet that starts together within what the service's
// control plane takes in a second: twenty descriptions of a stream for a whole
// account. Only a worker that finds others on its way waits for its turn.
//
// How many workers start is not known: the table shows how many there may be, and a
// new table not even that. So a worker listens to the table for a random while. Those
// times are drawn so that few workers, of however many, have a short one. The first
// of them find nobody and go. The others see in the table that somebody has come.
func (s *Scheduler) spread(ctx context.Context) error {
	before, ok := s.look(ctx)
	if !ok {
		s.checksTag = true
		return ctx.Err()
	}
	if before.workers > smallFleet {
		alone, err := s.listen(ctx, before)
		if alone || err != nil {
			s.checksTag = true
			return err
		}
	}
	wait, checksTag := turn(before.workers)
	s.checksTag = checksTag
	if wait > 0 {
		s.log.DebugContext(ctx, "worker waits its turn to start", "workers", before.workers, "wait", wait)
	}
	return retry.Sleep(ctx, wait)
}

// listen finds out whether this worker may go at once: nobody starts with it, or the
// others of the fleet are at work already.
func (s *Scheduler) listen(ctx context.Context, before sight) (goes bool, err error) {
	begun := time.Now()
	if before.telling() {
		if err := retry.Sleep(ctx, patienceOf(before.workers)); err != nil {
			return false, err
		}
		now, ok := s.look(ctx)
		if !ok || now.sameAs(before) {
			return true, ctx.Err()
		}
	}
	if err := retry.Sleep(ctx, listening-time.Since(begun)); err != nil {
		return false, err
	}
	now, ok := s.look(ctx)
	return !ok || now.runs(before, time.Since(begun), s.cfg.FailoverTime), ctx.Err()
}

// patienceOf draws for how long a worker listens. The number of workers whose time
// has come grows e-fold in each equal part of the time. So the first of any number
// goes some moments before the second. A quarter of a worker does not listen at all.
func patienceOf(workers int) time.Duration {
	part := 1 + math.Log(1-rand.Float64())/math.Log(4*float64(workers))
	return time.Duration(max(0, part) * float64(listening))
}

// turn draws when a worker of a fleet begins, and whether it is one of those that
// ask whose the stream consumer is.
func turn(workers int) (wait time.Duration, checksTag bool) {
	checksTag = workers <= tagCheckers || rand.N(workers) < tagCheckers
	if workers <= 1 {
		return 0, checksTag
	}
	within := min(time.Duration(workers)*spreadEach, spreadMost)
	if checksTag && workers > tagCheckers {
		within += min(within, tagSpread)
	}
	return rand.N(within), checksTag
}

// sight is what the table shows of the workers that may be there.
type sight struct {
	// workers is how many there may be: those that the table names as owners now, or
	// as the last. A new table names none; then two for three shards are taken for
	// likely.
	workers int
	rows    map[string]leases.Lease
}

// look returns what the table shows; false when it cannot be told.
func (s *Scheduler) look(ctx context.Context) (sight, bool) {
	ctx, cancel := context.WithTimeout(ctx, spreadAsk)
	defer cancel()
	listing, err := s.cfg.Leases.List(ctx)
	if err != nil && !errors.Is(err, leases.ErrTableNotFound) {
		return sight{}, false
	}
	seen := sight{rows: make(map[string]leases.Lease, len(listing.Leases))}
	names := map[string]bool{}
	for _, l := range listing.Leases {
		seen.rows[l.Key] = l
		if name := lastOwner(l); name != "" {
			names[name] = true
		}
	}
	seen.workers = len(names)
	if len(seen.rows) > 0 {
		return seen, true
	}
	open, err := s.control.openShards(ctx, s.cfg.Streams)
	seen.workers = open * 2 / 3
	return seen, err == nil
}

// lastOwner names the worker that has a lease, or had it last; empty when none is known.
func lastOwner(l leases.Lease) string {
	if l.Owner != "" {
		return l.ActualOwner()
	}
	return l.NativeOwner
}

// telling says whether a worker that starts would soon change something that others
// see: it makes the first row, or takes a free lease. The leases of workers that
// were killed change only once they expire, which nobody has to hurry for.
func (v sight) telling() bool {
	for _, l := range v.rows {
		if l.Owner == "" && !l.Finished() {
			return true
		}
	}
	return len(v.rows) == 0
}

// sameAs tells whether nobody has written to a lease since before.
func (v sight) sameAs(before sight) bool {
	return len(v.rows) == len(before.rows) && v.active(before) == 0
}

// active counts the workers that renewed a lease, or took one, since before.
func (v sight) active(before sight) int {
	names := map[string]bool{}
	for key, l := range v.rows {
		if was, ok := before.rows[key]; l.Owner != "" && (!ok || l.Counter != was.Counter || l.Owner != was.Owner) {
			names[l.ActualOwner()] = true
		}
	}
	return len(names)
}

// runs tells whether the workers that the table named before are at work. Each
// renews its leases every third of failover, so in a shorter time a part of them is seen to.
// A quarter of that part is enough, as the others have more than one lease, or none now.
func (v sight) runs(before sight, since, failover time.Duration) bool {
	seen := min(1, 3*since.Seconds()/failover.Seconds())
	return len(before.rows) > 0 && float64(v.active(before)) >= max(1, seen*float64(before.workers)/4)
}
