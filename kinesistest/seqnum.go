package kinesistest

import (
	"math/big"
	"time"
)

// sequence is the content of a sequence number. The service's numbers have 186 bits, are printed in
// decimal (56 digits), and are compared as numbers:
//
//	4 bits   2, the version
//	36 bits  epoch: when the shard was made, in seconds; a child's is later than its parents'
//	4 bits   low bits of the shard's number
//	64 bits  index of the record within the shard, from 1; 0 is the shard's starting number
//	8 bits   0
//	36 bits  when the number was issued, in seconds
//	32 bits  the shard's number
//	4 bits   2
//
// A continuation and an ending sequence number are issued between two records. Such a number has
// the index of the earlier record and a later time. So it sorts between the two records and stands
// for neither.
type sequence struct {
	epoch int64  // seconds
	shard uint32 // number of the shard
	index uint64
	time  int64 // seconds
}

// maxSequenceDigits bounds the numbers that are parsed. The service's own pattern allows 129
// digits.
const maxSequenceDigits = 129

func (s sequence) String() string {
	n := big.NewInt(2)
	push := func(bits uint, v uint64) {
		n.Lsh(n, bits)
		n.Or(n, new(big.Int).SetUint64(v))
	}
	push(36, uint64(s.epoch)&(1<<36-1))
	push(4, uint64(s.shard&15))
	push(64, s.index)
	push(8, 0)
	push(36, uint64(s.time)&(1<<36-1))
	push(32, uint64(s.shard))
	push(4, 2)
	return n.String()
}

// parseSequence reads a number that this package has issued.
func parseSequence(text string) (sequence, bool) {
	if !isDecimal(text, maxSequenceDigits) {
		return sequence{}, false
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || n.BitLen() != 186 {
		return sequence{}, false
	}
	mask := new(big.Int)
	pop := func(bits uint) uint64 {
		mask.Lsh(big.NewInt(1), bits)
		mask.Sub(mask, big.NewInt(1))
		v := new(big.Int).And(n, mask).Uint64()
		n.Rsh(n, bits)
		return v
	}
	tail := pop(4)
	var s sequence
	s.shard = uint32(pop(32))
	s.time = int64(pop(36))
	zero := pop(8)
	s.index = pop(64)
	low := pop(4)
	s.epoch = int64(pop(36))
	version := pop(4)
	return s, tail == 2 && zero == 0 && version == 2 && low == uint64(s.shard&15)
}

// seconds is a time as sequence numbers have it.
func seconds(t time.Time) int64 { return max(t.Unix(), 0) }
