package coordinator

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// fleetView is all that the leader's assignment depends on. (Where it departs
// from the KCL's LeaseAssignmentManager, docs/kcl3.md says so.)
type fleetView struct {
	leases  []fleetLease
	workers []leases.WorkerMetrics // that may be given leases, see workerWatch.active
	// balance says that leases may be moved between workers that read them, see
	// cadence.
	balance bool
	// delivers is what leases deliver in KB/s, on the average of a while; of those
	// that it lacks it is what their rows say.
	delivers map[string]float64
	// doubts is the variance of what they deliver; of those that it lacks it is 0.
	doubts map[string]float64
	cfg    assignConfig
	rand   *rand.Rand // decides which of several leases is moved; nil: the first
}

// fleetLease is one lease as the leader judges it.
type fleetLease struct {
	leases.Lease
	// expired: its counter was seen to stand still for too long.
	expired bool
	// overdue: it has been handed over for too long, see handoverWatch.
	overdue bool
	// since is when its counter was first seen to be what it is; who has waited
	// longest is served first.
	since time.Duration
	// kbps is its throughput, or the average when that is not known, and waits says
	// that a parent is still to be read. assign works them out.
	kbps  float64
	waits bool
}

// assignConfig is how leases are assigned. See defaultAssign.
type assignConfig struct {
	// byCount evens out the number of leases, not the load (LEASE_COUNT_BASED).
	byCount bool
	// maxLeases of one worker that does not tell its own, and the maxThroughput in
	// KB/s of each; 0 for no limit.
	maxLeases     int
	maxThroughput float64
	// threshold is how far a worker may be from the average, dampening which part
	// of the difference is taken away at once: 0.1 and 0.6.
	threshold, dampening float64
	// exact moves no lease rather than one that is more than the difference.
	exact bool
	// abrupt does not ask the owner first.
	abrupt bool
	// certain evens out only what differs by more than chance, see chance.
	certain bool
}

func defaultAssign() assignConfig { return assignConfig{threshold: 0.1, dampening: 0.6} }

// move is what the leader does to one lease.
type move struct {
	lease leases.Lease // as it was read
	to    string       // its next owner
	// graceful: its owner is asked to hand it over. Otherwise it is assigned.
	graceful bool
	reason   string // free, expired, handover or balance
}

// assign decides which worker gets which lease. First those that nobody reads:
// free and expired ones, and those that are still not handed over. spillover is
// how many of them nobody can take. Then, if v.balance, leases move from busy
// workers to idle ones. It is pure.
//
//   - A lease goes to a worker that is below its limits. While there are
//     others, it goes to none that has an expired lease: such a worker is dead
//     and its metrics are not a minute old yet, or it is in trouble.
//   - A lease that is being handed over counts for its next owner.
//   - Finished leases are left alone and count for nobody.
//   - Leases that wait for a parent come last, and not before its end where
//     places are few, so that they take none that a parent needs.
func assign(v fleetView) (moves []move, spillover int) {
	a := newAssigner(v)
	spillover = a.place()
	switch {
	case !v.balance:
	case v.cfg.byCount:
		a.balanceCount()
	default:
		a.balanceLoad()
	}
	return a.moves, spillover
}

// assigner carries the distribution that an assignment works out.
type assigner struct {
	fleetView
	members []*member // sorted by id
	byID    map[string]*member
	idle    []*fleetLease // to be placed, in this order
	target  float64       // load of each worker if all had the same
	metrics []string      // that are compared
	sighted []*member     // that report one of them
	average map[string]float64
	moves   []move
	ranked  []*member // see receivers; nil when they have changed
	scratch []idle
}

// member is a worker that may be given leases.
type member struct {
	id       string
	movable  []*fleetLease
	count    int
	max      int     // the most leases that it may have; 0 for no limit
	kbps     float64 // throughput of its leases
	load     float64 // sum of their weights
	doubt    float64 // variance of load
	samples  map[string][]float64
	value    map[string]float64
	limit    map[string]float64
	doubtful bool // has an expired lease
}

func newAssigner(v fleetView) *assigner {
	a := &assigner{fleetView: v, byID: map[string]*member{}}
	for _, m := range v.workers {
		if a.byID[m.Worker] == nil {
			a.byID[m.Worker] = &member{id: m.Worker, max: maxLeasesOf(m, v.cfg.maxLeases), value: map[string]float64{}, limit: map[string]float64{}}
			a.members = append(a.members, a.byID[m.Worker])
		}
	}
	slices.SortFunc(a.members, func(x, y *member) int { return strings.Compare(x.id, y.id) })
	a.leases = a.unfinished()
	for i := range a.leases {
		l := &a.leases[i]
		if m := a.byID[l.ActualOwner()]; m != nil && l.expired {
			m.doubtful = true
		}
		if l.ActualOwner() == "" || l.expired || l.overdue {
			a.idle = append(a.idle, l)
			continue
		}
		m := a.byID[l.Owner]
		if m == nil {
			continue
		}
		a.count(m, l)
		if l.CheckpointOwner == "" {
			m.movable = append(m.movable, l)
		}
	}
	a.measure()
	return a
}

// unfinished returns the leases that count, with a throughput each: those that
// have none yet get the average. Leases that wait for a parent come last,
// otherwise those that stand still for longest come first.
func (a *assigner) unfinished() []fleetLease {
	unread := map[string]bool{}
	var known, sum float64
	for _, l := range a.leases {
		if l.Finished() {
			continue
		}
		unread[l.Stream+":"+l.ShardID] = true
		if kbps := a.throughput(l.Lease); kbps >= 0 {
			known, sum = known+1, sum+kbps
		}
	}
	var all []fleetLease
	for _, l := range a.leases {
		if l.Finished() {
			continue
		}
		if l.kbps = a.throughput(l.Lease); l.kbps < 0 {
			l.kbps = sum / max(1, known)
		}
		l.waits = waitsFor(l.Lease, unread)
		if l.ActualOwner() == "" {
			l.since = 0
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(x, y fleetLease) int {
		return cmp.Or(last(x.waits)-last(y.waits), cmp.Compare(x.since, y.since), strings.Compare(x.Key, y.Key))
	})
	return all
}

// last sorts what is so behind what is not.
func last(so bool) int {
	if so {
		return 1
	}
	return 0
}

// throughput is what a lease delivers; negative when not known.
func (a *assigner) throughput(l leases.Lease) float64 {
	if kbps, ok := a.delivers[l.Key]; ok {
		return kbps
	}
	return l.ThroughputKBps
}

// weight is what a lease counts for: its throughput, but a lease that is hardly
// used is not nothing. So idle leases are spread by their number, and are not
// moved to and fro for the sake of a record now and then.
func (l *fleetLease) weight() float64 { return max(1, l.kbps) }

// count adds a lease to what a worker has.
func (a *assigner) count(m *member, l *fleetLease) {
	a.ranked = nil
	m.count++
	m.kbps += l.kbps
	m.load += l.weight()
	m.doubt += a.doubts[l.Key]
}

// give lets a worker have a lease, and tells it to do so.
func (a *assigner) give(l *fleetLease, to *member, reason string) {
	a.count(to, l)
	a.grow(to, l.weight())
	graceful := reason == "balance" && !a.cfg.abrupt
	a.moves = append(a.moves, move{lease: l.Lease, to: to.id, graceful: graceful, reason: reason})
}

// fits tells whether a worker may have one more lease.
func (a *assigner) fits(m *member) bool {
	return (m.max <= 0 || m.count < m.max) &&
		(a.cfg.maxThroughput <= 0 || m.kbps <= a.cfg.maxThroughput)
}

// place assigns the leases that nobody reads.
func (a *assigner) place() (spillover int) {
	few := !slices.ContainsFunc(a.members, func(m *member) bool { return m.max <= 0 })
	for _, l := range a.idle {
		if l.waits && few {
			continue
		}
		reason := "free"
		switch {
		case l.CheckpointOwner != "":
			reason = "handover"
		case l.ActualOwner() != "":
			reason = "expired"
		}
		to := a.next(l)
		switch {
		case to == nil:
			spillover++
		case to.id == l.Owner && l.CheckpointOwner == "":
			a.count(to, l) // it finds its lease again by itself
		default:
			a.give(l, to, reason)
		}
	}
	return spillover
}

// next is the worker that gets a lease which nobody reads.
func (a *assigner) next(l *fleetLease) *member {
	expected := a.byID[l.Owner]
	if l.CheckpointOwner != "" && expected != nil && !expected.doubtful && a.fits(expected) {
		return expected // it has been told, and waits for it
	}
	if sure := a.idlest(true); sure != nil {
		return sure
	}
	if expected != nil && l.CheckpointOwner == "" && a.fits(expected) {
		return expected
	}
	return a.idlest(false)
}

// idle is a worker that may get a lease, and how much it is used.
type idle struct {
	*member
	usage float64
}

// idles are the workers that may get a lease, sorted by id. sure leaves out those
// that have an expired lease.
func (a *assigner) idles(sure bool) []idle {
	list := a.scratch[:0]
	for _, m := range a.members {
		if a.fits(m) && (!sure || !m.doubtful) {
			list = append(list, idle{m, a.usage(m)})
		}
	}
	a.scratch = list
	return list
}

// compareIdle puts the most idle worker first.
func (a *assigner) compareIdle(x, y idle) int {
	if a.cfg.byCount {
		return cmp.Or(cmp.Compare(x.count, y.count), cmp.Compare(x.load, y.load))
	}
	return cmp.Or(cmp.Compare(x.usage, y.usage), cmp.Compare(x.count, y.count))
}

// idlest is the worker that gets the next lease; nil when none may.
func (a *assigner) idlest(sure bool) *member {
	list := a.idles(sure)
	if len(list) == 0 {
		return nil
	}
	return slices.MinFunc(list, a.compareIdle).member // the first of equals
}

// receivers are the workers that may get a lease, the most idle one first, but for
// those that have an expired lease. They stay the same until a lease is given.
func (a *assigner) receivers() []*member {
	if a.ranked == nil {
		list := a.idles(true)
		slices.SortStableFunc(list, a.compareIdle)
		a.ranked = make([]*member, 0, len(list))
		for _, i := range list {
			a.ranked = append(a.ranked, i.member)
		}
	}
	return a.ranked
}

// shuffle returns the leases of a worker that may be moved, in random order.
func (a *assigner) shuffle(m *member) []*fleetLease {
	list := slices.Clone(m.movable)
	slices.SortFunc(list, func(x, y *fleetLease) int { return strings.Compare(x.Key, y.Key) })
	if a.rand != nil {
		a.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return list
}

// balanceEvery is how often leases may be moved to even out the load: at every
// third assignment.
const balanceEvery = 3

// cadence tells when to balance, for one term of a leader. The zero value is
// the beginning.
type cadence struct{ runs int }

// next tells whether leases may be moved in the assignment that is made now. A
// leader that has not watched the leases for as long as they need to expire
// knows nobody that is dead, and waits.
func (c *cadence) next(watched, failover time.Duration) bool {
	if watched <= respect(failover) {
		return false
	}
	c.runs++
	return c.runs%balanceEvery == 1
}
