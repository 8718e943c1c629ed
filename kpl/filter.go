package kpl

import (
	"cmp"
	"crypto/md5" //nolint:gosec // the service's hash of partition keys
	"encoding/binary"
	"math/bits"

	"github.com/kinesis-go/kcl"
)

// hashKey is a 128-bit number.
type hashKey struct{ hi, lo uint64 }

func (h hashKey) compare(o hashKey) int {
	return cmp.Or(cmp.Compare(h.hi, o.hi), cmp.Compare(h.lo, o.lo))
}

// parseHashKey reads a decimal number below 2^128. It does not allocate.
func parseHashKey(s string) (h hashKey, ok bool) {
	if s == "" {
		return hashKey{}, false
	}
	for i := range len(s) {
		digit := s[i] - '0'
		if digit > 9 {
			return hashKey{}, false
		}
		var carry uint64
		over, hi := bits.Mul64(h.hi, 10)
		up, lo := bits.Mul64(h.lo, 10)
		lo, carry = bits.Add64(lo, uint64(digit), 0)
		hi, carry = bits.Add64(hi, up, carry)
		if over != 0 || carry != 0 {
			return hashKey{}, false
		}
		h = hashKey{hi, lo}
	}
	return h, true
}

// hashOf is the hash that decides the shard of a partition key.
func hashOf(partitionKey string) hashKey {
	var buf [256]byte // the longest key of one-byte characters
	sum := checksum(append(buf[:0], partitionKey...))
	return hashKey{binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[md5.Size-8:])}
}

// filter keeps the user records whose hash key lies in a shard's range.
type filter struct {
	on         bool
	start, end hashKey
}

func newFilter(r kcl.HashKeyRange) filter {
	start, ok1 := parseHashKey(r.Start)
	end, ok2 := parseHashKey(r.End)
	return filter{on: ok1 && ok2, start: start, end: end}
}

// keeps tells whether a user record lies in the range, or whether that is in doubt.
func (f filter) keeps(partitionKey string, explicit *string) bool {
	var h hashKey
	if explicit == nil {
		h = hashOf(partitionKey)
	} else {
		var ok bool
		if h, ok = parseHashKey(*explicit); !ok {
			return true
		}
	}
	return h.compare(f.start) >= 0 && h.compare(f.end) <= 0
}
