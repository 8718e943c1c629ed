// Package fleetstart spreads the workers of a fleet that starts together over time.
package fleetstart

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

const (
	spreadEach  = 250 * time.Millisecond // of time for each worker of a fleet, when it starts together
	spreadMost  = 30 * time.Second
	spreadAsk   = 5 * time.Second // limit of each listing
	tagCheckers = 2               // workers of a fleet, on average, that check who owns the stream consumer
	tagSpread   = 4 * time.Second // added to their time: the service answers five such calls a second

	// watchTime is how long a worker watches the table at most.
	watchTime = 1500 * time.Millisecond
	// smallFleet is how many workers start without watching the table.
	smallFleet = int(watchTime / spreadEach)
)

// Spread keeps the workers of a fleet that starts together within the limits of the
// service's control plane: twenty descriptions of a stream a second for an account.
// Only a worker that finds others starting waits.
//
// The number of workers that start is not known. The table shows how many there may be,
// and a new table not even that. So a worker watches the table for a random time. The
// times are drawn so that few workers, of however many, have a short one. The first of
// them see no other worker and start. The others see a change in the table.
type Spread struct {
	// List lists the lease table.
	List func(ctx context.Context) (leases.Listing, error)
	// OpenShards counts the open shards of the configured streams.
	OpenShards func(ctx context.Context) (int, error)
	// FailoverTime is that of the application.
	FailoverTime time.Duration
	// Logger takes the log.
	Logger *slog.Logger
}

// Wait returns when this worker may start. checksTag says whether it is one of those
// that check who owns the stream consumer.
func (s *Spread) Wait(ctx context.Context) (checksTag bool, err error) {
	before, ok := s.observe(ctx)
	if !ok {
		return true, ctx.Err()
	}
	if before.workers > smallFleet {
		alone, err := s.watch(ctx, before)
		if alone || err != nil {
			return true, err
		}
	}
	delay, checksTag := drawStart(before.workers)
	if delay > 0 {
		s.Logger.DebugContext(ctx, "worker waits its turn to start", "workers", before.workers, "wait", delay)
	}
	return checksTag, retry.Sleep(ctx, delay)
}

// watch tells whether this worker may start at once: no other worker starts, or the
// others of the fleet work already.
func (s *Spread) watch(ctx context.Context, before tableView) (alone bool, err error) {
	begun := time.Now()
	if before.showsStarts() {
		if err := retry.Sleep(ctx, drawWatch(before.workers)); err != nil {
			return false, err
		}
		now, ok := s.observe(ctx)
		if !ok || now.sameAs(before) {
			return true, ctx.Err()
		}
	}
	if err := retry.Sleep(ctx, watchTime-time.Since(begun)); err != nil {
		return false, err
	}
	now, ok := s.observe(ctx)
	return !ok || now.working(before, time.Since(begun), s.FailoverTime), ctx.Err()
}

// patienceOf draws for how long a worker listens. The number of workers whose time
// has come grows e-fold in each equal part of the time. So the first of any number
// goes some moments before the second. A quarter of a worker does not listen at all.
func drawWatch(workers int) time.Duration {
	part := 1 + math.Log(1-rand.Float64())/math.Log(4*float64(workers))
	return time.Duration(max(0, part) * float64(watchTime))
}

// drawStart draws when a worker of a fleet starts, and whether it checks who owns the
// stream consumer.
func drawStart(workers int) (wait time.Duration, checksTag bool) {
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

// tableView is what the lease table shows of the workers that may exist.
type tableView struct {
	// workers counts the names in the table of present and last owners. For a new table
	// it is a guess: two workers for three shards.
	workers int
	rows    map[string]leases.Lease
}

// observe lists the table. It returns false when the number of workers is not known.
func (s *Spread) observe(ctx context.Context) (tableView, bool) {
	ctx, cancel := context.WithTimeout(ctx, spreadAsk)
	defer cancel()
	listing, err := s.List(ctx)
	if err != nil && !errors.Is(err, leases.ErrTableNotFound) {
		return tableView{}, false
	}
	seen := tableView{rows: make(map[string]leases.Lease, len(listing.Leases))}
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
	open, err := s.OpenShards(ctx)
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

// showsStarts tells whether a worker that starts soon changes the table: it makes the
// first row, or takes a free lease. Leases of killed workers change only when they expire.
func (v tableView) showsStarts() bool {
	for _, l := range v.rows {
		if l.Owner == "" && !l.Finished() {
			return true
		}
	}
	return len(v.rows) == 0
}

// sameAs tells whether nobody has written to a lease since before.
func (v tableView) sameAs(before tableView) bool {
	return len(v.rows) == len(before.rows) && v.active(before) == 0
}

// active counts the workers that renewed a lease, or took one, since before.
func (v tableView) active(before tableView) int {
	names := map[string]bool{}
	for key, l := range v.rows {
		if was, ok := before.rows[key]; l.Owner != "" && (!ok || l.Counter != was.Counter || l.Owner != was.Owner) {
			names[l.ActualOwner()] = true
		}
	}
	return len(names)
}

// working tells whether the workers that the table named before work. Each renews its
// leases every third of failover, so a shorter time shows only a part of them. A quarter
// of that part is enough: workers have more than one lease, or none now.
func (v tableView) working(before tableView, since, failover time.Duration) bool {
	seen := min(1, 3*since.Seconds()/failover.Seconds())
	return len(before.rows) > 0 && float64(v.active(before)) >= max(1, seen*float64(before.workers)/4)
}
