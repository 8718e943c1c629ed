package kcl

import "context"

// Decoder decodes the data of records that were written with a schema registry
// (GlueSchemaRegistryDeserializer in the KCL). The library knows none by itself:
// a program puts one in front of its processor with scheduler.Config.Decoder.
type Decoder interface {
	// Decode returns what the data of a record hold and their schema, or a nil
	// schema when the record was not written with one: it is then delivered as
	// it is. Decode is called once for each user record that is delivered,
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
