package kcl3

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// View is all that the leader's assignment depends on. (docs/kcl3.md says where it
// departs from the KCL's LeaseAssignmentManager.)
type View struct {
	// Leases are all leases, in any order.
	Leases []Row
	// Workers may be given leases; see [WorkerWatch.Active].
	Workers []leases.WorkerMetrics
	// Balance says that leases may be moved between workers that read them; see
	// [Cadence].
	Balance bool
	// Delivers is the average throughput of each lease in KB/s, by key. A lease that is
	// not in it has the throughput that its row says.
	Delivers map[string]float64
	// Doubts is the variance of Delivers, by key. A lease that is not in it has none.
	Doubts map[string]float64
	// Config says how leases are assigned.
	Config Config
	// Rand decides which of several leases is moved. nil chooses the first.
	Rand *rand.Rand
}

// Row is one lease as the leader judges it.
type Row struct {
	leases.Lease
	// Expired says that the counter was seen to stand still for too long.
	Expired bool
	// Overdue says that the hand-over has taken too long; see [HandoverWatch].
	Overdue bool
	// Since is when the counter was first seen, on the monotonic clock. The lease that
	// has waited longest is served first.
	Since time.Duration
	// kbps is the throughput, or the average of all leases when it is not known. Assign
	// works it out.
	kbps float64
	// waits says that a parent is still to be read. Assign works it out.
	waits bool
}

// Config is how leases are assigned. See [DefaultConfig].
type Config struct {
	// ByCount evens out the number of leases, not the load (LEASE_COUNT_BASED).
	ByCount bool
	// MaxLeases is the most leases of a worker that does not report its own limit.
	// 0 is no limit.
	MaxLeases int
	// MaxThroughput is the most KB/s of one worker. 0 is no limit.
	MaxThroughput float64
	// threshold is how far a worker may be from the average: 0.1 in the KCL.
	threshold float64
	// Dampening is the part of the difference that is taken away at once: 0.6 in the KCL.
	Dampening float64
	// exact moves no lease rather than one that is more than the difference.
	exact bool
	// abrupt does not ask the owner first.
	abrupt bool
	// Certain evens out only differences that are greater than chance.
	Certain bool
}

// DefaultConfig returns the KCL's defaults.
func DefaultConfig() Config { return Config{threshold: 0.1, Dampening: 0.6} }

// Move is what the leader does to one lease.
type Move struct {
	// Lease is the lease as it was read.
	Lease leases.Lease
	// To is its next owner.
	To string
	// Graceful says that the owner is asked to hand the lease over. Otherwise the lease
	// is assigned.
	Graceful bool
	// Reason is free, expired, handover or balance.
	Reason string
}

// Assign decides which worker gets which lease. First those that nobody reads:
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
func Assign(v View) (moves []Move, spillover int) {
	a := newAssigner(v)
	spillover = a.assignIdle()
	switch {
	case !v.Balance:
	case v.Config.ByCount:
		a.balanceCount()
	default:
		a.balanceLoad()
	}
	return a.moves, spillover
}

// assigner carries the distribution that an assignment works out.
type assigner struct {
	View
	members []*member // sorted by id
	byID    map[string]*member
	unread  []*Row    // to be placed, in this order
	target  float64   // load of each worker if all had the same
	metrics []string  // that are compared
	sighted []*member // that report one of them
	average map[string]float64
	moves   []Move
	ranked  []*member // see receivers; nil when they have changed
	scratch []candidate
}

// member is a worker that may be given leases.
type member struct {
	id         string
	movable    []*Row
	count      int
	max        int     // the most leases that it may have; 0 for no limit
	kbps       float64 // throughput of its leases
	load       float64 // sum of their weights
	doubt      float64 // variance of load
	samples    map[string][]float64
	value      map[string]float64
	limit      map[string]float64
	hasExpired bool // has an expired lease
}

func newAssigner(v View) *assigner {
	a := &assigner{View: v, byID: map[string]*member{}}
	for _, m := range v.Workers {
		if a.byID[m.Worker] == nil {
			a.byID[m.Worker] = &member{id: m.Worker, max: maxLeasesOf(m, v.Config.MaxLeases), value: map[string]float64{}, limit: map[string]float64{}}
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
	a.measure()
	return a
}

// unfinished returns the leases that count, with a throughput each: those that
// have none yet get the average. Leases that wait for a parent come last,
// otherwise those that stand still for longest come first.
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

// throughput is what a lease delivers; negative when not known.
func (a *assigner) throughput(l leases.Lease) float64 {
	if kbps, ok := a.Delivers[l.Key]; ok {
		return kbps
	}
	return l.ThroughputKBps
}

// weight is what a lease counts for: its throughput, but a lease that is hardly
// used is not nothing. So idle leases are spread by their number, and are not
// moved to and fro for the sake of a record now and then.
func (l *Row) weight() float64 { return max(1, l.kbps) }

// count adds a lease to what a worker has.
func (a *assigner) addLease(m *member, l *Row) {
	a.ranked = nil
	m.count++
	m.kbps += l.kbps
	m.load += l.weight()
	m.doubt += a.Doubts[l.Key]
}

// give lets a worker have a lease, and tells it to do so.
func (a *assigner) assignTo(l *Row, to *member, reason string) {
	a.addLease(to, l)
	a.addToMetrics(to, l.weight())
	graceful := reason == "balance" && !a.Config.abrupt
	a.moves = append(a.moves, Move{Lease: l.Lease, To: to.id, Graceful: graceful, Reason: reason})
}

// hasRoom tells whether a worker may have one more lease.
func (a *assigner) hasRoom(m *member) bool {
	return (m.max <= 0 || m.count < m.max) &&
		(a.Config.MaxThroughput <= 0 || m.kbps <= a.Config.MaxThroughput)
}

// place assigns the leases that nobody reads.
func (a *assigner) assignIdle() (spillover int) {
	allLimited := !slices.ContainsFunc(a.members, func(m *member) bool { return m.max <= 0 })
	for _, l := range a.unread {
		if l.waits && allLimited {
			continue
		}
		reason := "free"
		switch {
		case l.CheckpointOwner != "":
			reason = "handover"
		case l.ActualOwner() != "":
			reason = "expired"
		}
		to := a.workerFor(l)
		switch {
		case to == nil:
			spillover++
		case to.id == l.Owner && l.CheckpointOwner == "":
			a.addLease(to, l) // it finds its lease again by itself
		default:
			a.assignTo(l, to, reason)
		}
	}
	return spillover
}

// next is the worker that gets a lease which nobody reads.
func (a *assigner) workerFor(l *Row) *member {
	expected := a.byID[l.Owner]
	if l.CheckpointOwner != "" && expected != nil && !expected.hasExpired && a.hasRoom(expected) {
		return expected // it has been told, and waits for it
	}
	if to := a.mostIdle(true); to != nil {
		return to
	}
	if expected != nil && l.CheckpointOwner == "" && a.hasRoom(expected) {
		return expected
	}
	return a.mostIdle(false)
}

// idle is a worker that may get a lease, and how much it is used.
type candidate struct {
	*member
	usage float64
}

// idles are the workers that may get a lease, sorted by id. sure leaves out those
// that have an expired lease.
func (a *assigner) candidates(healthyOnly bool) []candidate {
	list := a.scratch[:0]
	for _, m := range a.members {
		if a.hasRoom(m) && (!healthyOnly || !m.hasExpired) {
			list = append(list, candidate{m, a.usage(m)})
		}
	}
	a.scratch = list
	return list
}

// compareCandidates puts the most idle worker first.
func (a *assigner) compareCandidates(x, y candidate) int {
	if a.Config.ByCount {
		return cmp.Or(cmp.Compare(x.count, y.count), cmp.Compare(x.load, y.load))
	}
	return cmp.Or(cmp.Compare(x.usage, y.usage), cmp.Compare(x.count, y.count))
}

// idlest is the worker that gets the next lease; nil when none may.
func (a *assigner) mostIdle(healthyOnly bool) *member {
	list := a.candidates(healthyOnly)
	if len(list) == 0 {
		return nil
	}
	return slices.MinFunc(list, a.compareCandidates).member // the first of equals
}

// receivers are the workers that may get a lease, the most idle one first, but for
// those that have an expired lease. They stay the same until a lease is given.
func (a *assigner) receivers() []*member {
	if a.ranked == nil {
		list := a.candidates(true)
		slices.SortStableFunc(list, a.compareCandidates)
		a.ranked = make([]*member, 0, len(list))
		for _, i := range list {
			a.ranked = append(a.ranked, i.member)
		}
	}
	return a.ranked
}

// shuffled returns the leases of a worker that may be moved, in random order; by key when
// rng is nil.
func (m *member) shuffled(rng *rand.Rand) []*Row {
	list := slices.Clone(m.movable)
	slices.SortFunc(list, func(x, y *Row) int { return strings.Compare(x.Key, y.Key) })
	if rng != nil {
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return list
}

// balanceEvery is how often leases may be moved to even out the load: at every
// third assignment.
const balanceEvery = 3

// Cadence tells when to balance, for one term of a leader. The zero value is
// the beginning.
type Cadence struct{ runs int }

// Next tells whether leases may be moved in the assignment that is made now. A
// leader that has not watched the leases for as long as they need to expire
// knows nobody that is dead, and waits.
func (c *Cadence) Next(watched, expiry time.Duration) bool {
	if watched <= expiry {
		return false
	}
	c.runs++
	return c.runs%balanceEvery == 1
}
