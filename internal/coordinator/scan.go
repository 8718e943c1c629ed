package coordinator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// scan lists the table and judges the rows. Its methods belong to the goroutine in Run.
type scan struct {
	*table
	sightings map[string]sighting
	watched   time.Duration // when the table was listed last, monotonic
	// watchBegan is since when the sightings have been without a break.
	watchBegan time.Duration
	waited     map[string]int    // see row.waited
	warned     map[string]string // the warnings about unreadable rows, by key
	scale      plan.Scale
	handovers  kcl3.HandoverWatch
	starved    bool // a lease has waited for too many scans
	asked      bool // a scan was asked for
	slow       bool // a warning was logged that the store is too slow
}

func newScan(t *table) *scan {
	return &scan{table: t, sightings: map[string]sighting{}, waited: map[string]int{}, warned: map[string]string{}}
}

// sighting is since when a row's counter has been seen to stand still.
//
// After a long time without a listing the wait begins anew, once for each counter. After an outage
// every worker is late, and the first one to list the table must not take leases that the others
// are about to renew. Only once, because otherwise nothing would expire where each listing comes
// late or most of them fail.
type sighting struct {
	counter int64
	since   time.Duration // monotonic
	excused bool
}

// see takes in a listing that shows the row with counter. late says that it comes long after the
// one before. again tells that the sighting begins anew for that reason.
func (s sighting) see(counter int64, now time.Duration, late bool) (next sighting, again bool) {
	switch {
	case s.counter != counter:
		return sighting{counter: counter, since: now, excused: late}, false
	case late && !s.excused:
		return sighting{counter: counter, since: now, excused: true}, true
	}
	return s, false
}

// list reads the table and judges the rows. weigh says that throughput decides, or soon may,
// whatever Config.Balance is.
func (s *scan) list(ctx context.Context, weigh bool) (plan.View, error) {
	call, cancel := context.WithTimeout(ctx, s.cfg.FailoverTime)
	defer cancel()
	begun := time.Now()
	listing, err := s.cfg.Store.List(call)
	if err == nil || errors.Is(call.Err(), context.DeadlineExceeded) {
		s.tempo.listed(time.Since(begun))
	}
	if err != nil {
		return plan.View{}, err
	}
	s.reportBad(listing.Bad)
	s.asked = false
	return s.observe(listing.Leases, weigh), nil
}

// failed keeps and logs the error of a scan.
func (s *scan) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.cfg.Metrics.LeaseStoreError("list")
	s.mu.Lock()
	first := s.err == nil || errors.Is(err, leases.ErrTableNotFound) != errors.Is(s.err, leases.ErrTableNotFound)
	s.err = err
	s.mu.Unlock()
	switch {
	case !first:
		s.log.Debug("lease table cannot be listed", "err", err)
	case errors.Is(err, leases.ErrTableNotFound):
		s.log.Error("lease table is gone with its checkpoints, and a running worker does not make it again: "+
			"restore it, or stop all workers and start them again", "err", err)
	default:
		s.log.Warn("lease table cannot be listed, trying again", "err", err)
	}
}

// reportBad warns once of each row that cannot be read.
func (s *scan) reportBad(bad []*leases.RowError) {
	s.cfg.Metrics.SetLeaseRowsInvalid(len(bad))
	now := make(map[string]string, len(bad))
	for _, e := range bad {
		now[e.Key] = e.Error()
		if s.warned[e.Key] != e.Error() {
			s.log.Warn("lease row cannot be read and is left alone; repair or delete it", "lease", e.Key, "err", e.Err)
		}
	}
	s.warned = now
}

// observe turns a listing into the view for a plan. It uses only this worker's own observations:
// how long a counter has stood still on its own monotonic clock, from when the answer came that
// showed the counter first.
func (s *scan) observe(listed []leases.Lease, weigh bool) plan.View {
	now := s.clock.Now().Mono
	v := plan.View{Me: s.cfg.WorkerID, Max: s.cfg.MaxLeasesForWorker, By: s.cfg.Balance, Asks: 1}
	coming := s.arrivals.all()
	sightings := make(map[string]sighting, len(listed))
	rows := make(map[string]leases.Lease, len(listed))

	accepted := make(map[string]bool, len(listed))
	for _, l := range listed {
		accepted[l.Key] = s.cfg.Accept(l)
	}
	s.mu.Lock()
	again := s.err != nil
	s.err = nil
	s.mu.Unlock()
	if again {
		s.log.Info("lease table can be listed again")
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	first, late := s.watched == 0, now-s.watched > s.cfg.FailoverTime
	if first {
		s.watchBegan = now
	}
	s.watched = now
	for _, l := range listed {
		h := s.active[l.Key]
		if h != nil {
			// The listing is older than the holder's last write.
			if mine := h.Lease(); mine.Counter > l.Counter {
				l = mine
			}
		}
		if h == nil {
			l = s.withUnlistedLocked(l, now)
		}
		if known, ok := coming[l.Key]; ok && h == nil && known.Counter >= l.Counter {
			l = known // written or read after the listing
		}
		sight, ok := s.sightings[l.Key]
		switch {
		case !ok:
			sight = sighting{counter: l.Counter, since: now, excused: late && !first}
		default:
			var anew bool
			if sight, anew = sight.see(l.Counter, now, late); anew {
				s.watchBegan = now
			}
		}
		sightings[l.Key], rows[l.Key] = sight, l
		if !accepted[l.Key] {
			continue
		}
		still := now - sight.since
		avoid := s.avoided[l.Key]
		r := plan.Row{
			Lease:       l,
			Expired:     l.ActualOwner() != "" && still >= trust.Respect(s.cfg.FailoverTime),
			Quiet:       still >= s.cfg.FailoverTime*7/10,
			Busy:        h != nil || (avoid != nil && now < avoid.until),
			ScansWaited: s.waited[l.Key],
		}
		if h != nil && !h.Ended() {
			r.Expired, r.Quiet = false, false
		}
		if l.Owner == v.Me && !l.Finished() {
			v.Asks = -1 // the other workers can see this worker
		}
		v.Rows = append(v.Rows, r)
	}
	for key := range s.avoided {
		if _, ok := rows[key]; !ok {
			delete(s.avoided, key)
		}
	}
	s.sightings, s.rows = sightings, rows
	s.vanished.CheckListing(now, rows)
	slices.SortFunc(v.Rows, func(a, b plan.Row) int { return strings.Compare(a.Key, b.Key) })
	if weigh || v.By == leases.BalanceThroughput {
		s.scale.AddThroughput(s.cfg.FailoverTime, &v, now)
	}
	return v
}

// remember keeps the results of a round for the next one.
func (s *scan) remember(v plan.View) {
	waited, waiting := map[string]int{}, v.Waiting()
	held, starved := 0, false
	for _, r := range v.Rows {
		h := s.holder(r.Key)
		switch {
		case r.Finished():
		case r.Owner == v.Me && r.CheckpointOwner == "":
			held++
		case r.Owner == v.Me:
			s.arrivals.add(r.Lease)
		case h != nil:
			// Another worker asks for the lease, or has taken it by force. The holder's renewal
			// will meet that, and decide what to do.
			h.RowChanged()
		case r.CheckpointOwner == v.Me:
		case waiting[r.Key]:
		case r.Expired || r.Owner == "":
			waited[r.Key] = r.ScansWaited + 1
			starved = starved || r.ScansWaited >= 2*plan.Patience
		}
		s.learn(r.Lease)
	}
	s.waited = waited
	if starved && !s.starved && v.Max > 0 && held >= v.Max {
		s.log.Warn("shards are left unread: all workers have reached MaxLeasesForWorker",
			"leases", len(waited), "max_leases", v.Max)
	}
	s.starved = starved
}

// watching tells whether other workers have leases to take that they may leave alone.
func (s *scan) watching() bool {
	for _, scans := range s.waited {
		if scans <= plan.Patience {
			return true
		}
	}
	return false
}
