package shardsync

import (
	"slices"
	"unicode/utf16"

	"github.com/kinesis-go/kcl/leases"
)

// KCL2SyncLeader returns the worker that workers of the Java KCL agree upon to
// look after the shards while a table is in one of the modes of KCL 2.x (KCL 1.14
// and 2.x, and 3.x before its move and after one that was rolled back): the first
// of all owners of rows once they are shuffled, which every worker does the same
// way. Of KCL 3.x it also tells when a fleet is ready for the move. An owner
// counts however long it has been dead, and so does one whose rows are finished.
// The result is empty when no row has an owner: then all of them take it upon
// themselves.
//
// It is for those who look at such a table. Workers of this library need no such
// leader: each looks after the shards. It is pure, and matches
// DeterministicShuffleShardSyncLeaderDecider.
func KCL2SyncLeader(rows []leases.Lease) string {
	order := shuffledOwners(rows)
	if len(order) == 0 {
		return ""
	}
	return order[0]
}

// shuffleSeed is the KCL's DETERMINISTIC_SHUFFLE_SEED.
const shuffleSeed = 1947

// shuffledOwners returns each owner of a row once, in the order of Java's
// Collections.shuffle. During a hand-over the next owner counts (leaseOwner).
func shuffledOwners(rows []leases.Lease) []string {
	var owners []string
	for _, l := range rows {
		if l.Owner != "" {
			owners = append(owners, l.Owner)
		}
	}
	slices.SortFunc(owners, compareJava)
	owners = slices.Compact(owners)
	r := newJavaRandom(shuffleSeed)
	for n := len(owners); n > 1; n-- {
		i := r.intn(int32(n))
		owners[i], owners[n-1] = owners[n-1], owners[i]
	}
	return owners
}

// compareJava orders strings as Java does, by UTF-16 code units. By bytes, what
// takes two units, such as an emoji, comes after U+E000 to U+FFFF, not before.
func compareJava(a, b string) int {
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

// javaRandom is java.util.Random: a linear congruential generator of 48 bits.
type javaRandom uint64

const (
	javaMultiplier = 0x5DEECE66D
	javaMask       = 1<<48 - 1
)

func newJavaRandom(seed uint64) javaRandom { return javaRandom((seed ^ javaMultiplier) & javaMask) }

// next returns 31 bits.
func (r *javaRandom) next() int32 {
	*r = (*r*javaMultiplier + 0xB) & javaMask
	return int32(*r >> 17)
}

// intn is nextInt(n), for n > 0.
func (r *javaRandom) intn(n int32) int32 {
	bits := r.next()
	if n&(n-1) == 0 {
		return int32(int64(n) * int64(bits) >> 31)
	}
	// The last numbers, which would make the smaller results likelier, overflow.
	for bits-bits%n+(n-1) < 0 {
		bits = r.next()
	}
	return bits % n
}
