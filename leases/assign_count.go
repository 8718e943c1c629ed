package leases

// balanceCount moves leases from the worker that has most to the one that has
// least until they differ by one at most.
func (a *assigner) balanceCount() {
	for {
		to := a.receivers(true)
		if len(to) == 0 {
			return
		}
		var from *member
		for _, m := range a.members {
			if len(m.movable) > 0 && (from == nil || m.count > from.count) {
				from = m
			}
		}
		if from == nil || from.count-to[0].count < 2 {
			return
		}
		a.shift(a.shuffle(from)[0], from, to[0])
	}
}
