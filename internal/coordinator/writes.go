package coordinator

import (
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
)

// The functions in this file say how a lease changes its owner. They are pure: they call no store
// and read no clock. The coordinator uses them, and so does the search of internal/smallworld.

// ownerChangeAttrs are the attributes that change when a lease is given to a worker. takeAttrs are
// those that change when a worker takes one.
const (
	ownerChangeAttrs = holder.HandoverAttrs | leases.AttrCounter | leases.AttrOwnerSwitches
	takeAttrs        = ownerChangeAttrs | leases.AttrNativeOwner
)

// withHandover returns l as it is while its owner hands it over to next.
func withHandover(l leases.Lease, next string) leases.Lease {
	l.Owner, l.CheckpointOwner, l.HandoverTo = next, l.Owner, next
	return l
}

// withoutHandover returns l as it is after its hand-over.
func withoutHandover(l leases.Lease) leases.Lease {
	l.CheckpointOwner, l.HandoverTo = "", ""
	return l
}

// givenTo returns l as it is once worker holds it. It counts changes of owner as the KCL does.
func givenTo(l leases.Lease, worker string) leases.Lease {
	to := withoutHandover(l)
	to.Owner = worker
	to.Counter++
	if (l.Owner != "" && l.Owner != worker) || l.CheckpointOwner == worker {
		to.OwnerSwitchesSinceCheckpoint++
	}
	return to
}

// TakeUpdate returns the write by which worker takes l. It removes a PinnedAt beside a sequence
// number: another library has written a checkpoint, and does not know PinnedAt.
func TakeUpdate(l leases.Lease, worker string) leases.Update {
	u := leases.Update{
		Read: l, Expect: leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter,
		To: givenTo(l, worker), Set: takeAttrs,
	}
	u.To.NativeOwner = worker
	if !l.Timed() && !l.PinnedAt.IsZero() {
		u.To = u.To.Unpinned()
		u.Expect |= leases.AttrCheckpoint | leases.AttrPinnedAt
		u.Set |= leases.AttrPinnedAt | leases.AttrOrigin
	}
	return u
}

// AskUpdate returns the write by which worker becomes the next owner of l. It leaves the counter
// alone, because the owner goes on renewing.
func AskUpdate(l leases.Lease, worker string) leases.Update {
	return leases.Update{
		Read: l, Expect: leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrNativeOwner,
		To: withHandover(l, worker), Set: holder.HandoverAttrs,
	}
}

// CompleteUpdate returns the write that completes the hand-over of l for an owner without a
// consumer.
func CompleteUpdate(l leases.Lease) leases.Update {
	to := withoutHandover(l)
	to.Counter++
	return leases.Update{
		Read: l, Expect: leases.AttrCheckpointOwner | leases.AttrCounter,
		To: to, Set: leases.AttrCheckpointOwner | leases.AttrHandoverTo | leases.AttrCounter,
	}
}

// TakeOutcome says what became of a take.
type TakeOutcome int

// The outcomes of a take.
const (
	NotTaken  TakeOutcome = iota // the lease is not this worker's
	TakenNow                     // this worker holds the lease, since the take was sent
	TakeAgain                    // the row is this worker's, but the take proves nothing
)

// JudgeTake tells the outcome of the take write. row is the row after it; nil if it is not known.
// accepted says that the table has answered yes to this write.
//
// An uncertain take is no take (I4). An earlier write of this worker may have landed late, and may
// have made the row so. Others have counted since that write:
//
//	earlier renewal   this take                     others
//	sent, no answer
//	lands: c=8                                      count from here
//	                  sent: conflict, c=8, mine
//
// Trust that began with this take would end after others may take the lease.
func JudgeTake(write leases.Update, row *leases.Lease, accepted bool) TakeOutcome {
	switch {
	case accepted:
		return TakenNow
	case row == nil || !row.Same(takeAttrs&^leases.AttrOwnerSwitches, write.To):
		return NotTaken
	}
	return TakeAgain
}
