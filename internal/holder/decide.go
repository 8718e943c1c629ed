package holder

import (
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// The functions in this file are the decisions of a holder. They are pure: they call no store and
// read no clock. The holder uses them, and so does the search of internal/smallworld.

// OwnerUpdate returns the conditional write by which the actual owner of row changes it to the
// attributes set of to. The write raises the counter.
func OwnerUpdate(row, to leases.Lease, set leases.Attr) leases.Update {
	expect := leases.AttrCounter | leases.AttrOwner | leases.AttrCheckpointOwner
	if row.CheckpointOwner != "" {
		// Other workers may change the next owner; see DynamoDBLeaseRenewer.
		expect = leases.AttrCounter | leases.AttrCheckpointOwner
	}
	to.Counter = row.Counter + 1
	return leases.Update{Read: row, Expect: expect, To: to, Set: set | leases.AttrCounter}
}

// WithCheckpoint returns row with the checkpoint pos, and the attributes that this changes.
func WithCheckpoint(row leases.Lease, pos kcl.ExtendedSequenceNumber) (leases.Lease, leases.Attr) {
	set := leases.AttrCheckpoint | leases.AttrPending | leases.AttrOwnerSwitches
	if row.Checkpoint != pos || !row.Timed() {
		// The row may have a PinnedAt that this worker does not know, because others write it too.
		row.PinnedAt = time.Time{}
		set |= leases.AttrPinnedAt
	}
	row.Checkpoint, row.Pending, row.PendingState = pos, kcl.ExtendedSequenceNumber{}, nil
	row.OwnerSwitchesSinceCheckpoint = 0
	return row, set
}

// HasCheckpoint tells whether row needs no write to have the checkpoint pos. An earlier write whose
// answer was lost may have gone further.
func HasCheckpoint(row leases.Lease, pos kcl.ExtendedSequenceNumber) bool {
	c := row.Checkpoint.Compare(pos)
	return c > 0 || (c == 0 && row.Pending.IsZero() && row.OwnerSwitchesSinceCheckpoint == 0 &&
		(row.Timed() || row.PinnedAt.IsZero()))
}

// Released returns row as its owner gives it up, and the attributes that this changes. If a
// hand-over has begun, the next owner has the row. Otherwise nobody has it.
func Released(row leases.Lease) (leases.Lease, leases.Attr) {
	if row.CheckpointOwner != "" {
		row.CheckpointOwner, row.HandoverTo = "", ""
		return row, leases.AttrCheckpointOwner | leases.AttrHandoverTo
	}
	row.Owner = ""
	return row, leases.AttrOwner
}

// AsksToFinish tells whether row asks its owner worker to finish: another worker is the next owner.
func AsksToFinish(row leases.Lease, worker string) bool {
	return row.CheckpointOwner == worker && row.Owner != worker
}

// Conflict says what a conflict means for the owner of a lease.
type Conflict int

// The kinds of conflicts.
const (
	Taken           Conflict = iota // the lease is another worker's
	OwnWrite                        // an earlier write of the owner has made the row (I3)
	HandoverChanged                 // a hand-over has begun, has another next owner, or was taken back (I2)
	RowGone                         // the row was deleted, or another one is in its place (I21)
)

// JudgeConflict says what a conflict means for worker, which holds the row held. writes are those
// that expect the counter of held and may have taken effect. current is the row in the table; nil
// if there is none. of is the index of the write that made the row, for OwnWrite.
func JudgeConflict(
	worker string, held leases.Lease, writes []leases.Update, current *leases.Lease,
) (c Conflict, of int) {
	if current == nil {
		return RowGone, 0
	}
	for i, w := range writes {
		if wrote(w, *current, worker) {
			return OwnWrite, i
		}
	}
	switch {
	case handoverChanged(worker, held, *current):
		return HandoverChanged, 0
	case isNewRow(held, *current):
		return RowGone, 0
	}
	return Taken, 0
}

// wrote tells whether row shows that the write w of worker took effect (I3). The row must have the
// counter of w, and worker as the actual owner. It must have every attribute that w set, and every
// attribute that only an owner sets. A hand-over may have begun since.
func wrote(w leases.Update, row leases.Lease, worker string) bool {
	return row.ActualOwner() == worker && row.Same((w.Set|ownerAttrs)&^HandoverAttrs, w.To)
}

// handoverChanged tells whether current differs from the held row only by a change of a hand-over.
// The counter has not changed, so the lease is still worker's.
func handoverChanged(worker string, held, current leases.Lease) bool {
	return current.Counter == held.Counter &&
		current.ActualOwner() == worker &&
		current.CheckpointOwner != current.Owner &&
		!current.Same(HandoverAttrs, held)
}

// isNewRow tells whether current is a new row in place of the deleted one. The counter of one row
// only grows.
func isNewRow(held, current leases.Lease) bool { return current.Counter < held.Counter }
