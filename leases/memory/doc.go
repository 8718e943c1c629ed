// Package memory is a lease table in memory. It serves tests, examples, and a single process that
// may forget its progress at its end. The workers of one process share one [Store].
//
// Package leases/leasefault lets such a table fail like a real one. Package memory has no
// counterpart in the KCL.
package memory
