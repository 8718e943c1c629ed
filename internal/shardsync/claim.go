package shardsync

import (
	"slices"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// Claim is the set of writes by which an application claims a table, and a stream its leases. A
// worker makes them before anything else. [PlanClaim] returns it.
//
// When a claim is Done, no other application can claim the same table or leases. Of two workers
// that write a claim, the later one sees the other's claim in its next listing.
type Claim struct {
	// Adopt marks leases that were made without marks. Each worker chooses two leases: the one with
	// the least key of the table, and the one with the least key of the stream. All workers choose
	// the same leases, so one worker wins.
	Adopt []leases.Update
	// Unproven says that the stream has leases, and that none is marked. Before the worker adopts
	// one, it must ask [ClaimFits] whether they can belong to this stream.
	Unproven bool
	// Vacant says that the stream has no lease. The worker makes only the first lease of its plan
	// then. That lease is called the anchor.
	Vacant bool
	// Anchor is the only lease of the stream, if nobody has read or taken it. The worker that made
	// it may still delete it; see [ConfirmAnchor].
	Anchor *leases.Lease
}

// Done tells whether the claim needs no write any more.
func (c Claim) Done() bool { return len(c.Adopt) == 0 && !c.Vacant && c.Anchor == nil }

// PlanClaim returns the writes that a claim still needs. rows are all rows of the table, from a
// listing that shows every accepted write ([leases.Store.ListNow]). None of them fails
// [Marks.Check]. PlanClaim is pure. After a claim that is not done has been carried out,
// list the table and plan again.
func PlanClaim(rows []leases.Lease, m Marks) Claim {
	var c Claim
	var own []leases.Lease
	for _, l := range rows {
		if l.Stream == m.Stream {
			own = append(own, l)
		}
	}
	c.Vacant = len(own) == 0
	if len(own) == 1 && revocable(own[0]) {
		c.Anchor = &own[0]
	}
	hasApplication := func(l leases.Lease) bool { return l.Application != "" }
	if len(rows) > 0 && m.Application != "" && !slices.ContainsFunc(rows, hasApplication) {
		c.adopt(rows, Marks{Application: m.Application})
	}
	hasStream := func(l leases.Lease) bool { return l.StreamARN != "" }
	if !c.Vacant && m.StreamARN != "" && !slices.ContainsFunc(own, hasStream) {
		c.Unproven = true
		c.adopt(own, Marks{StreamARN: m.StreamARN})
	}
	return c
}

// adopt adds the write that marks the row with the least key.
func (c *Claim) adopt(rows []leases.Lease, m Marks) {
	l := slices.MinFunc(rows, func(a, b leases.Lease) int { return strings.Compare(a.Key, b.Key) })
	to, set := m.Complete(l)
	c.Adopt = append(c.Adopt, leases.Update{Read: l, Expect: set, To: to, Set: set})
}

// revocable tells whether nobody has changed l since it was made.
func revocable(l leases.Lease) bool {
	return l.Counter == 0 && l.ActualOwner() == "" && !l.Started()
}

// ConfirmAnchor returns the write that keeps the maker of an anchor from deleting it. The write
// changes the counter, which the maker's deletion expects unchanged.
func ConfirmAnchor(l leases.Lease) leases.Update {
	to := l
	to.Counter++
	return leases.Update{
		Read: l, Expect: leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter | leases.AttrCheckpoint,
		To: to, Set: leases.AttrCounter,
	}
}

// ClaimFits tells whether leases without marks can belong to a stream with these shards. One lease
// that fits its shard is enough. Such a lease agrees with the shard in hash keys, parents and
// checkpoint, as far as the row has them. If no lease fits, every lease must be finished, or its
// shard must not be listed.
func ClaimFits(rows []leases.Lease, shards []kcl.Shard) bool {
	listed := make(map[string]kcl.Shard, len(shards))
	for _, s := range shards {
		listed[s.ID] = s
	}
	allPast := true
	for _, l := range rows {
		s, ok := listed[l.ShardID]
		if ok && leaseFits(l, s) {
			return true
		}
		allPast = allPast && (!ok || l.Finished())
	}
	return allPast
}

// leaseFits tells whether the hash keys, parents and checkpoint of l can be those of s.
func leaseFits(l leases.Lease, s kcl.Shard) bool {
	foreign := func(p string) bool { return !slices.Contains(s.Parents(), p) }
	if (!l.HashKeyRange.IsZero() && l.HashKeyRange != s.HashKeyRange) || slices.ContainsFunc(l.Parents, foreign) {
		return false
	}
	if !l.Started() || l.Finished() {
		return true
	}
	at := kcl.ExtendedSequenceNumber{SequenceNumber: l.Checkpoint.SequenceNumber}
	within := func(first, last string) bool {
		a, b := kcl.ExtendedSequenceNumber{SequenceNumber: first}, kcl.ExtendedSequenceNumber{SequenceNumber: last}
		return a.Validate() != nil || b.Validate() != nil || a.Compare(b) <= 0
	}
	return within(s.StartingSequenceNumber, at.SequenceNumber) && within(at.SequenceNumber, s.EndingSequenceNumber)
}
