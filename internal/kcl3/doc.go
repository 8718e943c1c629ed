// Package kcl3 makes the decisions of the Java KCL 3.x. They are pure: no clock, no table, no
// goroutine. internal/coordinator asks for them and carries them out. The tests replay the KCL's
// own test vectors. docs/kcl3.md lists where this library departs from the KCL.
//
//	Assign             which worker gets which lease, decided by the leader
//	Cadence            when the leader evens out the load
//	WorkerWatch        which workers live, by their reports
//	LockWatch          whether the lock of the leader is free
//	HandoverWatch      which hand-overs take too long
//	NeglectWatch       which leases the leader has neglected
//	ReadyWatch         when a fleet of KCL 2.x is ready for 3.x
//	NextClientVersion  the step from KCL 2.x to 3.x
//	NextTable          the steps to a single table
//	Throughput         the moving average that an owner writes into its row
package kcl3
