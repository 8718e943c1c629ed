package shardsync

import "github.com/kinesis-go/kcl/leases"

// ParentState says whether a parent holds its child back, and why.
type ParentState int

// The states of a parent.
const (
	ParentUnread  ParentState = iota // the parent has not been read to its end
	ParentEnded                      // the parent's row says SHARD_END
	ParentPassed                     // the parent has no row, and the child need not wait for it
	ParentMissing                    // the parent has no row, and should have one
)

// JudgeParent tells by the rows alone whether a parent holds the shard of child back. found says
// whether the parent has a row. known is false if the rows do not tell: the child has not begun,
// and the parent has no row. JudgeParent is pure (I16, I17).
func JudgeParent(child leases.Lease, found bool, parent leases.Lease) (state ParentState, known bool) {
	switch {
	case found && parent.Finished():
		return ParentEnded, true
	case found:
		return ParentUnread, true
	case !child.Checkpoint.IsSentinel():
		return ParentPassed, true // the child has begun, so its parents had ended, and clean-up deleted their rows
	}
	return ParentUnread, false
}
