package kpl

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

type fieldNumber = protowire.Number

// The fields of the three messages; see the package comment.
const (
	fieldKeyTable  fieldNumber = 1
	fieldHashTable fieldNumber = 2
	fieldRecords   fieldNumber = 3

	fieldKeyIndex  fieldNumber = 1
	fieldHashIndex fieldNumber = 2
	fieldData      fieldNumber = 3
	fieldTags      fieldNumber = 4

	fieldTagKey fieldNumber = 1
)

// cursor walks over the fields of a message. Its values are parts of the message.
type cursor struct {
	rest  []byte
	num   fieldNumber
	typ   protowire.Type
	value []byte // of a field with bytes
	n     uint64 // of a varint
	err   error
}

// next reads one field. It returns false at the end of the message. It also returns false for a
// broken message, and sets err.
func (c *cursor) next() bool {
	if len(c.rest) == 0 {
		return false
	}
	var n int
	if c.num, c.typ, n = protowire.ConsumeTag(c.rest); n < 0 {
		return c.fail(n)
	}
	c.rest = c.rest[n:]
	switch c.typ {
	case protowire.BytesType:
		c.value, n = protowire.ConsumeBytes(c.rest)
	case protowire.VarintType:
		c.n, n = protowire.ConsumeVarint(c.rest)
	default:
		n = protowire.ConsumeFieldValue(c.num, c.typ, c.rest)
	}
	if n < 0 {
		return c.fail(n)
	}
	c.rest = c.rest[n:]
	return true
}

func (c *cursor) fail(code int) bool {
	c.err = fmt.Errorf("%w: %w", ErrCorrupt, protowire.ParseError(code))
	return false
}

// is tells whether the field is num, with bytes. A known number with another type is an unknown
// field, as in every protobuf reader.
func (c *cursor) is(num fieldNumber) bool { return c.num == num && c.typ == protowire.BytesType }

func (c *cursor) isVarint(num fieldNumber) bool {
	return c.num == num && c.typ == protowire.VarintType
}

// shape is how much a valid aggregate holds.
type shape struct {
	valid                           bool
	keys, hashes, records, keyBytes int
}

// measure checks a whole message, so that split cannot fail. Fields may come in any order, so the
// indexes are compared with the tables at the end.
func measure(message []byte, limit int) (shape, error) {
	s := shape{valid: true}
	var highestKey, highestHash uint64
	hashed := false
	c := cursor{rest: message}
	for c.next() {
		switch {
		case c.is(fieldKeyTable):
			s.keys++
			s.keyBytes += len(c.value)
		case c.is(fieldHashTable):
			s.hashes++
			s.keyBytes += len(c.value)
		case c.is(fieldRecords):
			u, err := parseUserRecord(c.value)
			if err != nil {
				return shape{}, fmt.Errorf("user record %d: %w", s.records, err)
			}
			s.records++
			highestKey = max(highestKey, u.key)
			if u.hasHash {
				hashed, highestHash = true, max(highestHash, u.hash)
			}
		}
		if s.records > limit || s.keys > limit || s.hashes > limit {
			return shape{}, fmt.Errorf("%w: more than %d", ErrTooManyRecords, limit)
		}
	}
	switch {
	case c.err != nil:
		return shape{}, c.err
	case s.records > 0 && highestKey >= uint64(s.keys):
		return shape{}, fmt.Errorf("%w: partition key %d of %d", ErrCorrupt, highestKey, s.keys)
	case hashed && highestHash >= uint64(s.hashes):
		return shape{}, fmt.Errorf("%w: explicit hash key %d of %d", ErrCorrupt, highestHash, s.hashes)
	}
	return s, nil
}

// userRecord is one record of the message. data is a part of the message.
type userRecord struct {
	key, hash uint64 // indexes
	hasHash   bool
	data      []byte
}

// parseUserRecord reads a Record. If a field is there twice the last one counts, as in every
// protobuf reader.
func parseUserRecord(message []byte) (userRecord, error) {
	var u userRecord
	hasKey, hasData := false, false
	c := cursor{rest: message}
	for c.next() {
		switch {
		case c.isVarint(fieldKeyIndex):
			u.key, hasKey = c.n, true
		case c.isVarint(fieldHashIndex):
			u.hash, u.hasHash = c.n, true
		case c.is(fieldData):
			// A caller that appends to the data must not overwrite the next record's.
			u.data, hasData = c.value[:len(c.value):len(c.value)], true
		case c.is(fieldTags):
			if err := checkTag(c.value); err != nil {
				return userRecord{}, err
			}
		}
	}
	switch {
	case c.err != nil:
		return userRecord{}, c.err
	case !hasKey:
		return userRecord{}, fmt.Errorf("%w: no partition key", ErrCorrupt)
	case !hasData:
		return userRecord{}, fmt.Errorf("%w: no data", ErrCorrupt)
	}
	return u, nil
}

// checkTag reads a Tag. A broken tag makes the whole aggregate corrupt, as in the KCL: workers of
// both kinds must agree.
func checkTag(message []byte) error {
	hasKey := false
	c := cursor{rest: message}
	for c.next() {
		hasKey = hasKey || c.is(fieldTagKey)
	}
	switch {
	case c.err != nil:
		return c.err
	case !hasKey:
		return fmt.Errorf("%w: a tag without a key", ErrCorrupt)
	}
	return nil
}
