package coordinator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/leases"
)

// scanner lists the table, and judges which leases are expired or wait for too long. Its methods
// belong to the goroutine in Run.
type scanner struct {
	*table
	sightings map[string]Sighting
	listedAt  time.Duration // when the table was listed last, monotonic
	// unbrokenSince is since when the sightings have been without a break.
	unbrokenSince time.Duration
	scansWaited   map[string]int    // see plan.Row.ScansWaited
	rowWarnings   map[string]string // the warnings about unreadable rows, by key
	scale         plan.Scale
	handovers     kcl3.HandoverWatch
	starved       bool // a lease has waited for too many scans
	scanRequested bool // a scan was asked for
	slowWarned    bool // a warning was logged that the store is too slow
}

func newScanner(t *table) *scanner {
	return &scanner{
		table: t, sightings: map[string]Sighting{},
		scansWaited: map[string]int{}, rowWarnings: map[string]string{},
	}
}

// list reads the table and returns the view for a plan. withThroughput says that throughput
// decides, or soon may, whatever Config.Balance is.
func (s *scanner) list(ctx context.Context, withThroughput bool) (plan.View, error) {
	call, cancel := context.WithTimeout(ctx, s.cfg.FailoverTime)
	defer cancel()
	begun := time.Now()
	listing, err := s.cfg.Store.List(call)
	if err == nil || errors.Is(call.Err(), context.DeadlineExceeded) {
		s.tempo.recordListing(time.Since(begun))
	}
	if err != nil {
		return plan.View{}, err
	}
	s.warnUnreadable(listing.Bad)
	s.scanRequested = false
	return s.observe(listing.Leases, withThroughput), nil
}

// recordListError keeps and logs the error of a listing.
func (s *scanner) recordListError(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	s.cfg.Metrics.LeaseStoreError("list")
	s.mu.Lock()
	first := s.listErr == nil || errors.Is(err, leases.ErrTableNotFound) != errors.Is(s.listErr, leases.ErrTableNotFound)
	s.listErr = err
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

// warnUnreadable warns once of each row in bad, which cannot be read.
func (s *scanner) warnUnreadable(bad []*leases.RowError) {
	s.cfg.Metrics.SetLeaseRowsInvalid(len(bad))
	warnings := make(map[string]string, len(bad))
	for _, e := range bad {
		warnings[e.Key] = e.Error()
		if s.rowWarnings[e.Key] != e.Error() {
			s.log.Warn("lease row cannot be read and is left alone; repair or delete it", "lease", e.Key, "err", e.Err)
		}
	}
	s.rowWarnings = warnings
}

// observe turns a listing into the view for a plan. It uses only this worker's own observations. A
// counter has stood still since the answer came that showed it first, by this worker's monotonic
// clock.
func (s *scanner) observe(listed []leases.Lease, withThroughput bool) plan.View {
	now := s.clock.Now().Mono
	v := plan.View{Me: s.cfg.WorkerID, Max: s.cfg.MaxLeasesForWorker, By: s.cfg.Balance, Asks: 1}
	arriving := s.arrivals.copyRows()
	sightings := make(map[string]Sighting, len(listed))
	rows := make(map[string]leases.Lease, len(listed))

	accepted := make(map[string]bool, len(listed))
	for _, l := range listed {
		accepted[l.Key] = s.cfg.Accept(l)
	}
	s.mu.Lock()
	recovered := s.listErr != nil
	s.listErr = nil
	s.mu.Unlock()
	if recovered {
		s.log.Info("lease table can be listed again")
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	first, late := s.listedAt == 0, Late(s.cfg.FailoverTime, now-s.listedAt)
	if first {
		s.unbrokenSince = now
	}
	s.listedAt = now
	for _, l := range listed {
		h := s.active[l.Key]
		if h != nil {
			// The listing is older than the holder's last write.
			if mine := h.Lease(); mine.Counter > l.Counter {
				l = mine
			}
		}
		if h == nil {
			l = s.applyUnlistedLocked(l, now)
		}
		if arrival, ok := arriving[l.Key]; ok && h == nil && arrival.Counter >= l.Counter {
			l = arrival // written or read after the listing
		}
		sight, ok := s.sightings[l.Key]
		if !ok {
			sight = Sighting{Counter: l.Counter, Since: now, Excused: late && !first}
		} else if sight, ok = sight.See(l.Counter, now, late); ok {
			s.unbrokenSince = now
		}
		sightings[l.Key], rows[l.Key] = sight, l
		if !accepted[l.Key] {
			continue
		}
		avoid := s.avoided[l.Key]
		r := plan.Row{
			Lease:       l,
			Busy:        h != nil || (avoid != nil && now < avoid.until),
			ScansWaited: s.scansWaited[l.Key],
		}
		r.Expired, r.Quiet = sight.Judge(l, now, s.cfg.FailoverTime)
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
	if withThroughput || v.By == leases.BalanceThroughput {
		s.scale.AddThroughput(s.cfg.FailoverTime, &v, now)
	}
	return v
}

// recordRound keeps the results of a round for the next one.
func (s *scanner) recordRound(v plan.View) {
	scansWaited, waiting := map[string]int{}, v.Waiting()
	held, starved := 0, false
	for _, r := range v.Rows {
		h := s.holderOf(r.Key)
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
			scansWaited[r.Key] = r.ScansWaited + 1
			starved = starved || r.ScansWaited >= 2*plan.Patience
		}
		s.storeNewer(r.Lease)
	}
	s.scansWaited = scansWaited
	if starved && !s.starved && v.Max > 0 && held >= v.Max {
		s.log.Warn("shards are left unread: all workers have reached MaxLeasesForWorker",
			"leases", len(scansWaited), "max_leases", v.Max)
	}
	s.starved = starved
}

// othersMayTake tells whether other workers have leases to take that they may leave alone.
func (s *scanner) othersMayTake() bool {
	for _, scans := range s.scansWaited {
		if scans <= plan.Patience {
			return true
		}
	}
	return false
}
