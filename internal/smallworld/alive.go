package smallworld

// liveKey is the part of a state that is left of one shard when all workers have died.
type liveKey struct {
	row   row
	facts facts
}

// lifeRounds bounds the fault-free suffix in which all shards must be finished.
const lifeRounds = 24

// checkAlive tells whether the shards can still be finished: all workers die, lost writes are gone,
// and a new worker starts. That depends on rows and facts only. The dead workers get new names.
func (x *search) checkAlive(s *state) (broken string) {
	var key [shards]liveKey
	fresh := state{facts: s.facts, lost: x.maxLost}
	for i, r := range s.rows {
		if r.there {
			r = r.ofDead()
		}
		fresh.rows[i] = r
		key[i] = liveKey{r, s.facts[i]}
	}
	if x.alive[key] {
		return ""
	}
	if broken := x.live(&fresh); broken != "" {
		return broken
	}
	x.alive[key] = true
	return ""
}

// ofDead returns the row with the names 2 and 3 for its owners. Its counters do not matter.
func (r row) ofDead() row {
	var names [workers + 1]uint8
	names[r.checkpointOwner] = 3
	names[r.owner] = 2
	names[nobody] = nobody
	r = r.renamed(names)
	r.counter, r.switches = 0, 0
	return r
}

// live lets one worker work without faults until every shard is finished.
func (x *world) live(s *state) (broken string) {
	for range lifeRounds {
		if x.finished(s) {
			return ""
		}
		for _, k := range []kind{release, take, complete, checkpoint, finish, renew} {
			for _, st := range x.steps(s, nil) {
				if st.kind == k && st.worker == 1 {
					if broken = x.apply(s, st); broken != "" {
						return broken
					}
				}
			}
		}
		if broken = x.apply(s, step{kind: pass}); broken != "" {
			return broken
		}
	}
	return "a shard can never be finished"
}

// finished tells whether every shard is read to its end. An open shard has no end.
func (x *world) finished(s *state) bool {
	for i, f := range s.facts {
		end := atEnd
		if len(x.children[i]) == 0 {
			end = atRecord
		}
		if f.top < end {
			return false
		}
	}
	return true
}
