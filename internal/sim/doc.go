// Package sim runs fleets of real Schedulers against the fakes of this module, in virtual time and
// with faults. A [Scenario] is a world in one line of text. Most scenarios are drawn from a seed. A
// [World] plays a scenario inside a synctest bubble, and package check judges every event.
//
// The test TestSim plays new seeds for a given CPU time, and says how to repeat a violation. It
// first looks for a smaller scenario that shows the same violation. docs/simulation.md has the
// invariants, the menu of faults and the figures.
package sim
