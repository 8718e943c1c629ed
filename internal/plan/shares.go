package plan

import "slices"

// shares holds the number of leases of each living worker. Workers are numbers here, because a plan
// reads the shares for each lease that it moves.
type shares struct {
	workers []string // sorted
	load    []int    // the number of leases of each
	max     int      // leases that a worker may have; 0 for no limit
	me      int      // this worker
	seeds   []uint64 // see affinity
}

// nobody stands for no worker.
const nobody = -1

// shares returns the shares of the living workers, each worker with its number.
func (p *planner) shares() *shares {
	s := &shares{workers: p.workers, load: make([]int, len(p.workers)), max: p.Max, seeds: make([]uint64, len(p.workers))}
	for i, w := range p.workers {
		s.load[i], s.seeds[i] = p.load[w], seedOf(w)
	}
	s.me = s.numberOf(p.Me)
	return s
}

// numberOf returns the number of a worker, or nobody.
func (s *shares) numberOf(worker string) int {
	if i, ok := slices.BinarySearch(s.workers, worker); ok {
		return i
	}
	return nobody
}

// fewestLeases returns the worker with the fewest leases that may get one more, or nobody. The
// worker except does not count. Of several it is the one with the least affinity to the key.
func (s *shares) fewestLeases(except int, key string) int {
	best := nobody
	for i, load := range s.load {
		if i != except && s.hasRoom(i) && (best == nobody || load < s.load[best]) {
			best = i
		}
	}
	if best == nobody || key == "" {
		return best
	}
	first, closest := best, uint64(0)
	for i := first + 1; i < len(s.load); i++ {
		if i == except || s.load[i] != s.load[first] {
			continue
		}
		if closest == 0 {
			closest = affinityFrom(s.seeds[first], key)
		}
		if a := affinityFrom(s.seeds[i], key); a < closest {
			best, closest = i, a
		}
	}
	return best
}

// hasRoom tells whether a worker may get one more lease.
func (s *shares) hasRoom(worker int) bool { return s.max <= 0 || s.load[worker] < s.max }

// affinity returns a number for a worker and a key. It differs between workers, and is the same in
// all processes.
func affinity(worker, key string) uint64 { return affinityFrom(seedOf(worker), key) }

// seedOf returns the part of affinity that is the same for all keys.
func seedOf(worker string) uint64 { return fnv1a(fnvOffset, worker) * fnvPrime }

// affinityFrom returns the affinity of the worker with this seed.
func affinityFrom(seed uint64, key string) uint64 {
	// FNV changes its high bits little for a change at the end.
	x := fnv1a(seed, key)
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return x
}

// Constants of FNV-1a. hash/fnv allocates for each sum, and a plan computes many sums.
const (
	fnvOffset uint64 = 14695981039346656037
	fnvPrime  uint64 = 1099511628211
)

// fnv1a continues a sum of FNV-1a.
func fnv1a(sum uint64, s string) uint64 {
	for i := range len(s) {
		sum = (sum ^ uint64(s[i])) * fnvPrime
	}
	return sum
}
