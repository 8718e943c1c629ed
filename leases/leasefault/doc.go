// Package leasefault lets a lease table fail in tests, as a real table fails: an answer gets lost
// after its write, a call takes seconds, a process dies.
//
// An [Injector] stands in front of any [leases.Store]. Give each worker an Injector of its own, on
// one common table, and one worker can fail alone:
//
//	table := memory.New()
//	faults := leasefault.New(table)
//	worker := scheduler.New(scheduler.Config{Leases: faults.Store(), ...}, factory)
//	...
//	faults.SetFault(leasefault.Silent) // as if the process had died
//	faults.SetFault(nil)               // all is well again
//
// A [Fault] decides for each call whether the call reaches the table, when, and what the caller is
// told. [Silent], [Failing], [Lossy], [Slow] and [Late] are ready faults.
//
// [Injector.SetListLag] and [Injector.SetRowError] change the table as all workers see it. Put one
// Injector in front of the table for them, and the Injectors of the workers in front of that one:
//
//	table := leasefault.New(memory.New())
//	first, second := leasefault.New(table.Store()), leasefault.New(table.Store())
//	table.SetListLag(time.Second)
//
// Without a fault an Injector changes nothing. It has no counterpart in the KCL.
package leasefault
