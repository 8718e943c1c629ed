package kcl_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
)

func TestWithDecoded(t *testing.T) {
	t.Parallel()
	key, schema := "key", &kcl.Schema{Name: "order"}
	f := kcl.RecordFields{SequenceNumber: "12", SubSequenceNumber: 3, Aggregated: true, PartitionKey: &key, Data: []byte("raw"), ApproximateArrival: time.Unix(1, 0), EncryptionType: kcl.EncryptionKMS}
	raw := kcl.NewRecord(f)
	require.Nil(t, raw.Schema())
	decoded := raw.WithDecoded([]byte("text"), schema)
	require.Equal(t, "raw", string(raw.Data()), "the record itself stays")
	f.Data, f.Schema = []byte("text"), schema
	require.Equal(t, kcl.NewRecord(f), decoded)
	require.Same(t, schema, decoded.Clone().Schema())
}

// A decoder for data that begin with the number of a schema. One that asks a
// registry keeps what it was told.
func ExampleDecoder() {
	schemas := map[byte]*kcl.Schema{7: {Name: "order", Format: "JSON", Version: "7"}}
	var decoder kcl.Decoder = kcl.DecoderFunc(func(_ context.Context, r kcl.Record) ([]byte, *kcl.Schema, error) {
		data := r.Data()
		if len(data) == 0 || data[0] > 31 {
			return nil, nil, nil // plain text: delivered as it is
		}
		schema := schemas[data[0]]
		if schema == nil {
			return nil, nil, fmt.Errorf("unknown schema %d", data[0]) // delivered as it is, and counted
		}
		return data[1:], schema, nil
	})
	// scheduler.Config{Decoder: decoder}
	data, schema, err := decoder.Decode(context.Background(), kcl.NewRecord(kcl.RecordFields{Data: []byte("\x07{}")}))
	fmt.Println(string(data), schema.Name, schema.Format, err)
	// Output: {} order JSON <nil>
}
