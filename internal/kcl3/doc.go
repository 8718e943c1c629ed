// Package kcl3 is the protocol of the Java KCL 3.x as pure decisions: no clock, no table, no
// goroutine. internal/coordinator asks it and carries the decisions out. The tests replay
// the KCL's own test vectors; docs/kcl3.md lists where this library departs from them.
//
//	Assign             which worker gets which lease, by the leader
//	Cadence            when the leader evens out the load
//	WorkerWatch        which workers live, by their reports
//	LockWatch          whether the lock of the leader is free
//	HandoverWatch      which hand-overs take too long
//	Neglect            which leases the leader has left lying
//	ReadyWatch         when a fleet of KCL 2.x is ready for 3.x
//	NextClientVersion  the step from KCL 2.x to 3.x
//	NextTable          the steps to a single table
//	Throughput         the moving average that an owner writes into its row
package kcl3
