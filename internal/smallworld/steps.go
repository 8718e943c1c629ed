package smallworld

import (
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// world carries out the steps, and checks them.
type world struct{ *decider }

// newWorld returns the world of a family in which the rules decide.
func newWorld(r rules, f *family, maxLost uint8) *world { return &world{newDecider(r, f, maxLost)} }

// steps appends the steps that are possible in a state.
func (x *world) steps(s *state, all []step) []step {
	all = append(all, step{kind: pass})
	for i := range s.flights {
		if s.flights[i].kind != nothing {
			all = append(all, step{kind: land, flight: uint8(i + 1), shard: s.flights[i].shard})
		}
	}
	for i, r := range x.superfluous(s) {
		if r.superfluous {
			all = append(all, step{kind: cleanUp, shard: uint8(i)})
		}
	}
	for w := uint8(1); w <= workers; w++ {
		planned := x.planned(w, s)
		for i := range uint8(shards) {
			if s.of(w, i).on {
				all = x.ownerSteps(s, w, i, all)
				continue
			}
			for verb, k := range [...]kind{plan.Take: take, plan.Ask: ask, plan.Complete: complete, plan.Mend: mend} {
				if planned[i]&(1<<verb) != 0 {
					all = x.actions(s, step{kind: k, worker: w, shard: i}, all)
				}
			}
		}
	}
	return all
}

// actions appends the ways in which an action of a plan can go.
func (x *world) actions(s *state, st step, all []step) []step {
	all = x.withAnswers(s, st, all)
	for i, f := range s.flights {
		if f.kind != nothing && f.shard == st.shard {
			st.flight = uint8(i + 1)
			all = append(all, st)
		}
	}
	return all
}

// ownerSteps appends the steps of the owner of a lease.
func (x *world) ownerSteps(s *state, w, i uint8, all []step) []step {
	h := s.of(w, i)
	st := step{worker: w, shard: i}
	add := func(k kind) { st.kind = k; all = x.withAnswers(s, st, all) }
	if h.releasing || h.stopping {
		add(release)
	}
	if h.releasing {
		return all
	}
	if h.age > 0 || h.row != s.rows[i] { // a second renewal at the same time shows nothing new
		add(renew)
	}
	if h.row.checkpoint == atTrimHorizon {
		if !x.parentsPassed(s, i) {
			return all
		}
		add(checkpoint)
	}
	if len(x.children[i]) > 0 {
		add(finish)
	}
	return all
}

// withAnswers appends the step of a write, once for each answer.
func (x *world) withAnswers(s *state, st step, all []step) []step {
	st.answer = answered
	all = append(all, st)
	if s.lost == x.maxLost {
		return all
	}
	st.answer = flying
	all = append(all, st)
	if st.kind == take { // the worker reads the row at once
		st.answer = applied
		all = append(all, st)
	}
	return all
}

// apply carries out a step. The result names a promise that the step has broken, or is empty.
func (x *world) apply(s *state, st step) (broken string) {
	switch st.kind {
	case pass:
		x.pass(s)
	case land:
		broken = x.land(s, st.flight)
	case take, ask, complete, mend:
		broken = x.act(s, st)
	case cleanUp:
		broken = x.cleanUp(s, st.shard)
	case finish, checkpoint:
		broken = x.process(s, st)
		if broken == "" {
			broken = x.ownerWrite(s, st)
		}
	default:
		broken = x.ownerWrite(s, st)
	}
	if broken == "" {
		broken = x.check(s)
	}
	return broken
}

// pass lets a tick pass. Leases that can no longer be trusted end.
func (x *world) pass(s *state) {
	older := func(age *uint8) { *age = min(*age+1, maxAge) }
	for i := range s.rows {
		if s.rows[i].there {
			older(&s.ages[i])
		}
		for w := range s.held {
			h := &s.held[w][i]
			if !h.on {
				continue
			}
			older(&h.age)
			if !x.trust[h.age] {
				*h = held{}
			}
			for k := range h.attempts {
				if h.attempts[k].kind != nothing {
					older(&h.attempts[k].age)
				}
			}
		}
	}
}

// land lets a write without an answer reach the table. flight counts from 1.
func (x *world) land(s *state, flight uint8) (broken string) {
	f := s.flights[flight-1]
	s.removeFlight(flight - 1)
	_, broken = x.send(s, f)
	return broken
}

// removeFlight removes a flight.
func (s *state) removeFlight(i uint8) {
	s.flights[i] = flight{}
	if i == 0 {
		s.flights[0], s.flights[1] = s.flights[1], flight{}
	}
}

// post sends a write. sent tells whether the table has it already, and accepted whether it has
// accepted the write.
func (x *world) post(s *state, st step, w write, stale bool) (sent, accepted bool, broken string) {
	f := flight{st.kind, st.worker, st.shard, stale, w}
	if st.answer != answered {
		s.lost++
	}
	if st.answer != flying {
		accepted, broken = x.send(s, f)
		return true, accepted, broken
	}
	for i := range s.flights {
		if s.flights[i].kind == nothing {
			s.flights[i] = f
			return false, false, ""
		}
	}
	panic("smallworld: too many flights")
}

// act carries out an action of a plan: a take, or a write to a hand-over. A flight may land between
// the listing of the plan and the write.
func (x *world) act(s *state, st step) (broken string) {
	listed := s.rows[st.shard]
	if st.flight > 0 {
		if broken = x.land(s, st.flight); broken != "" {
			return broken
		}
	}
	for range 3 {
		w := x.write(st.kind, st.worker, st.shard, listed)
		_, accepted, broken := x.post(s, st, w, false)
		if broken != "" || st.kind != take {
			return broken
		}
		update := leases.Update{Read: x.lease(int(st.shard), w.read), To: x.lease(int(st.shard), w.to), Set: w.set}
		outcome := x.judgeTake(update, x.current(s, st.shard), accepted && st.answer == answered)
		st.answer = answered // of the next attempt
		if outcome == coordinator.TakenNow {
			*s.of(st.worker, st.shard) = held{on: true, row: w.to, stale: !accepted}
		}
		if outcome != coordinator.TakeAgain {
			return ""
		}
		listed = s.rows[st.shard]
	}
	return ""
}

// current returns the row of a shard as a worker reads it now, or nil.
func (x *world) current(s *state, shard uint8) *leases.Lease {
	if !s.rows[shard].there {
		return nil
	}
	l := x.lease(int(shard), s.rows[shard])
	return &l
}

// ownerWrite sends a write of the owner of a lease, once.
func (x *world) ownerWrite(s *state, st step) (broken string) {
	h := s.of(st.worker, st.shard)
	h.releasing = h.releasing || st.kind == release
	w := x.write(st.kind, st.worker, st.shard, h.row)
	sent, accepted, broken := x.post(s, st, w, h.stale)
	switch {
	case broken != "":
	case !sent:
		h.remember(attempt{kind: st.kind, to: w.to, set: w.set})
	case accepted:
		x.accept(h, st, w.to, 0)
	default:
		x.conflict(s, h, st, attempt{kind: st.kind, to: w.to, set: w.set})
	}
	return broken
}

// remember keeps an attempt whose outcome is not known. Of two equal ones the earlier one stays.
func (h *held) remember(a attempt) {
	for i := range h.attempts {
		b := &h.attempts[i]
		if b.kind == a.kind && b.set == a.set && b.to == a.to {
			return
		}
		if b.kind == nothing {
			*b = a
			return
		}
	}
}

// accept keeps r as the row that the owner has written. The write was sent age ticks ago.
func (x *world) accept(h *held, st step, r row, age uint8) {
	h.attempts = [mostLost]attempt{}
	h.row, h.age = r, age
	if st.kind == release || r.checkpoint == atEnd || !x.trust[age] { // nothing is left to write
		*h = held{}
		return
	}
	h.stopping = h.stopping || holder.AsksToFinish(x.lease(int(st.shard), r), workerName(st.worker))
}

// conflict handles a refused write of the owner.
func (x *world) conflict(s *state, h *held, st step, last attempt) {
	var known []attempt
	var updates []leases.Update
	for _, a := range append(h.attempts[:], last) {
		if a.kind != nothing {
			known = append(known, a)
			updates = append(updates, leases.Update{To: x.lease(int(st.shard), a.to), Set: a.set})
		}
	}
	now := s.rows[st.shard]
	verdict, of := x.judgeConflict(workerName(st.worker), x.lease(int(st.shard), h.row), updates, x.current(s, st.shard))
	switch verdict {
	case holder.OwnWrite:
		st.kind = known[of].kind
		x.accept(h, st, now, known[of].age)
	case holder.HandoverChanged:
		h.row = h.row.with(holder.HandoverAttrs, now)
		h.stopping = h.stopping || now.checkpointOwner != nobody
	default:
		*h = held{} // no row vanishes here before its shard is finished
	}
}

// process processes the record of a shard, unless that was done. At the end of the shard it makes
// the rows of the children.
func (x *world) process(s *state, st step) (broken string) {
	for _, p := range x.parents[st.shard] {
		if s.facts[p].top != atEnd {
			return "S6: a record is delivered before the parent " + x.list[p].ID + " has ended"
		}
	}
	s.facts[st.shard].done = true
	if st.kind != finish || x.endsBefore {
		return ""
	}
	for _, c := range x.children[st.shard] {
		if s.rows[c].there {
			continue
		}
		if s.facts[c].deleted {
			return "S15: the row of " + x.list[c].ID + " is made again after clean-up has deleted it"
		}
		s.rows[c], s.ages[c] = x.childRow(int(st.shard), c), 0
		s.facts[c].made = true
	}
	return ""
}

// cleanUp deletes a superfluous row. It checks the rows of the children once more. The shards that
// are finished have been so for five minutes, and no renewal of their owners was accepted since. So
// no worker trusts a lease of theirs any more.
func (x *world) cleanUp(s *state, shard uint8) (broken string) {
	for i, r := range s.rows {
		if r.checkpoint != atEnd {
			continue
		}
		for w := range s.held {
			s.held[w][i] = held{}
		}
	}
	for _, c := range x.superfluous(s)[shard].children {
		var child leases.Lease
		if s.rows[c].there {
			child = x.lease(c, s.rows[c])
		}
		if x.holdsParent(s.rows[c].there, child) {
			return ""
		}
	}
	left, removed := s.rows[shard].remove(s.rows[shard], shardsync.RemovalExpects)
	if !removed {
		return ""
	}
	if s.rows[shard].checkpoint != atEnd {
		return "the row of a shard that is not finished is deleted, and its checkpoint is lost"
	}
	for _, c := range x.children[shard] {
		if s.facts[c].top == atTrimHorizon {
			return "the row of " + x.list[shard].ID + " is deleted before its child " + x.list[c].ID + " has been read from"
		}
	}
	s.rows[shard], s.ages[shard], s.facts[shard].deleted = left, 0, true
	return ""
}
