package kcl3

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// View is the input of the leader's assignment. docs/kcl3.md lists where it departs from the KCL's
// LeaseAssignmentManager.
type View struct {
	// Leases are all leases, in any order.
	Leases []Row
	// Workers are the workers that may get leases; see [WorkerWatch.Active].
	Workers []leases.WorkerMetrics
	// Balance allows moves of leases between workers that read them; see [Cadence].
	Balance bool
	// Delivers is the average throughput of each lease in KB/s, by key. A lease without an entry
	// has the throughput of its row.
	Delivers map[string]float64
	// Doubts is the variance of Delivers, by key. A lease without an entry has none.
	Doubts map[string]float64
	// Config says how leases are assigned.
	Config Config
	// Rand chooses among several leases that could move. nil chooses the first.
	Rand *rand.Rand
}

// Row is one lease with the leader's judgement.
type Row struct {
	leases.Lease
	// Expired says that the counter has stood still for too long.
	Expired bool
	// Overdue says that the hand-over has taken too long; see [HandoverWatch].
	Overdue bool
	// Since is when the counter was first seen, on the monotonic clock. The lease with the earliest
	// time is assigned first.
	Since time.Duration
	// kbps is the throughput, or the average of all leases when it is not known. Assign computes
	// it.
	kbps float64
	// waits says that a parent is still to be read. Assign computes it.
	waits bool
}

// Config says how leases are assigned. See [DefaultConfig].
type Config struct {
	// ByCount evens out the number of leases instead of the load (LEASE_COUNT_BASED).
	ByCount bool
	// MaxLeases is the most leases of a worker that does not report its own limit.
	// 0 is no limit.
	MaxLeases int
	// MaxThroughput is the most KB/s of one worker. 0 is no limit.
	MaxThroughput float64
	// threshold is the part of the average by which a worker may differ from it: 0.1 in the KCL.
	threshold float64
	// Dampening is the part of the difference that is removed at once: 0.6 in the KCL.
	Dampening float64
	// exact moves no lease that is larger than the difference.
	exact bool
	// abrupt assigns a lease without asking its owner for a hand-over.
	abrupt bool
	// Certain evens out only differences that cannot be chance.
	Certain bool
}

// DefaultConfig returns the KCL's defaults.
func DefaultConfig() Config { return Config{threshold: 0.1, Dampening: 0.6} }

// Move is the change of owner of one lease.
type Move struct {
	// Lease is the lease as it was read.
	Lease leases.Lease
	// To is its next owner.
	To string
	// Graceful says that the owner is asked to hand the lease over. Otherwise the lease is assigned
	// at once.
	Graceful bool
	// Reason is free, expired, handover or balance.
	Reason string
}

// Assign decides which worker gets which lease. First it assigns the leases that nobody reads: free
// ones, expired ones, and those whose hand-over takes too long. spillover is the number of these
// leases that no worker can take. Then, if v.Balance, leases move from busy workers to idle ones.
// Assign is pure.
//
//   - A lease goes to a worker below its limits. A worker with an expired lease gets one only if
//     there is no other: it is in trouble, or it is dead and its last report is not a minute old.
//   - A lease that is being handed over counts for its next owner.
//   - Finished leases are left alone and count for nobody.
//   - Leases that wait for a parent come last. Where all workers have a limit, they are not
//     assigned before the parent's end. They would take a place that the parent needs.
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

// assigner computes one assignment.
type assigner struct {
	View
	members []*member // sorted by id
	byID    map[string]*member
	unread  []*Row    // the leases that nobody reads, in the order of their assignment
	target  float64   // load of each worker if all had the same
	metrics []string  // the metrics by which workers are compared
	sighted []*member // the workers that report one of metrics
	average map[string]float64
	moves   []Move
	ranked  []*member // the result of receivers; nil after a change
	scratch []candidate
}

// member is a worker that may get leases.
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
			a.byID[m.Worker] = &member{
				id: m.Worker, max: maxLeasesOf(m, v.Config.MaxLeases),
				value: map[string]float64{}, limit: map[string]float64{},
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
	a.measure()
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
	if kbps, ok := a.Delivers[l.Key]; ok {
		return kbps
	}
	return l.ThroughputKBps
}

// weight returns the load that a lease counts for: its throughput, but at least 1. So idle leases
// are spread by their number, and a record now and then moves no lease.
func (l *Row) weight() float64 { return max(1, l.kbps) }

// addLease adds a lease to the sums of a worker.
func (a *assigner) addLease(m *member, l *Row) {
	a.ranked = nil
	m.count++
	m.kbps += l.kbps
	m.load += l.weight()
	m.doubt += a.Doubts[l.Key]
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

// assignIdle assigns the leases that nobody reads.
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
			a.addLease(to, l) // the row names this worker already, and it will find the lease
		default:
			a.assignTo(l, to, reason)
		}
	}
	return spillover
}

// workerFor returns the worker that gets a lease which nobody reads; nil when none may.
func (a *assigner) workerFor(l *Row) *member {
	expected := a.byID[l.Owner]
	if l.CheckpointOwner != "" && expected != nil && !expected.hasExpired && a.hasRoom(expected) {
		return expected // the row names this worker already, and it waits for the lease
	}
	if to := a.mostIdle(true); to != nil {
		return to
	}
	if expected != nil && l.CheckpointOwner == "" && a.hasRoom(expected) {
		return expected
	}
	return a.mostIdle(false)
}

// candidate is a worker that may get a lease, and its usage.
type candidate struct {
	*member
	usage float64
}

// candidates returns the workers that may get a lease, sorted by id. healthyOnly leaves out workers
// with an expired lease.
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

// compareCandidates sorts the most idle worker first.
func (a *assigner) compareCandidates(x, y candidate) int {
	if a.Config.ByCount {
		return cmp.Or(cmp.Compare(x.count, y.count), cmp.Compare(x.load, y.load))
	}
	return cmp.Or(cmp.Compare(x.usage, y.usage), cmp.Compare(x.count, y.count))
}

// mostIdle returns the most idle candidate; nil when there is none.
func (a *assigner) mostIdle(healthyOnly bool) *member {
	list := a.candidates(healthyOnly)
	if len(list) == 0 {
		return nil
	}
	return slices.MinFunc(list, a.compareCandidates).member // of equals the first
}

// receivers returns the workers that may get a lease, the most idle one first. It leaves out
// workers with an expired lease. The result stays the same until a lease is assigned.
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

// shuffled returns the movable leases of a worker in random order, or by key when rng is nil.
func (m *member) shuffled(rng *rand.Rand) []*Row {
	list := slices.Clone(m.movable)
	slices.SortFunc(list, func(x, y *Row) int { return strings.Compare(x.Key, y.Key) })
	if rng != nil {
		rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return list
}

// balanceEvery is how many assignments there are for one that evens out the load.
const balanceEvery = 3

// Cadence tells when to even out the load, for one term of a leader. The zero value is the
// beginning.
type Cadence struct{ runs int }

// Next tells whether the present assignment may even out the load. A new leader does not know which
// workers are dead until it has watched the leases for as long as they need to expire. Until then
// the answer is no.
func (c *Cadence) Next(watched, expiry time.Duration) bool {
	if watched <= expiry {
		return false
	}
	c.runs++
	return c.runs%balanceEvery == 1
}
