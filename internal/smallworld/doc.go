// Package smallworld tries every short history of a small fleet: three workers, three shards, and a
// lease table. It calls the pure decisions of the library. So it shows that no order of their
// results breaks a promise. Only its own tests use it.
//
// # The world
//
// A [state] has the rows of the table, the leases that workers hold, and lost writes that may still
// reach the table. It has no goroutine and no clock. Each [step] leads from one state to another:
//
//	takes, asks     a worker carries out an action that plan.Native plans by the rows
//	renews          an owner renews, and meets a hand-over
//	checkpoint      an owner processes the record of its shard, and writes a checkpoint
//	SHARD_END       an owner processes the record, makes the rows of the children, and ends the shard
//	gives up        an owner releases or hands over its lease
//	clean-up        deletes a row that shardsync.PlanCleanup returns
//	time passes     one tick, a little less than half of FailoverTime
//	a write lands   a write without an answer reaches the table late
//
// The answer of any write can be lost. Then the write lands at any later step, or never. A worker
// that makes no step while time passes is frozen. Its unsent writes count as lost ones.
//
// The real decisions are the functions in [rules]. A test replaces one of them by a wrong one, and
// requires that the search finds the mistake.
//
// # Where the world is wider than the library
//
//   - Every owner has a clock that is 4 % slow, every observer one that is 4 % fast (rules.go).
//   - Every worker has seen each counter as soon as it appeared. So leases expire early.
//   - A worker may carry out the plans for all orders of the names of workers and shards.
//   - The five minutes that clean-up waits take no step. Leases of unfinished shards survive them.
//
// # Where the world is smaller
//
//   - A shard has one record. Processing it and writing the checkpoint are one step.
//   - A listing is as new as its write, except that a lost write may land in between.
//   - No row is deleted by hand, and no worker of another library takes part.
//   - FailoverTime is less than the five minutes of clean-up. Otherwise an owner that has lost the
//     answer of its SHARD_END could make a child's row again after clean-up (S15).
//
// # What is checked
//
// After each step:
//
//   - S1: No checkpoint is ahead of the work.
//   - S2: No checkpoint goes back, and no accepted one is lost.
//   - S3: No owner writes after a later take.
//   - S4: At most one worker trusts a lease.
//   - S6: Parents come first.
//   - S8: SHARD_END comes after the rows of the children.
//   - S15: No deleted row is made again. No row is deleted before its children have been read from.
//
// From every state, one new worker can finish every shard.
//
// The search goes by breadth, so the history that it prints is a shortest one. States that differ
// only in the names of workers and shards are one state (canonical.go).
package smallworld
