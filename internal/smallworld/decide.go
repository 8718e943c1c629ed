package smallworld

import (
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// decider calls the rules, and remembers their answers.
type decider struct {
	rules
	*family
	maxLost  uint8 // bounds the lost answers of one history
	trust    [maxAge + 1]bool
	writes   map[writeKey]write
	plans    map[planKey]verbs
	removals map[[shards]uint32]removals
	judged   map[[2]uint32][2]bool
	passed   map[[2]uint32]bool
}

func newDecider(r rules, f *family, maxLost uint8) *decider {
	d := &decider{
		rules: r, family: f, maxLost: maxLost, writes: map[writeKey]write{}, plans: map[planKey]verbs{},
		removals: map[[shards]uint32]removals{}, judged: map[[2]uint32][2]bool{}, passed: map[[2]uint32]bool{},
	}
	for age := range d.trust {
		d.trust[age] = r.trusted(uint8(age))
	}
	return d
}

type writeKey struct {
	kind   kind
	worker uint8
	shard  uint8
	row    row
}

// write returns the write of a kind by which a worker changes row r of a shard.
func (d *decider) write(k kind, w, s uint8, r row) write {
	key := writeKey{k, w, s, r}
	if found, ok := d.writes[key]; ok {
		return found
	}
	l, name := d.lease(int(s), r), workerName(w)
	var u leases.Update
	owner := func(to leases.Lease, set leases.Attr) { u = d.ownerUpdate(l, to, set) }
	switch k {
	case take:
		u = d.takeUpdate(l, name)
	case ask:
		u = d.askUpdate(l, name)
	case complete, mend:
		u = coordinator.CompleteUpdate(l)
	case renew:
		owner(l, 0)
	case checkpoint:
		owner(d.checkpoint(l, position(atRecord)))
	case finish:
		to, set := d.checkpoint(l, position(atEnd))
		for _, c := range d.children[s] {
			to.Children = append(to.Children, d.list[c].ID)
			set |= leases.AttrChildren
		}
		owner(to, set)
	case release:
		owner(d.released(l))
	default:
		panic("smallworld: no write: " + k.String())
	}
	d.writes[key] = writeOf(u)
	return d.writes[key]
}

// judge tells whether a row looks expired and quiet to a worker that has seen its counter appear.
// Such a worker takes the lease before all others, which have seen the counter later.
func (d *decider) judge(r row, age uint8) (expired, quiet bool) {
	if !r.there {
		return false, false
	}
	key := [2]uint32{r.pack(), uint32(age)}
	if found, ok := d.judged[key]; ok {
		return found[0], found[1]
	}
	seen := coordinator.Sighting{Counter: int64(r.counter), Since: clockStart - fast(age)}
	seen, _ = seen.See(int64(r.counter), clockStart, false)
	expired, quiet = d.judgeSighting(seen, d.lease(0, r), clockStart, failover)
	d.judged[key] = [2]bool{expired, quiet}
	return expired, quiet
}

// verbs are the kinds of actions that a plan may have for each shard.
type verbs [shards]uint8

type planKey struct {
	me   uint8
	rows [shards]uint32
}

// planned returns what a worker may do by the rows as they are. The library orders workers and
// shards by name. So planned unites the plans for all names. It also unites those for leases that
// have just become free, and for those that have waited.
func (d *decider) planned(w uint8, s *state) verbs {
	key := planKey{me: w}
	for i, r := range s.rows {
		holds := s.held[w-1][i].on
		key.rows[i] = r.pack() | bit(holds)<<16
		if !holds {
			expired, quiet := d.judge(r, s.ages[i])
			key.rows[i] |= bit(expired)<<17 | bit(quiet)<<18
		}
	}
	if found, ok := d.plans[key]; ok {
		return found
	}
	var all verbs
	for _, names := range permutations {
		for _, swap := range d.swaps {
			for _, waited := range []int{0, plan.Patience} {
				d.addPlan(&all, w, s, naming{names, swap}, waited)
			}
		}
	}
	d.plans[key] = all
	return all
}

// addPlan adds the plan for the workers and shards with other names.
func (d *decider) addPlan(all *verbs, w uint8, s *state, n naming, waited int) {
	v := plan.View{Me: workerName(n.workers[w]), Asks: 1}
	for i, from := range n.shards {
		r := s.rows[from]
		if !r.there {
			continue
		}
		holds := s.held[w-1][from].on
		row := plan.Row{Lease: d.lease(i, r.renamed(n.workers)), Busy: holds, ScansWaited: waited}
		if !holds {
			row.Expired, row.Quiet = d.judge(r, s.ages[from])
		}
		v.Rows = append(v.Rows, row)
		if r.owner == w && r.checkpoint != atEnd {
			v.Asks = -1
		}
	}
	for _, a := range d.plan(v) {
		i := slices.IndexFunc(d.list, func(sh kcl.Shard) bool { return sh.ID == a.Row.ShardID })
		all[n.shards[i]] |= 1 << a.Verb
	}
}

// renamed returns the row with other names of the workers.
func (r row) renamed(names [workers + 1]uint8) row {
	r.owner, r.checkpointOwner, r.handoverTo, r.native =
		names[r.owner], names[r.checkpointOwner], names[r.handoverTo], names[r.native]
	return r
}

// removals are the rows that clean-up may delete, each with the shards whose rows it checks first.
type removals [shards]struct {
	superfluous bool
	children    []int
}

// superfluous returns the rows that clean-up may delete once they have not changed for five
// minutes. These minutes cost no step. The owners of other shards renew meanwhile.
func (d *decider) superfluous(s *state) removals {
	var key [shards]uint32
	for i, r := range s.rows {
		key[i] = r.pack()
	}
	if found, ok := d.removals[key]; ok {
		return found
	}
	survey := shardsync.Survey{Shards: d.list}
	for i, r := range s.rows {
		if r.there {
			survey.Rows = append(survey.Rows, d.lease(i, r))
		}
	}
	survey.At, survey.ListedAt = time.Unix(1, 0), time.Unix(1, 0)
	_, past := d.cleanup(survey, shardsync.CleanupHistory{})
	survey.At, survey.ListedAt = time.Unix(1, 0).Add(time.Hour), time.Unix(1, 0).Add(time.Hour)
	planned, _ := d.cleanup(survey, past)
	var all removals
	number := func(id string) int {
		return slices.IndexFunc(d.list, func(sh kcl.Shard) bool { return sh.ID == id })
	}
	for _, p := range planned {
		r := &all[number(p.Lease.ShardID)]
		r.superfluous = true
		for _, c := range p.Children {
			r.children = append(r.children, number(c))
		}
	}
	d.removals[key] = all
	return all
}

// parentsPassed tells whether no parent holds the shard s back. A parent without a row does, unless
// the shard has begun: in this world no parent is empty, and none has left the retention period.
func (d *decider) parentsPassed(s *state, shard uint8) bool {
	passed := make([]bool, 0, shards)
	for _, p := range d.parents[shard] {
		passed = append(passed, d.parentPassed(shard, p, s.rows[shard], s.rows[p]))
	}
	return d.waitedFor(passed)
}

func (d *decider) parentPassed(shard uint8, p int, child, parent row) bool {
	key := [2]uint32{child.pack() | uint32(shard)<<16, parent.pack() | uint32(p)<<16}
	if found, ok := d.passed[key]; ok {
		return found
	}
	var l leases.Lease
	if parent.there {
		l = d.lease(p, parent)
	}
	state, known := d.judgeParent(d.lease(int(shard), child), parent.there, l)
	d.passed[key] = known && (state == shardsync.ParentEnded || state == shardsync.ParentPassed)
	return d.passed[key]
}
