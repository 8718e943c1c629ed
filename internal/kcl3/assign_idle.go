package kcl3

import (
	"cmp"
	"slices"
)

// assignIdle assigns the leases that no worker reads. spillover is the number of those that it
// could not assign.
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

// workerFor returns the worker that gets the unread lease l; nil when none may.
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
// workers with an expired lease. It computes them anew only after a lease was assigned.
func (a *assigner) receivers() []*member {
	if a.receiverList == nil {
		list := a.candidates(true)
		slices.SortStableFunc(list, a.compareCandidates)
		a.receiverList = make([]*member, 0, len(list))
		for _, i := range list {
			a.receiverList = append(a.receiverList, i.member)
		}
	}
	return a.receiverList
}
