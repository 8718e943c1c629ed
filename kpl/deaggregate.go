package kpl

import (
	"bytes"
	"crypto/fips140"
	"crypto/md5" //nolint:gosec // the format's checksum, not a protection
	"errors"
	"fmt"
	"strings"

	"github.com/kinesis-go/kcl"
)

const (
	magic = "\xf3\x89\x9a\xc2"
	// overhead is the size of everything except the protobuf. A record of that size or less is no
	// aggregate, as in the KCL.
	overhead = len(magic) + md5.Size
)

// DefaultMaxRecords is the default of Options.MaxRecords. The largest aggregate of the Kinesis
// Producer Library, of one mebibyte, cannot hold more.
const DefaultMaxRecords = 200_000

var (
	// ErrCorrupt is wrapped by Report.Err. The checksum is wrong, or the protobuf is not an
	// AggregatedRecord. The error describes the mistake and never holds content.
	ErrCorrupt = errors.New("kpl: not a valid aggregate")

	// ErrTooManyRecords is wrapped by Report.Err. The aggregate holds more user records, or more
	// keys, than Options.MaxRecords.
	ErrTooManyRecords = errors.New("kpl: aggregate holds too many records")
)

// Options change what [Deaggregate] does. The zero value splits everything and
// drops nothing.
type Options struct {
	// HashKeyRange is the range of the shard that the records were read from. If it is set, user
	// records whose hash key lies outside are dropped and counted. The hash key is the record's
	// explicit hash key, or else the MD5 of its partition key. A record is kept in doubt: if the
	// range or its explicit hash key is no number, or if the carrier has no partition key. The
	// service chooses the shard of a carrier without a partition key.
	//
	// Defaults to zero, which drops nothing. The KCL drops by default. It drops the whole aggregate
	// if one of its records lies outside. That hides the duplicates that the Kinesis Producer
	// Library writes around a reshard. But it loses the records of producers that aggregate
	// without regard to shards.
	//
	// Leave it zero if the stream distributes records automatically (AUTO), or did so since its
	// oldest record. A carrier with a partition key looks there like any other, and most of its
	// user records would be dropped.
	HashKeyRange kcl.HashKeyRange

	// MaxRecords is how many user records one aggregate may hold, and how many entries each of its
	// two tables of keys. A larger aggregate is delivered raw, with ErrTooManyRecords. A user
	// record takes about 112 bytes of memory besides its data, which is shared. It takes at least
	// 6 bytes of the aggregate. So with the default one carrier takes at most some 30 MB and a copy
	// of its keys. Defaults to DefaultMaxRecords, also for values below 1.
	MaxRecords int
}

// Report says what [Deaggregate] found in one batch. The zero value means that no record looked
// like an aggregate.
type Report struct {
	// Aggregates is how many carriers were split. An aggregate without user records counts.
	Aggregates int
	// UserRecords is how many user records the aggregates held, the dropped ones included.
	UserRecords int
	// Corrupt is how many carriers begin like an aggregate, but were delivered raw because they
	// are not valid.
	Corrupt int
	// Dropped is how many user records were outside Options.HashKeyRange.
	Dropped int
	// Err says what is wrong with the first corrupt carrier. It wraps ErrCorrupt or
	// ErrTooManyRecords.
	Err error
	// At is the position of the first corrupt carrier.
	At kcl.ExtendedSequenceNumber
}

// Deaggregate returns the user records of a batch, in order. It replaces the carriers of aggregates
// by their user records; all other records stay as they are. If there is nothing to split, it
// returns records itself. It does not allocate if no record begins like an aggregate. Otherwise the
// result is a new slice, and records is unchanged.
//
// A user record has the sequence number, the arrival time and the encryption type of its carrier,
// and its own keys. Its SubSequenceNumber is its place in the aggregate, from 0; places of dropped
// records stay empty. Its data are a part of the carrier's data, not a copy.
//
// The result can be empty although records is not: an aggregate may hold no user records, or all of
// them were dropped. The caller goes on from Batch.Next as after any other batch.
//
// Deaggregate is safe for concurrent use.
func Deaggregate(records []kcl.Record, opt Options) ([]kcl.Record, Report) {
	first := 0
	for first < len(records) && !HasMagic(records[first].Data()) {
		first++
	}
	if first == len(records) {
		return records, Report{}
	}
	if opt.MaxRecords < 1 {
		opt.MaxRecords = DefaultMaxRecords
	}

	var report Report
	shapes := make([]shape, len(records)-first) // not valid for a record that stays raw
	total := first
	for i, r := range records[first:] {
		total++
		if !HasMagic(r.Data()) {
			continue
		}
		s, err := inspect(r.Data(), opt.MaxRecords)
		if err != nil {
			if report.Corrupt == 0 {
				report.Err, report.At = err, r.Position()
			}
			report.Corrupt++
			continue
		}
		shapes[i] = s
		report.Aggregates++
		report.UserRecords += s.records
		total += s.records - 1
	}
	if report.Aggregates == 0 {
		return records, report
	}

	within := newFilter(opt.HashKeyRange)
	out := append(make([]kcl.Record, 0, total), records[:first]...)
	for i, r := range records[first:] {
		if shapes[i].valid {
			out = split(out, r, shapes[i], within)
		} else {
			out = append(out, r)
		}
	}
	report.Dropped = total - len(out)
	return out, report
}

// HasMagic tells whether data begin like an aggregate. Only [Deaggregate] tells whether they are a
// valid one.
func HasMagic(data []byte) bool {
	return len(data) >= len(magic) && string(data[:len(magic)]) == magic
}

// inspect checks an aggregate and returns its shape. It does not allocate for a valid one.
func inspect(data []byte, limit int) (shape, error) {
	if len(data) <= overhead {
		return shape{}, fmt.Errorf("%w: %d bytes are too short", ErrCorrupt, len(data))
	}
	message := body(data)
	if sum := checksum(message); !bytes.Equal(sum[:], data[len(data)-md5.Size:]) {
		return shape{}, fmt.Errorf("%w: the checksum is wrong", ErrCorrupt)
	}
	return measure(message, limit)
}

func body(data []byte) []byte { return data[len(magic) : len(data)-md5.Size] }

// checksum works also in FIPS 140-only mode, where md5.Sum panics.
func checksum(b []byte) [md5.Size]byte {
	if fips140.Enforced() {
		return checksumUnenforced(b)
	}
	return md5.Sum(b) //nolint:gosec // see the import
}

// checksumUnenforced is a function of its own because its closure allocates.
func checksumUnenforced(b []byte) (sum [md5.Size]byte) {
	fips140.WithoutEnforcement(func() {
		sum = md5.Sum(b) //nolint:gosec // see the import
	})
	return sum
}

// split appends the user records of a carrier with the shape s.
func split(out []kcl.Record, carrier kcl.Record, s shape, within filter) []kcl.Record {
	if s.records == 0 {
		return out
	}
	// One string holds all keys. Each key is a part of it.
	message := body(carrier.Data())
	var text strings.Builder
	text.Grow(s.keyBytes)
	keys := make([]string, 0, s.keys+s.hashes)
	for _, table := range []struct {
		field fieldNumber
		size  int
	}{{fieldKeyTable, s.keys}, {fieldHashTable, s.hashes}} {
		for c := (cursor{rest: message}); table.size > 0 && c.next(); {
			if !c.is(table.field) {
				continue
			}
			text.Write(c.value)
			keys = append(keys, text.String()[text.Len()-len(c.value):])
			table.size--
		}
	}
	partitionKeys, hashKeys := keys[:s.keys], keys[s.keys:]

	_, keyed := carrier.PartitionKey()
	fields := kcl.RecordFields{
		SequenceNumber: carrier.SequenceNumber(), Aggregated: true,
		ApproximateArrival: carrier.ApproximateArrival(), EncryptionType: carrier.EncryptionType(),
	}
	sub := int64(0)
	for c := (cursor{rest: message}); c.next(); {
		if !c.is(fieldRecords) {
			continue
		}
		u, _ := parseUserRecord(c.value) // measure has checked it
		fields.SubSequenceNumber = sub
		sub++
		fields.PartitionKey, fields.ExplicitHashKey, fields.Data = &partitionKeys[u.key], nil, u.data
		if u.hasHash {
			fields.ExplicitHashKey = &hashKeys[u.hash]
		}
		if within.on && keyed && !within.keeps(partitionKeys[u.key], fields.ExplicitHashKey) {
			continue
		}
		out = append(out, kcl.NewRecord(fields))
	}
	return out
}
