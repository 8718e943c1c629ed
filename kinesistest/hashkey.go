package kinesistest

import (
	"cmp"
	"crypto/md5" //nolint:gosec // the service's partition function, not a security measure
	"encoding/binary"
	"math/big"
	"math/bits"
)

// hashKey is a point of the 128-bit space that shards divide among themselves.
type hashKey struct{ hi, lo uint64 }

var maxHashKey = hashKey{^uint64(0), ^uint64(0)}

func hashOf(partitionKey string) hashKey {
	sum := md5.Sum([]byte(partitionKey)) //nolint:gosec // see above
	return hashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])}
}

// parseHashKey reads a decimal number from 0 to 2^128-1 without a leading zero.
func parseHashKey(s string) (hashKey, bool) {
	if !isDecimal(s, 39) {
		return hashKey{}, false
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || n.BitLen() > 128 {
		return hashKey{}, false
	}
	var b [16]byte
	n.FillBytes(b[:])
	return hashKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}, true
}

// isDecimal says whether s matches 0|([1-9]\d*) with at most limit digits.
func isDecimal(s string, limit int) bool {
	if s == "" || len(s) > limit || (s[0] == '0' && len(s) > 1) {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (k hashKey) bytes() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return b
}

func (k hashKey) String() string {
	b := k.bytes()
	return new(big.Int).SetBytes(b[:]).String()
}

func (k hashKey) compare(o hashKey) int {
	if c := cmp.Compare(k.hi, o.hi); c != 0 {
		return c
	}
	return cmp.Compare(k.lo, o.lo)
}

// next returns k+1, which wraps at the end of the space.
func (k hashKey) next() hashKey {
	lo, carry := bits.Add64(k.lo, 1, 0)
	return hashKey{k.hi + carry, lo}
}

// prev returns k-1.
func (k hashKey) prev() hashKey {
	lo, borrow := bits.Sub64(k.lo, 1, 0)
	return hashKey{k.hi - borrow, lo}
}

// hashRange is both ends inclusive.
type hashRange struct{ start, end hashKey }

func (r hashRange) contains(k hashKey) bool { return r.start.compare(k) <= 0 && k.compare(r.end) <= 0 }

// middle is where an even split starts its second half.
func (r hashRange) middle() hashKey {
	a, b := r.start.bytes(), r.end.bytes()
	sum := new(big.Int).Add(new(big.Int).SetBytes(a[:]), new(big.Int).SetBytes(b[:]))
	half := sum.Rsh(sum, 1)
	var m [16]byte
	half.FillBytes(m[:])
	return hashKey{binary.BigEndian.Uint64(m[:8]), binary.BigEndian.Uint64(m[8:])}.next()
}

// evenRanges divides the whole space into n equal parts, the last of which takes the rest.
func evenRanges(n int) []hashRange {
	size := new(big.Int).Lsh(big.NewInt(1), 128)
	size.Div(size, big.NewInt(int64(n)))
	ranges := make([]hashRange, n)
	for i := range ranges {
		var b [16]byte
		new(big.Int).Mul(size, big.NewInt(int64(i))).FillBytes(b[:])
		ranges[i].start = hashKey{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
		if i > 0 {
			ranges[i-1].end = ranges[i].start.prev()
		}
	}
	ranges[n-1].end = maxHashKey
	return ranges
}
