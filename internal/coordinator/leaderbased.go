package coordinator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/election"
	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// frequentListingTime is how long the table is listed often while there are leases that no worker
// seems to read. If such leases remain after that time, no worker has room for them.
const frequentListingTime = time.Minute

// leaderBased is the assignment by a leader, as in KCL 3.x. This worker takes the leases whose rows
// name it as the owner. It also takes leases that the leader has neglected.
type leaderBased struct {
	*scanner
	keysByOwner leases.OwnerIndex
	elector     *election.Elector
	index       *ownerIndex
	work        *leaderWork

	neglectWatch   kcl3.NeglectWatch
	suspects       map[string]suspect
	hasUnread      bool           // there are leases that no worker seems to read
	unreadSince    time.Duration  // when that began, monotonic
	scansNeglected map[string]int // for each neglected lease, the number of scans in a row that showed it neglected
}

func newLeaderBased(s *scanner, fleet leases.FleetStore, e *election.Elector, index *ownerIndex) *leaderBased {
	a := &leaderBased{scanner: s, keysByOwner: fleet, elector: e, index: index, suspects: map[string]suspect{}}
	a.work = &leaderWork{scanner: s, store: fleet, elector: e, suspects: a.suspects}
	a.work.reset()
	return a
}

// round does a round while a leader assigns the leases. This worker takes the leases that are
// assigned to it. It finds them by the index, which costs little, and seldom lists the table.
// Only the leader lists the table each time.
func (a *leaderBased) round(ctx context.Context) (pause, error) {
	a.index.ensure(ctx)
	_, lead := a.elector.Leads()
	if !lead {
		a.work.clearUnassigned()
	}
	if !lead && a.index.ready && !a.listDue() {
		if a.takeAssigned(ctx) {
			return a.nextPause(), nil
		}
	}
	v, err := a.list(ctx, true)
	if err != nil {
		if lead {
			a.work.countFailure(ctx, err)
		}
		return fullPause, err
	}
	a.suspectOwners(v.Rows)
	neglected := a.findNeglected(&v)
	a.handovers.Observe(a.listedAt, v.Leases())
	a.runPlans(ctx, &v, func(v plan.View) []plan.Action { return plan.Led(v, neglected) })
	if lead {
		a.work.run(ctx, &v)
	}
	a.recordRound(v)
	a.countHeld()
	return a.nextPause(), nil
}

// nextPause returns how long to wait after a round.
func (a *leaderBased) nextPause() pause {
	if a.roundCutShort {
		return briefPause
	}
	return fullPause
}

// listDue tells whether a worker that does not lead lists the table now. It does so to find
// neglected leases, and for the callers of Lookup and Leases.
func (a *leaderBased) listDue() bool {
	age := a.clock.Now().Mono - a.listedAt
	switch {
	case a.listedAt == 0 || a.scanRequested:
		return true
	case a.hasUnread && a.clock.Now().Mono-a.unreadSince < frequentListingTime:
		return true
	default: // less than FailoverTime, after which sightings begin anew
		return age >= a.cfg.FailoverTime*7/10-jitter(a.cfg.FailoverTime/10)
	}
}

// findNeglected returns the keys of the leases that the leader has neglected. It writes into the
// rows of v for how many scans in a row they have been neglected.
func (a *leaderBased) findNeglected(v *plan.View) map[string]bool {
	neglected := a.neglectWatch.Observe(a.clock.Now().Mono, kcl3Rows(v),
		a.cfg.FailoverTime, trust.Respect(a.cfg.FailoverTime))
	scansNeglected, waiting := map[string]int{}, v.Waiting()
	hadUnread := a.hasUnread
	a.hasUnread = false
	for i := range v.Rows {
		r := &v.Rows[i]
		if waiting[r.Key] {
			delete(neglected, r.Key)
			continue
		}
		r.ScansWaited = a.scansNeglected[r.Key]
		a.hasUnread = a.hasUnread || (!r.Finished() && (r.Quiet || r.ActualOwner() == ""))
		if neglected[r.Key] {
			scansNeglected[r.Key] = r.ScansWaited + 1
		}
	}
	if a.hasUnread && !hadUnread {
		a.unreadSince = a.listedAt
	}
	if len(neglected) > 0 && len(a.scansNeglected) == 0 {
		a.log.Warn("taking leases that the leader of the fleet has neglected",
			"leases", len(neglected), "leader", a.elector.Leader())
	}
	a.scansNeglected = scansNeglected
	return neglected
}

// takeAssigned asks the index for the leases of this worker, and takes them. It returns false when
// the index cannot be used.
func (a *leaderBased) takeAssigned(ctx context.Context) bool {
	call, cancel := context.WithTimeout(ctx, a.cfg.FailoverTime)
	keys, err := a.keysByOwner.OwnedBy(call, a.cfg.WorkerID)
	cancel()
	switch {
	case errors.Is(err, leases.ErrNoIndex), errors.Is(err, kcl.ErrAccessDenied):
		a.index.ready = false
		return false
	case err != nil:
		if ctx.Err() == nil {
			a.cfg.Metrics.LeaseStoreError("query")
			if !a.index.queryFailed {
				a.log.Warn("leases of this worker cannot be read from the index, trying again", "err", err)
			}
			a.index.queryFailed = true
		}
		return true
	}
	a.index.queryFailed = false
	rows := a.getRows(ctx, a.keysToRead(keys))
	a.storeNewer(rows...)
	rows = slices.DeleteFunc(rows, func(l leases.Lease) bool { return l.Owner != a.cfg.WorkerID || a.giveBackRefused(l) })
	parallel.Do(len(rows), maxParallel, func(i int) { a.takeOrAwait(ctx, rows[i], "assigned") })
	if len(rows) > 0 {
		a.countHeld()
	}
	return true
}

// keysToRead returns the keys of the leases to read. keys are those of the leases of this worker.
// It returns those that have no consumer and could get one. It adds the parents that consumers of
// this worker wait for, so that the worker sees their end before the next scan.
func (a *leaderBased) keysToRead(keys []string) []string {
	now := a.clock.Now().Mono
	var read []string
	reads := map[string]bool{}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, key := range keys {
		avoid := a.avoided[key]
		if a.active[key] == nil && !a.rows[key].Finished() && !a.arrivals.has(key) && (avoid == nil || now >= avoid.until) {
			read, reads[key] = append(read, key), true
		}
	}
	for _, h := range a.active {
		l := h.Lease()
		if l.Started() {
			continue
		}
		for _, parent := range l.Parents {
			key := strings.TrimSuffix(l.Key, l.ShardID) + parent
			if row, ok := a.rows[key]; ok && !row.Finished() && a.active[key] == nil && !reads[key] {
				read, reads[key] = append(read, key), true
			}
		}
	}
	return read
}

// giveBackRefused gives back a lease of a stream that this worker does not read. The worker avoids
// the lease for a while then, because the leader may assign it again.
func (a *leaderBased) giveBackRefused(l leases.Lease) bool {
	if l.Owner != a.cfg.WorkerID || l.CheckpointOwner != "" || l.Finished() || a.cfg.Accept(l) {
		return false
	}
	a.avoid(l.Key, false, a.cfg.FailoverTime, 10*time.Minute)
	a.log.Warn("leader assigned a lease of a stream that this worker does not read, giving it back: "+
		"all workers must read the same streams", "lease", l.Key)
	a.giveBack(l)
	return true
}

// leave gives back leases that were assigned to this worker while it stopped.
func (a *leaderBased) leave(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, a.rowTimeout())
	defer cancel()
	keys, err := a.keysByOwner.OwnedBy(call, a.cfg.WorkerID)
	if err != nil {
		return // the leases expire
	}
	a.mu.Lock()
	keys = slices.DeleteFunc(keys, func(key string) bool { return a.active[key] != nil || a.rows[key].Finished() })
	a.mu.Unlock()
	parallel.Do(len(keys), maxParallel, func(i int) {
		if l, err := a.getRow(ctx, keys[i]); err == nil && l.Owner == a.cfg.WorkerID && l.CheckpointOwner == "" {
			a.withdraw(l)
		}
	})
}

// jitter returns a random part of d.
func jitter(d time.Duration) time.Duration { return chance.N(d+1, "jitter") }
