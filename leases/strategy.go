package leases

// AssignmentStrategy says by what a leader shares leases out. It has no effect where
// workers take leases by themselves, see [Balance].
type AssignmentStrategy int

const (
	// AssignByUtilization evens out how much the workers are used, by the CPU that
	// they report, or else by the throughput of their leases
	// (WORKER_UTILIZATION_AWARE in the KCL).
	AssignByUtilization AssignmentStrategy = iota
	// AssignByLeaseCount evens out the number of leases (LEASE_COUNT_BASED).
	AssignByLeaseCount
)

// String returns the word that logs use.
func (s AssignmentStrategy) String() string {
	if s == AssignByLeaseCount {
		return "lease count"
	}
	return "utilization"
}

// MarshalText implements [encoding.TextMarshaler] with [AssignmentStrategy.String].
func (s AssignmentStrategy) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
