package shardsync

import (
	"slices"
	"strings"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// Claim is what a worker must still write, before anything else, so that the
// table is its application's, and a stream's leases in it are its stream's.
// [PlanClaim] makes it. When it is Done nobody else can claim the same: of two
// that write a claim, the later one sees that of the other in its next listing.
type Claim struct {
	// Adopt marks leases that were made without marks. All workers choose the same
	// ones, the least key of the table and the least of the stream, so that one
	// worker wins.
	Adopt []leases.Update
	// Unproven says that the stream has leases, and that none is marked: [ClaimFits]
	// must tell whether they can be this stream's before one is adopted.
	Unproven bool
	// Vacant says that the stream has no lease. The first lease of its plan is
	// made, alone; it is called the anchor.
	Vacant bool
	// Anchor is the only lease of the stream, if nobody has read or taken it.
	// Whoever made it may still take it back; see [ConfirmAnchor].
	Anchor *leases.Lease
}

// Done tells whether nothing is left to be written.
func (c Claim) Done() bool { return len(c.Adopt) == 0 && !c.Vacant && c.Anchor == nil }

// PlanClaim decides what is missing for a claim. rows are all rows of the table,
// of a listing that shows every accepted write ([leases.Store.ListNow]), none of which
// fails [leases.Marks.Check]. It is pure. List and plan again after each claim that is
// not done has been carried out.
func PlanClaim(rows []leases.Lease, m leases.Marks) Claim {
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
	unmarked := func(l leases.Lease) bool { return l.Application == "" }
	if len(rows) > 0 && m.Application != "" && !slices.ContainsFunc(rows, func(l leases.Lease) bool { return !unmarked(l) }) {
		c.adopt(rows, leases.Marks{Application: m.Application})
	}
	if !c.Vacant && m.StreamARN != "" && !slices.ContainsFunc(own, func(l leases.Lease) bool { return l.StreamARN != "" }) {
		c.Unproven = true
		c.adopt(own, leases.Marks{StreamARN: m.StreamARN})
	}
	return c
}

// adopt marks the row with the least key.
func (c *Claim) adopt(rows []leases.Lease, m leases.Marks) {
	l := slices.MinFunc(rows, func(a, b leases.Lease) int { return strings.Compare(a.Key, b.Key) })
	to, set := m.Complete(l)
	c.Adopt = append(c.Adopt, leases.Update{Read: l, Expect: set, To: to, Set: set})
}

// revocable tells whether l is as its maker left it.
func revocable(l leases.Lease) bool {
	return l.Counter == 0 && l.ActualOwner() == "" && !l.Started()
}

// ConfirmAnchor returns the write by which a worker keeps the maker of an anchor from
// taking it back: it changes the counter, which the maker expects.
func ConfirmAnchor(l leases.Lease) leases.Update {
	to := l
	to.Counter++
	return leases.Update{Read: l, Expect: leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter | leases.AttrCheckpoint, To: to, Set: leases.AttrCounter}
}

// ClaimFits tells whether leases without marks can be those of a stream with these
// shards: a lease has hash keys, parents and checkpoint as its shard has, as far
// as it says, or all leases are finished or of shards that are not listed.
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
