package shardsync

import (
	"slices"
	"unicode/utf16"

	"github.com/kinesis-go/kcl/leases"
)

// KCL2SyncLeader returns the worker that synchronises the shards for the workers of the Java KCL
// 2.x. It is for tools that show such a table. Workers of this library need no such leader: each of
// them synchronises the shards.
//
// The KCL chooses this worker while a table is in a mode of KCL 2.x. KCL 1.14 and 2.x do so always.
// KCL 3.x does so before the move to 3.x, and after its rollback. There this worker also decides
// when the fleet is ready for the move. All workers shuffle the owners of the rows in the same way,
// and the first owner is the leader. Dead owners and owners of finished rows count. The result is
// empty when no row has an owner. Then every worker synchronises the shards.
//
// It is pure, and matches DeterministicShuffleShardSyncLeaderDecider.
func KCL2SyncLeader(rows []leases.Lease) string {
	order := shuffledOwners(rows)
	if len(order) == 0 {
		return ""
	}
	return order[0]
}

// shuffleSeed is the KCL's DETERMINISTIC_SHUFFLE_SEED.
const shuffleSeed = 1947

// shuffledOwners returns each owner of a row once, in the order of Java's Collections.shuffle.
// During a hand-over the next owner counts (leaseOwner).
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

// compareJava orders strings as Java does, by UTF-16 code units. A character of two units, such as
// an emoji, sorts before U+E000 to U+FFFF. By bytes it would sort after them.
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

// next returns 31 random bits.
func (r *javaRandom) next() int32 {
	*r = (*r*javaMultiplier + 0xB) & javaMask
	return int32(*r >> 17)
}

// intn is nextInt(n) of Java, for n > 0.
func (r *javaRandom) intn(n int32) int32 {
	bits := r.next()
	if n&(n-1) == 0 {
		return int32(int64(n) * int64(bits) >> 31)
	}
	// The last numbers would make the smaller results likelier. They overflow, and are skipped.
	for bits-bits%n+(n-1) < 0 {
		bits = r.next()
	}
	return bits % n
}
