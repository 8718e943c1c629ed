package smallworld

import (
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/plan"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// rules are the decisions that the search tries. A test plants another one.
type rules struct {
	judgeSighting func(s coordinator.Sighting, l leases.Lease, now, failover time.Duration) (expired, quiet bool)
	remaining     func(failover time.Duration, sent, now trust.Instant) time.Duration
	plan          func(plan.View) []plan.Action
	takeUpdate    func(l leases.Lease, worker string) leases.Update
	judgeTake     func(write leases.Update, row *leases.Lease, accepted bool) coordinator.TakeOutcome
	askUpdate     func(l leases.Lease, worker string) leases.Update
	ownerUpdate   func(row, to leases.Lease, set leases.Attr) leases.Update
	checkpoint    func(leases.Lease, kcl.ExtendedSequenceNumber) (leases.Lease, leases.Attr)
	released      func(row leases.Lease) (leases.Lease, leases.Attr)
	judgeConflict func(string, leases.Lease, []leases.Update, *leases.Lease) (holder.Conflict, int)
	judgeParent   func(child leases.Lease, found bool, parent leases.Lease) (shardsync.ParentState, bool)
	cleanup       func(shardsync.Survey, shardsync.CleanupHistory) ([]shardsync.Removal, shardsync.CleanupHistory)
	holdsParent   func(found bool, child leases.Lease) bool
	waitedFor     func(parentsPassed []bool) bool
	// endsBefore says that SHARD_END may be written before the rows of the children exist.
	endsBefore bool
}

// theRules are the decisions of the library.
func theRules() rules {
	return rules{
		judgeSighting: coordinator.Sighting.Judge, remaining: trust.Remaining, plan: plan.Native,
		takeUpdate: coordinator.TakeUpdate, judgeTake: coordinator.JudgeTake, askUpdate: coordinator.AskUpdate,
		ownerUpdate: holder.OwnerUpdate, checkpoint: holder.WithCheckpoint, released: holder.Released,
		judgeConflict: holder.JudgeConflict, judgeParent: shardsync.JudgeParent,
		cleanup: shardsync.PlanCleanup, holdsParent: shardsync.HoldsParent,
		waitedFor: func(passed []bool) bool { return !slices.Contains(passed, false) },
	}
}

// Times of this world. One tick is a little less than half of FailoverTime. After two ticks the
// slowest clock shows less than 0.95 FailoverTime, and the fastest one more than 1.0 and less than
// 1.05. After three ticks every clock shows more than 1.05. So an owner trusts its lease for two
// ticks, and others take it after three. That holds for all clocks that are wrong by 4 % at most.
const (
	failover  = 1000 * time.Second
	tick      = 485 * time.Second
	maxAge    = 3
	slowClock = 96 // percent
	fastClock = 104
)

// slow returns the time of ticks as a slow clock shows it, and fast as a fast clock does. An owner
// has a slow clock, and an observer a fast one. That is the worst case for both.
func slow(ticks uint8) time.Duration { return time.Duration(ticks) * tick * slowClock / 100 }
func fast(ticks uint8) time.Duration { return time.Duration(ticks) * tick * fastClock / 100 }

// clockStart is the reading of the clocks when the world begins.
const clockStart = 1000 * failover

// trusted tells whether an owner still trusts a lease, ticks after it sent its last renewal.
func (r *rules) trusted(ticks uint8) bool {
	begin := trust.Instant{Wall: time.Unix(0, 0), Mono: clockStart}
	now := trust.Instant{Wall: begin.Wall.Add(slow(ticks)), Mono: clockStart + slow(ticks)}
	return r.remaining(failover, begin, now) > 0
}
