package kcl3

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/kinesis-go/kcl/leases"
)

// assigner computes one assignment.
type assigner struct {
	View
	members      []*member // sorted by id
	byID         map[string]*member
	unread       []*Row    // the leases that nobody reads, in the order of their assignment
	averageLoad  float64   // load of each worker if all had the same
	metrics      []string  // the metrics by which workers are compared
	withMetrics  []*member // the workers that report one of metrics
	average      map[string]float64
	moves        []Move
	receiverList []*member // the result of receivers; nil after a change
	scratch      []candidate
}

// member is a worker that may get leases.
type member struct {
	id         string
	movable    []*Row
	count      int
	max        int     // the most leases that it may have; 0 for no limit
	kbps       float64 // throughput of its leases
	load       float64 // sum of their weights
	variance   float64 // variance of load
	samples    map[string][]float64
	values     map[string]float64
	limits     map[string]float64
	hasExpired bool // has an expired lease
}

func newAssigner(v View) *assigner {
	a := &assigner{View: v, byID: map[string]*member{}}
	for _, m := range v.Workers {
		if a.byID[m.Worker] == nil {
			a.byID[m.Worker] = &member{
				id: m.Worker, max: maxLeasesOf(m, v.Config.MaxLeases),
				values: map[string]float64{}, limits: map[string]float64{},
			}
			a.members = append(a.members, a.byID[m.Worker])
		}
	}
	slices.SortFunc(a.members, func(x, y *member) int { return strings.Compare(x.id, y.id) })
	a.Leases = a.unfinished()
	for i := range a.Leases {
		l := &a.Leases[i]
		if m := a.byID[l.ActualOwner()]; m != nil && l.Expired {
			m.hasExpired = true
		}
		if l.ActualOwner() == "" || l.Expired || l.Overdue {
			a.unread = append(a.unread, l)
			continue
		}
		m := a.byID[l.Owner]
		if m == nil {
			continue
		}
		a.addLease(m, l)
		if l.CheckpointOwner == "" {
			m.movable = append(m.movable, l)
		}
	}
	a.computeMetrics()
	return a
}

// unfinished returns the leases that are not finished, each with a throughput. A lease without a
// throughput gets the average. Leases that wait for a parent come last. Otherwise the lease whose
// counter has stood still for longest comes first.
func (a *assigner) unfinished() []Row {
	unread := map[string]bool{}
	var known, sum float64
	for _, l := range a.Leases {
		if l.Finished() {
			continue
		}
		unread[l.Stream+":"+l.ShardID] = true
		if kbps := a.throughput(l.Lease); kbps >= 0 {
			known, sum = known+1, sum+kbps
		}
	}
	var all []Row
	for _, l := range a.Leases {
		if l.Finished() {
			continue
		}
		if l.kbps = a.throughput(l.Lease); l.kbps < 0 {
			l.kbps = sum / max(1, known)
		}
		l.waits = l.WaitsFor(unread)
		if l.ActualOwner() == "" {
			l.Since = 0
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(x, y Row) int {
		return cmp.Or(trueLast(x.waits)-trueLast(y.waits), cmp.Compare(x.Since, y.Since), strings.Compare(x.Key, y.Key))
	})
	return all
}

// trueLast is a sort key: false sorts before true.
func trueLast(b bool) int {
	if b {
		return 1
	}
	return 0
}

// throughput returns the throughput of a lease; negative when it is not known.
func (a *assigner) throughput(l leases.Lease) float64 {
	if kbps, ok := a.Throughputs[l.Key]; ok {
		return kbps
	}
	return l.ThroughputKBps
}

// weight returns the load that a lease counts for: its throughput, but at least 1. So idle leases
// are spread by their number, and a record now and then moves no lease.
func (l *Row) weight() float64 { return max(1, l.kbps) }

// addLease adds a lease to the sums of a worker.
func (a *assigner) addLease(m *member, l *Row) {
	a.receiverList = nil
	m.count++
	m.kbps += l.kbps
	m.load += l.weight()
	m.variance += a.Variances[l.Key]
}

// assignTo adds the move of a lease to a worker.
func (a *assigner) assignTo(l *Row, to *member, reason string) {
	a.addLease(to, l)
	a.addToMetrics(to, l.weight())
	graceful := reason == "balance" && !a.Config.abrupt
	a.moves = append(a.moves, Move{Lease: l.Lease, To: to.id, Graceful: graceful, Reason: reason})
}

// hasRoom tells whether a worker is below its limits.
func (a *assigner) hasRoom(m *member) bool {
	return (m.max <= 0 || m.count < m.max) &&
		(a.Config.MaxThroughput <= 0 || m.kbps <= a.Config.MaxThroughput)
}

// shuffled returns the movable leases of a worker in random order, or by key when rng is nil.
func (m *member) shuffled(rng *rand.Rand) []*Row {
	list := slices.Clone(m.movable)
	slices.SortFunc(list, func(x, y *Row) int { return strings.Compare(x.Key, y.Key) })
	if rng != nil {
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return list
}
