package coordinator

import (
	"maps"
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/leases"
)

// suspect is a worker that had an expired lease. The report of a killed worker looks good for a
// minute. It has fewer and fewer leases in that time, and so would get more than any other.
type suspect struct {
	since    time.Duration // when an expired lease was seen last
	reported time.Time     // the time of its report then; zero when not known yet
}

// suspectOwners makes suspects of the owners of expired leases. Every worker does so at its scans,
// because it may become the leader.
func (a *leaderBased) suspectOwners(rows []plan.Row) {
	now := a.clock.Now().Mono
	for _, r := range rows {
		if owner := r.ActualOwner(); r.Expired && !r.Finished() && owner != a.cfg.WorkerID {
			s := a.suspects[owner]
			s.since = now
			a.suspects[owner] = s
		}
	}
	maps.DeleteFunc(a.suspects, func(_ string, s suspect) bool { return now-s.since > kcl3.WorkerSilence })
}

// unsuspected returns the active workers, without those that had an expired lease and have not
// reported since.
func (d *leaderWork) unsuspected() []leases.WorkerMetrics {
	return slices.DeleteFunc(slices.Clone(d.active), func(m leases.WorkerMetrics) bool {
		s, suspected := d.suspects[m.Worker]
		switch {
		case !suspected:
			return false
		case s.reported.IsZero():
			s.reported = m.Updated
			d.suspects[m.Worker] = s
		case !m.Updated.Equal(s.reported):
			delete(d.suspects, m.Worker)
			return false
		}
		return true
	})
}
