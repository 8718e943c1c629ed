package kcl

import (
	"context"
	"fmt"
)

// Decoder decodes the data of records. The data may have been written with a schema registry
// (GlueSchemaRegistryDeserializer in the KCL), compressed or encrypted. The library has no decoder.
// A program sets one in scheduler.Config.Decoder, and its processor gets the decoded records. See
// [Splitter] for records that hold several.
type Decoder interface {
	// Decode returns the decoded data of a record, and their schema if they have one. The record
	// is delivered with both. If both are nil, the record is delivered as it is. Data that are
	// empty and not nil are data.
	//
	// Decode is called once for each user record, after aggregates were split. The goroutines of
	// several shards call it at the same time. It should keep schemas, because the shard waits
	// for it. It should retry failures that pass.
	//
	// If decoding fails or panics, the record is delivered as it is, with a nil schema. It is
	// counted in kcl_decode_errors_total and logged without its data. ctx ends when the shard
	// belongs to another worker.
	Decode(ctx context.Context, r Record) (data []byte, schema *Schema, err error)
}

// DecoderFunc is a function as a [Decoder].
type DecoderFunc func(ctx context.Context, r Record) (data []byte, schema *Schema, err error)

// Decode calls f.
func (f DecoderFunc) Decode(ctx context.Context, r Record) (data []byte, schema *Schema, err error) {
	return f(ctx, r)
}

// Splitter is a [Decoder] that makes any number of records of one. CloudWatch Logs, for example,
// sends many events in one compressed record. If scheduler.Config.Decoder is a Splitter, the
// scheduler calls Split in place of Decode.
//
// The new records have the sequence number of the one record. They count by SubSequenceNumber, as
// those of an aggregate of the Kinesis Producer Library do. A checkpoint between them works:
// reading goes on with the next one. So Split must always make the same records of a record, in the
// same order.
//
// With a Splitter, the records of an aggregate are numbered in steps of [MaxSplit], which leaves
// room for their parts. Checkpoint whole batches before a Splitter is set or removed. Otherwise a
// new Splitter may repeat the user records of the aggregate at the checkpoint. Without the
// Splitter, the rest of the record at the checkpoint is skipped; the Java KCL skips it too.
type Splitter interface {
	Decoder
	// Split returns the records that a record holds. If it returns none, the record is delivered
	// as it is: return a record without data for one that holds nothing. More than [MaxSplit]
	// records are a failure. Everything else is as in Decode.
	Split(ctx context.Context, r Record) ([]Decoded, error)
}

// MaxSplit is how many records a [Splitter] can make of one: 1,048,576.
const MaxSplit = 1 << 20

// Decoded is a record that a [Splitter] made. Its other fields are those of the original record.
type Decoded struct {
	// Data is kept without copying.
	Data []byte
	// Schema may be nil.
	Schema *Schema
}

// SplitterFunc is a function as a [Splitter].
type SplitterFunc func(ctx context.Context, r Record) ([]Decoded, error)

// Split calls f.
func (f SplitterFunc) Split(ctx context.Context, r Record) ([]Decoded, error) { return f(ctx, r) }

// Decode is for callers that want a single record. More than one is an error. The scheduler calls
// Split.
func (f SplitterFunc) Decode(ctx context.Context, r Record) (data []byte, schema *Schema, err error) {
	parts, err := f(ctx, r)
	switch {
	case err != nil:
		return nil, nil, err
	case len(parts) == 0:
		return nil, nil, nil
	case len(parts) > 1:
		return nil, nil, fmt.Errorf("kcl: record %s holds %d records: call Split", r.Position(), len(parts))
	}
	return parts[0].Data, parts[0].Schema, nil
}

// Schema describes the data of a record (Schema in the Glue Schema Registry's library).
type Schema struct {
	// Name of the schema in its registry.
	Name string
	// Format such as AVRO, JSON or PROTOBUF.
	Format string
	// Definition is the text of the schema.
	Definition string
	// Version is the registry's id of the definition, and may be empty.
	Version string
}
