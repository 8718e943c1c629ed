package kpl

import (
	"cmp"
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// DefaultMaxSize is the default of Aggregator.MaxSize: one mebibyte. The Kinesis Producer Library
// makes no larger aggregates. It is also the limit of a Kinesis record with its partition key,
// unless the stream allows more.
const DefaultMaxSize = 1 << 20

// maxPartitionKey is how many characters the service allows.
const maxPartitionKey = 256

var (
	// ErrFull says that the aggregate has no room for the user record. Write what Bytes returns,
	// call Reset, and add the record again.
	ErrFull = errors.New("kpl: aggregate is full")

	// ErrInvalidRecord says that a user record cannot be aggregated at all. The wrapping error
	// says why. Write the record as a Kinesis record of its own, or correct its keys.
	ErrInvalidRecord = errors.New("kpl: record cannot be aggregated")
)

// Aggregator packs user records into the data of one Kinesis record, as the Kinesis Producer
// Library does. The zero value is ready to use. It is for one goroutine.
//
// The Kinesis record goes to the shard of its own partition key or explicit hash key. Keep an
// Aggregator for each shard, or for each partition key, and give the Kinesis record a key of that
// shard. Readers may drop user records that do not belong to their shard, and then lose the others.
// The KCL does so, and [Deaggregate] with Options.HashKeyRange.
type Aggregator struct {
	// MaxSize is the largest size of Bytes. Leave room for the partition key of the Kinesis
	// record, of at most 256 characters. Defaults to DefaultMaxSize.
	MaxSize int

	keyTable, hashTable     []byte // encoded
	keyIndexes, hashIndexes map[string]uint64
	records                 []byte // encoded
	count                   int
}

// Add appends a user record. data is copied. explicitHashKey is a decimal number below 2^128, or
// empty for none. The error wraps ErrFull when the aggregate has no room for the record, and
// ErrInvalidRecord when no aggregate has. After an error the aggregate is unchanged.
func (a *Aggregator) Add(partitionKey, explicitHashKey string, data []byte) error {
	if n := utf8.RuneCountInString(partitionKey); n < 1 || n > maxPartitionKey {
		return fmt.Errorf("%w: the partition key has %d characters; use 1 to %d", ErrInvalidRecord, n, maxPartitionKey)
	}
	if explicitHashKey != "" {
		if _, ok := parseHashKey(explicitHashKey); !ok {
			return fmt.Errorf("%w: the explicit hash key is no decimal number below 2^128", ErrInvalidRecord)
		}
	}
	limit := cmp.Or(max(a.MaxSize, 0), DefaultMaxSize)
	if alone := overhead + a.cost(nil, nil, partitionKey, explicitHashKey, data); alone > limit {
		return fmt.Errorf("%w: it takes %d bytes of an aggregate, which may have %d", ErrInvalidRecord, alone, limit)
	}
	if a.size()+a.cost(a.keyIndexes, a.hashIndexes, partitionKey, explicitHashKey, data) > limit {
		return ErrFull
	}

	key, known := a.keyIndexes[partitionKey]
	if !known {
		key = uint64(len(a.keyIndexes))
		a.keyIndexes = put(a.keyIndexes, partitionKey, key)
		a.keyTable = appendString(a.keyTable, fieldKeyTable, partitionKey)
	}
	var hash uint64
	if explicitHashKey != "" {
		if hash, known = a.hashIndexes[explicitHashKey]; !known {
			hash = uint64(len(a.hashIndexes))
			a.hashIndexes = put(a.hashIndexes, explicitHashKey, hash)
			a.hashTable = appendString(a.hashTable, fieldHashTable, explicitHashKey)
		}
	}
	hasHash := explicitHashKey != ""
	a.records = protowire.AppendTag(a.records, fieldRecords, protowire.BytesType)
	a.records = protowire.AppendVarint(a.records, uint64(recordSize(key, hash, hasHash, data)))
	a.records = protowire.AppendTag(a.records, fieldKeyIndex, protowire.VarintType)
	a.records = protowire.AppendVarint(a.records, key)
	if hasHash {
		a.records = protowire.AppendTag(a.records, fieldHashIndex, protowire.VarintType)
		a.records = protowire.AppendVarint(a.records, hash)
	}
	a.records = protowire.AppendTag(a.records, fieldData, protowire.BytesType)
	a.records = protowire.AppendBytes(a.records, data)
	a.count++
	return nil
}

// cost returns by how much the protobuf grows with a user record. keys and hashes are the tables of
// the keys that it has already.
func (a *Aggregator) cost(keys, hashes map[string]uint64, partitionKey, explicitHashKey string, data []byte) int {
	n := 0
	index := func(table map[string]uint64, field fieldNumber, s string) uint64 {
		i, known := table[s]
		if !known {
			i = uint64(len(table))
			n += protowire.SizeTag(field) + protowire.SizeBytes(len(s))
		}
		return i
	}
	key := index(keys, fieldKeyTable, partitionKey)
	var hash uint64
	if explicitHashKey != "" {
		hash = index(hashes, fieldHashTable, explicitHashKey)
	}
	return n + protowire.SizeTag(fieldRecords) + protowire.SizeBytes(recordSize(key, hash, explicitHashKey != "", data))
}

func recordSize(key, hash uint64, hasHash bool, data []byte) int {
	n := protowire.SizeTag(fieldKeyIndex) + protowire.SizeVarint(key) +
		protowire.SizeTag(fieldData) + protowire.SizeBytes(len(data))
	if hasHash {
		n += protowire.SizeTag(fieldHashIndex) + protowire.SizeVarint(hash)
	}
	return n
}

func put(table map[string]uint64, s string, index uint64) map[string]uint64 {
	if table == nil {
		table = make(map[string]uint64)
	}
	table[s] = index
	return table
}

func appendString(b []byte, field fieldNumber, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// Len returns the number of user records.
func (a *Aggregator) Len() int { return a.count }

// Size returns the length of Bytes. It is 0 without a user record.
func (a *Aggregator) Size() int {
	if a.count == 0 {
		return 0
	}
	return a.size()
}

func (a *Aggregator) size() int {
	return overhead + len(a.keyTable) + len(a.hashTable) + len(a.records)
}

// Bytes returns the data of the Kinesis record, in memory of its own. It returns nil without a user
// record.
func (a *Aggregator) Bytes() []byte {
	if a.count == 0 {
		return nil
	}
	b := make([]byte, 0, a.Size())
	b = append(b, magic...)
	b = append(b, a.keyTable...)
	b = append(b, a.hashTable...)
	b = append(b, a.records...)
	sum := checksum(b[len(magic):])
	return append(b, sum[:]...)
}

// Reset removes all user records. It keeps MaxSize, and the memory for new records.
func (a *Aggregator) Reset() {
	a.keyTable, a.hashTable, a.records = a.keyTable[:0], a.hashTable[:0], a.records[:0]
	clear(a.keyIndexes)
	clear(a.hashIndexes)
	a.count = 0
}
