// Package election elects the leader of a KCL 3.x fleet. An [Elector] watches the lock while
// another worker has it, acquires a free lock, and renews its own lock. A goroutine of its own does
// that, so that the leader's other work never delays a heartbeat. It stands where the KCL has
// DynamoDBLockBasedLeaderDecider. The coordinator runs one on a table of KCL 3.x.
//
//	campaign --- acquired --> keepLock --- lost, or expired here --> campaign
//	                              '--- resigned --> released, a pause --> campaign
//
// term.go and kcl3.LockWatch decide what the lock says.
package election
