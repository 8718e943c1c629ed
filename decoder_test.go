package kcl_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
)

func TestWithDecoded(t *testing.T) {
	t.Parallel()
	key, schema := "key", &kcl.Schema{Name: "order"}
	f := kcl.RecordFields{
		SequenceNumber:     "12",
		SubSequenceNumber:  3,
		Aggregated:         true,
		PartitionKey:       &key,
		Data:               []byte("raw"),
		ApproximateArrival: time.Unix(1, 0),
		EncryptionType:     kcl.EncryptionKMS,
	}
	raw := kcl.NewRecord(f)
	require.Nil(t, raw.Schema())
	decoded := raw.WithDecoded([]byte("text"), schema)
	require.Equal(t, "raw", string(raw.Data()), "the record itself stays")
	f.Data, f.Schema = []byte("text"), schema
	require.Equal(t, kcl.NewRecord(f), decoded)
	require.Same(t, schema, decoded.Clone().Schema())
}

func TestWithPart(t *testing.T) {
	t.Parallel()
	key, schema := "key", &kcl.Schema{Name: "order"}
	f := kcl.RecordFields{
		SequenceNumber:     "12",
		SubSequenceNumber:  3,
		Aggregated:         true,
		PartitionKey:       &key,
		Data:               []byte("raw"),
		ApproximateArrival: time.Unix(1, 0),
	}
	part := kcl.NewRecord(f).WithPart(5, kcl.Decoded{Data: []byte("text"), Schema: schema})
	f.SubSequenceNumber, f.Data, f.Schema = 3*kcl.MaxSplit+5, []byte("text"), schema
	require.Equal(t, kcl.NewRecord(f), part)
	f.SubSequenceNumber = 0
	require.EqualValues(t, 5, kcl.NewRecord(f).WithPart(5, kcl.Decoded{}).SubSequenceNumber(),
		"a record that is not aggregated has parts from 0")
}

func TestSplitterFuncIsADecoder(t *testing.T) {
	t.Parallel()
	n, boom := 0, errors.New("boom")
	split := kcl.SplitterFunc(func(context.Context, kcl.Record) ([]kcl.Decoded, error) {
		if n > 2 {
			return nil, boom
		}
		return make([]kcl.Decoded, n), nil
	})
	record := kcl.NewRecord(kcl.RecordFields{SequenceNumber: "12"})
	for n = range 2 {
		_, _, err := split.Decode(t.Context(), record)
		require.NoError(t, err)
	}
	n = 2
	_, _, err := split.Decode(t.Context(), record)
	require.ErrorContains(t, err, "record 12 holds 2 records")
	n = 3
	_, _, err = split.Decode(t.Context(), record)
	require.ErrorIs(t, err, boom)
}

func compress(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, text)
	_ = z.Close()
	return b.Bytes()
}

// Data without a schema can be decoded as well: here those that are compressed.
func ExampleDecoder_gzip() {
	var decoder kcl.Decoder = kcl.DecoderFunc(func(_ context.Context, r kcl.Record) ([]byte, *kcl.Schema, error) {
		if !bytes.HasPrefix(r.Data(), []byte{0x1f, 0x8b}) {
			return nil, nil, nil // not compressed: delivered as it is
		}
		z, err := gzip.NewReader(bytes.NewReader(r.Data()))
		if err != nil {
			return nil, nil, err
		}
		data, err := io.ReadAll(io.LimitReader(z, 64<<20))
		return data, nil, err
	})
	// scheduler.Config{Decoder: decoder}
	data, _, err := decoder.Decode(context.Background(), kcl.NewRecord(kcl.RecordFields{Data: compress("hello")}))
	fmt.Println(string(data), err)
	// Output: hello <nil>
}

// CloudWatch Logs sends the events of a log stream in compressed records, many in
// one. Each becomes a record, which can be checkpointed by itself.
func ExampleSplitter() {
	var splitter kcl.Splitter = kcl.SplitterFunc(func(_ context.Context, r kcl.Record) ([]kcl.Decoded, error) {
		z, err := gzip.NewReader(bytes.NewReader(r.Data()))
		if err != nil {
			return nil, err // delivered as it is, and counted
		}
		var message struct {
			LogEvents []json.RawMessage `json:"logEvents"`
		}
		if err := json.NewDecoder(io.LimitReader(z, 64<<20)).Decode(&message); err != nil {
			return nil, err
		}
		events := make([]kcl.Decoded, len(message.LogEvents))
		for i, event := range message.LogEvents {
			events[i].Data = event
		}
		return events, nil
	})
	// scheduler.Config{Decoder: splitter}
	record := kcl.NewRecord(
		kcl.RecordFields{SequenceNumber: "12", Data: compress(`{"logEvents":[{"message":"a"},{"message":"b"}]}`)},
	)
	events, err := splitter.Split(context.Background(), record)
	for i, event := range events { // as the library does it
		part := record.WithPart(i, event)
		fmt.Println(part.Position(), string(part.Data()))
	}
	fmt.Println(err)
	// Output:
	// 12 {"message":"a"}
	// 12/1 {"message":"b"}
	// <nil>
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
