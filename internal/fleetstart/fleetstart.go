// Package fleetstart spreads the workers of a fleet that starts together over time.
package fleetstart

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"time"

	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

const (
	timePerWorker = 250 * time.Millisecond // the time over which starts are spread, for each worker
	maxSpread     = 30 * time.Second       // the limit of that time for all workers together
	listTimeout   = 5 * time.Second        // the limit of each listing
	tagCheckers   = 2                      // workers of a fleet, on average, that check the stream consumer's owner
	tagSpread     = 4 * time.Second        // added to their time, because the service answers five such calls a second

	// watchTime is the longest time for which a worker watches the table.
	watchTime = 1500 * time.Millisecond
	// smallFleet is the largest fleet that starts without watching the table.
	smallFleet = int(watchTime / timePerWorker)
)

// Spread delays the starts of a fleet's workers, so that they stay within the limits of the
// service's control plane. An account has twenty descriptions of a stream a second. A worker waits
// only if it finds other workers starting.
//
// The number of starting workers is unknown. A table with rows shows how many workers there may be,
// and a new table does not. So a worker watches the table for a random time. Few workers draw a
// short time, in a fleet of any size. The first of these see no other worker and start. The others
// see a change in the table.
type Spread struct {
	// List lists the lease table.
	List func(ctx context.Context) (leases.Listing, error)
	// OpenShards counts the open shards of the configured streams.
	OpenShards func(ctx context.Context) (int, error)
	// FailoverTime is the application's FailoverTime.
	FailoverTime time.Duration
	// Logger gets a debug line about a wait.
	Logger *slog.Logger
}

// Wait returns when this worker may start. checksTag tells whether this worker checks the owner of
// the stream consumer.
func (s *Spread) Wait(ctx context.Context) (checksTag bool, err error) {
	before, ok := s.observe(ctx)
	if !ok {
		return true, ctx.Err()
	}
	if before.workers > smallFleet {
		mayStart, err := s.watch(ctx, before)
		if mayStart || err != nil {
			return true, err
		}
	}
	delay, checksTag := drawStart(before.workers)
	if delay > 0 {
		s.Logger.DebugContext(ctx, "worker waits before it starts", "workers", before.workers, "wait", delay)
	}
	return checksTag, retry.Sleep(ctx, delay)
}

// watch tells whether this worker may start at once. It may if no other worker starts, or if the
// other workers of the fleet work already.
func (s *Spread) watch(ctx context.Context, before tableView) (mayStart bool, err error) {
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

// drawWatch draws for how long a worker watches the table. The number of workers whose time is over
// grows e-fold in each equal part of watchTime. So in a fleet of any size, the first worker starts
// some moments before the second. On average, a quarter of one worker does not watch at all.
func drawWatch(workers int) time.Duration {
	part := 1 + math.Log(1-chance.Float64("watch"))/math.Log(4*float64(workers))
	return time.Duration(max(0, part) * float64(watchTime))
}

// drawStart draws how long a worker of a fleet waits, and whether it checks the owner of the stream
// consumer.
func drawStart(workers int) (wait time.Duration, checksTag bool) {
	checksTag = workers <= tagCheckers || chance.N(workers, "tag") < tagCheckers
	if workers <= 1 {
		return 0, checksTag
	}
	spread := min(time.Duration(workers)*timePerWorker, maxSpread)
	if checksTag && workers > tagCheckers {
		spread += min(spread, tagSpread)
	}
	return chance.N(spread, "start"), checksTag
}

// tableView has the rows of one listing, and the number of workers that may exist.
type tableView struct {
	// workers counts the present and last owners that the table names. For a new table it is an
	// estimate: two workers for three shards.
	workers int
	rows    map[string]leases.Lease
}

// observe lists the table. It returns false if the number of workers is unknown.
func (s *Spread) observe(ctx context.Context) (tableView, bool) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
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

// lastOwner returns the present or the last owner of a lease, or an empty string.
func lastOwner(l leases.Lease) string {
	if l.Owner != "" {
		return l.ActualOwner()
	}
	return l.NativeOwner
}

// showsStarts tells whether a starting worker soon changes the table, because it makes the first
// row or takes a free lease. The leases of killed workers change only after they have expired.
func (v tableView) showsStarts() bool {
	for _, l := range v.rows {
		if l.Owner == "" && !l.Finished() {
			return true
		}
	}
	return len(v.rows) == 0
}

// sameAs tells whether no lease was written since the view before.
func (v tableView) sameAs(before tableView) bool {
	return len(v.rows) == len(before.rows) && v.active(before) == 0
}

// active counts the workers that have renewed or taken a lease since the view before.
func (v tableView) active(before tableView) int {
	names := map[string]bool{}
	for key, l := range v.rows {
		if was, ok := before.rows[key]; l.Owner != "" && (!ok || l.Counter != was.Counter || l.Owner != was.Owner) {
			names[l.ActualOwner()] = true
		}
	}
	return len(names)
}

// working tells whether the workers of the view before are at work. Each worker renews its leases
// every third of failover. So a shorter time shows only a part of the workers. A quarter of that
// part is enough, because a named worker may have no lease now.
func (v tableView) working(before tableView, since, failover time.Duration) bool {
	visible := min(1, 3*since.Seconds()/failover.Seconds())
	return len(before.rows) > 0 && float64(v.active(before)) >= max(1, visible*float64(before.workers)/4)
}
