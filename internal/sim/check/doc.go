// Package check judges a simulated fleet. A world tells a [Checker] what happens: which records the
// service keeps, which writes the lease table accepts, and what the processors do. After each event
// the Checker tests the invariants that the event can break. The numbers S1, S2, ... of the
// invariants are those of docs/simulation.md.
//
// The Checker knows nothing of the library but its words (packages kcl and leases). It looks at the
// outside of the library alone, so a defect inside cannot hide itself.
package check
