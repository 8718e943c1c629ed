package smallworld

import "github.com/kinesis-go/kcl/leases"

// send brings a write to the table, and compares an accepted one with the promises.
func (x *world) send(s *state, f flight) (accepted bool, broken string) {
	before := s.rows[f.shard]
	after, accepted := before.update(f.write)
	if !accepted {
		return false, ""
	}
	s.rows[f.shard] = after
	if after.counter != before.counter {
		s.ages[f.shard] = 0
	}
	facts := &s.facts[f.shard]
	switch {
	case f.kind == take:
		s.outdate(f.shard)
	case f.kind != ask && f.kind != complete && f.kind != mend && f.stale:
		return true, "S3: a write of an owner is accepted after another take was"
	}
	if after.checkpoint < facts.top {
		return true, "S2: a checkpoint goes back"
	}
	if after.checkpoint > before.checkpoint && !facts.done {
		return true, "S1: a checkpoint is accepted before the record was processed"
	}
	if after.checkpoint == atEnd && before.checkpoint != atEnd {
		for _, c := range x.children[f.shard] {
			if !s.facts[c].made {
				return true, "S8: SHARD_END is accepted before the row of the child " + x.list[c].ID + " exists"
			}
		}
	}
	facts.top = after.checkpoint
	return true, ""
}

// outdate marks what belongs to earlier takes of a shard.
func (s *state) outdate(shard uint8) {
	for w := range s.held {
		if h := &s.held[w][shard]; h.on {
			h.stale = true
		}
	}
	for i := range s.flights {
		if f := &s.flights[i]; f.kind != nothing && f.shard == shard {
			f.stale = true
		}
	}
}

// check compares a state with the promises that hold at every moment.
func (x *world) check(s *state) (broken string) {
	for i := range s.rows {
		owners := 0
		for w := range s.held {
			if h := &s.held[w][i]; h.on && !h.releasing && x.trust[h.age] {
				owners++
			}
		}
		if owners > 1 {
			return "S4: two workers trust their lease of " + x.list[i].ID + " at the same time"
		}
		if s.rows[i].there && s.rows[i].checkpoint != s.facts[i].top {
			return "a checkpoint that was accepted is lost"
		}
	}
	return ""
}

// forget removes what can have no effect any more. So states that differ in that only are equal.
func (s *state) forget() {
	for i := uint8(0); int(i) < len(s.flights) && s.flights[i].kind != nothing; {
		f := &s.flights[i]
		r := s.rows[f.shard]
		if !r.there || (f.write.expect.Has(leases.AttrCounter) && f.write.read.counter != r.counter) {
			s.removeFlight(i)
			continue
		}
		i++
	}
	for i, r := range s.rows {
		if r.checkpoint == atEnd || (r.owner == nobody && r.checkpointOwner == nobody) {
			s.ages[i] = 0 // nobody waits for such a row to expire
		}
	}
	for w := range s.held {
		for i := range s.held[w] {
			h := &s.held[w][i]
			for j := range h.attempts {
				if a := &h.attempts[j]; a.kind != nothing && a.to.counter < s.rows[i].counter {
					*a = attempt{}
				}
			}
			if h.attempts[0].kind == nothing {
				h.attempts[0], h.attempts[1] = h.attempts[1], attempt{}
			}
		}
	}
}
