package kcl

import (
	"context"
	"fmt"
)

// Decoder decodes the data of records: of those that were written with a schema
// registry (GlueSchemaRegistryDeserializer in the KCL), or compressed, or
// encrypted. The library knows none by itself: a program puts one in front of
// its processor with scheduler.Config.Decoder. See [Splitter] for records that
// hold several.
type Decoder interface {
	// Decode returns what the data of a record hold, and their schema if they
	// have one. The record is delivered with both. One for which both are nil is
	// delivered as it is; data that are empty and not nil are data. Decode is called once for each user record that is delivered,
	// after aggregates were split, and from the goroutines of several shards at
	// the same time. It must keep schemas: the shard waits for it.
	//
	// A record whose decoding fails or panics is delivered as it is, with a nil
	// schema, is counted in kcl_decode_errors_total and logged without its
	// data. Failures that pass are for the Decoder to retry. ctx ends when the
	// shard belongs to another worker.
	Decode(ctx context.Context, r Record) (data []byte, schema *Schema, err error)
}

// DecoderFunc is a function as a [Decoder].
type DecoderFunc func(ctx context.Context, r Record) (data []byte, schema *Schema, err error)

// Decode calls f.
func (f DecoderFunc) Decode(ctx context.Context, r Record) (data []byte, schema *Schema, err error) {
	return f(ctx, r)
}

// Splitter is a [Decoder] that makes any number of records of one: CloudWatch
// Logs, for one, sends many events in one compressed record. In
// scheduler.Config.Decoder it is asked with Split in place of Decode.
//
// The records that it makes have the sequence number of the one record, and
// count by SubSequenceNumber, as those of an aggregate of the Kinesis Producer
// Library do. A checkpoint between them works: reading goes on with the next. So
// Split must make the same records of a record each time, in the same order.
//
// With a Splitter the records out of an aggregate are numbered in steps of
// [MaxSplit], which leaves room for their parts. Checkpoint whole batches before
// a Splitter is put in or taken out: put in, it may repeat the user records of an
// aggregate that a checkpoint stands in; taken out, the rest of a record that a
// checkpoint stands in is left out, and so it is by the Java KCL.
type Splitter interface {
	Decoder
	// Split returns the records that a record holds. None means that the record
	// is delivered as it is: return a record without data for one that holds
	// nothing. Everything else is as in Decode; more than [MaxSplit] records are
	// a failure.
	Split(ctx context.Context, r Record) ([]Decoded, error)
}

// MaxSplit is how many records a [Splitter] can make of one: 1,048,576.
const MaxSplit = 1 << 20

// Decoded is a record that a [Splitter] made. Everything else is as in the record
// that it was made of.
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

// Decode is for callers that want a single record; more are an error. The
// scheduler calls Split.
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

// Schema is what the data of a record were written with (Schema in the Glue
// Schema Registry's library).
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
