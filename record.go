package kcl

import (
	"bytes"
	"strings"
	"time"
)

// EncryptionType tells how Kinesis stored a record on disk. The zero value means that the service
// sent no type. It does so for records that are not encrypted.
type EncryptionType string

// The encryption types that Kinesis knows.
const (
	EncryptionNone EncryptionType = "NONE"
	EncryptionKMS  EncryptionType = "KMS"
)

// RecordFields holds all fields of a [Record]. It exists to build records with [NewRecord]. Code
// that reads records uses the methods of Record.
type RecordFields struct {
	// SequenceNumber is the decimal number that Kinesis gave the record.
	SequenceNumber string
	// SubSequenceNumber is the record's place, from 0, inside an aggregated Kinesis record or a
	// record that a [Splitter] has split. It is 0 for any other record.
	SubSequenceNumber int64
	// Aggregated says that the record came out of an aggregated Kinesis record.
	Aggregated bool
	// PartitionKey is nil when the record has none, as on streams with automatic record
	// distribution.
	PartitionKey *string
	// ExplicitHashKey is the decimal hash key of a record in an aggregate, if it has one of its
	// own; nil otherwise.
	ExplicitHashKey *string
	// Data is the payload. NewRecord keeps it without copying.
	Data []byte
	// ApproximateArrival is when Kinesis received the record, by its clock.
	ApproximateArrival time.Time
	// EncryptionType is how the record was stored.
	EncryptionType EncryptionType
	// Schema describes the data when a [Decoder] has decoded them; nil otherwise.
	Schema *Schema
}

// Record is one user record (KinesisClientRecord in the KCL). It is immutable and may be kept. A
// record that is kept also keeps the buffer of its whole batch in memory; [Record.Clone] detaches
// it. Records are safe for concurrent use.
type Record struct {
	sequenceNumber    string
	subSequenceNumber int64
	aggregated        bool
	encryption        *EncryptionType // nil for ""; a pointer is small, and there are few types
	partitionKey      *string
	explicitHashKey   *string
	data              []byte
	arrival           time.Time
	schema            *Schema
}

var encryptionNone, encryptionKMS = EncryptionNone, EncryptionKMS

// NewRecord makes a record from its fields, for tests and for sources. The record shares the memory
// of f.Data, so the caller must not change the data afterwards.
func NewRecord(f RecordFields) Record {
	r := Record{
		sequenceNumber: f.SequenceNumber, subSequenceNumber: f.SubSequenceNumber, aggregated: f.Aggregated,
		partitionKey: f.PartitionKey, explicitHashKey: f.ExplicitHashKey, data: f.Data,
		arrival: f.ApproximateArrival, schema: f.Schema,
	}
	switch f.EncryptionType {
	case "":
	case EncryptionNone:
		r.encryption = &encryptionNone
	case EncryptionKMS:
		r.encryption = &encryptionKMS
	default:
		other := f.EncryptionType // a copy, so that f itself stays on the stack
		r.encryption = &other
	}
	return r
}

// Data returns the payload. The bytes belong to the record: do not change them.
func (r Record) Data() []byte { return r.data }

// SequenceNumber returns the decimal sequence number that Kinesis assigned.
func (r Record) SequenceNumber() string { return r.sequenceNumber }

// SubSequenceNumber returns the record's place, from 0, inside an aggregated Kinesis record or a
// record that a [Splitter] has split. It returns 0 for any other record.
func (r Record) SubSequenceNumber() int64 { return r.subSequenceNumber }

// Position returns the record's place in its shard, as a checkpoint holds it.
func (r Record) Position() ExtendedSequenceNumber {
	return ExtendedSequenceNumber{SequenceNumber: r.sequenceNumber, SubSequenceNumber: r.subSequenceNumber}
}

// Aggregated tells whether the record came out of a record that the Kinesis
// Producer Library had aggregated.
func (r Record) Aggregated() bool { return r.aggregated }

// PartitionKey returns the key that the producer chose. ok is false when the record has none. On
// streams with automatic record distribution, producers need not give a partition key. There the
// key does not decide the shard.
func (r Record) PartitionKey() (key string, ok bool) {
	if r.partitionKey == nil {
		return "", false
	}
	return *r.partitionKey, true
}

// ExplicitHashKey returns the hash key that overrides the hash of the partition key. Only records
// of aggregates can have one.
func (r Record) ExplicitHashKey() (key string, ok bool) {
	if r.explicitHashKey == nil {
		return "", false
	}
	return *r.explicitHashKey, true
}

// ApproximateArrival returns when Kinesis received the record, by the service's clock. It is not
// exact: a record may have an earlier time than the record before it.
func (r Record) ApproximateArrival() time.Time { return r.arrival }

// EncryptionType returns how Kinesis stored the record.
func (r Record) EncryptionType() EncryptionType {
	if r.encryption == nil {
		return ""
	}
	return *r.encryption
}

// Schema returns the schema that a [Decoder] gave the record. It returns nil for a record that was
// not decoded. Many records share it: do not change it.
func (r Record) Schema() *Schema { return r.schema }

// WithDecoded returns a copy of r with other data and a schema. It shares the memory of data.
func (r Record) WithDecoded(data []byte, schema *Schema) Record {
	r.data, r.schema = data, schema
	return r
}

// WithPart returns the part of r with a number, from 0, that a [Splitter] has made. Its
// SubSequenceNumber is r's times [MaxSplit] plus part. It shares the memory of d.Data.
func (r Record) WithPart(part int, d Decoded) Record {
	r.subSequenceNumber = r.subSequenceNumber*MaxSplit + int64(part)
	r.data, r.schema = d.Data, d.Schema
	return r
}

// Clone returns a record that shares no memory with r's batch.
func (r Record) Clone() Record {
	r.data = bytes.Clone(r.data)
	r.sequenceNumber = strings.Clone(r.sequenceNumber)
	r.partitionKey = cloneString(r.partitionKey)
	r.explicitHashKey = cloneString(r.explicitHashKey)
	return r
}

func cloneString(s *string) *string {
	if s == nil {
		return nil
	}
	c := strings.Clone(*s)
	return &c
}

// Batch holds the records of one SubscribeToShard event or one GetRecords answer. A batch without
// records is normal: it moves Next and BehindLatest.
type Batch struct {
	// Records in ascending order. The slice belongs to the receiver.
	Records []Record
	// Next is where reading goes on once this batch has been processed. It is
	// the zero Position in the last batch of a shard.
	Next Position
	// BehindLatest is how far the batch is behind the tip of the shard, as the
	// service reports it (MillisBehindLatest).
	BehindLatest time.Duration
	// LagUnknown says that the service did not send BehindLatest, which is 0 then. The batch may be
	// at any distance from the tip.
	LagUnknown bool
	// End is set only in the last batch of a shard. The records of that batch are processed like
	// any others.
	End *ShardEnd
	// ReceivedAt is when the batch had arrived completely, by the local clock.
	ReceivedAt time.Time
}

// ShardEnd says that a shard has ended and names the shards that continue it.
type ShardEnd struct {
	// Children are the shards that a split or merge made from the shard. It is
	// never empty.
	Children []ChildShard
}
