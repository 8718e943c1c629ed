// Package memory is a lease table in memory: for tests, for examples and for a
// single process whose progress may be forgotten at its end. Several workers
// of one process share one [Store].
//
// A [Client] is the table as one worker sees it, and can be made to fail like
// a real one: answers that get lost after the write took effect, outages,
// delays, a worker that is frozen or killed. It has no counterpart in the KCL.
package memory
