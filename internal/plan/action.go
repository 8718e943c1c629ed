package plan

import "github.com/kinesis-go/kcl/leases"

// Verb is the kind of an action.
type Verb int

// The kinds of actions.
const (
	Take     Verb = iota // make this worker the owner now
	Ask                  // make this worker the next owner
	Complete             // complete a hand-over for which this worker has no consumer any more
	Mend                 // remove the traces of a hand-over during which another library took the lease
)

// String returns the word that logs and transcripts use.
func (v Verb) String() string { return [...]string{"take", "ask for", "complete", "mend"}[v] }

// Action is one write to one row.
type Action struct {
	Verb Verb
	// Row is the row as the view of the plan has it.
	Row leases.Lease
	// Reason is free, expired, balance or handover, for a take. It is balance for an ask, and empty
	// otherwise.
	Reason string
}

// Done tells whether a row shows that the action of worker me succeeded. row is the row after the
// action; nil when it is not known.
func (a Action) Done(row *leases.Lease, me string) bool {
	switch {
	case row == nil:
		return false
	case a.Verb == Take:
		return row.Owner == me && row.CheckpointOwner == ""
	case a.Verb == Ask:
		return row.Owner == me && row.CheckpointOwner == a.Row.Owner
	}
	return row.CheckpointOwner == ""
}
