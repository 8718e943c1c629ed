package kpl_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kpl"
)

// FuzzDeaggregateSigned fuzzes the protobuf, with a right checksum: a wrong checksum would hide the
// rest of the code. A general protobuf reader must see the same records. See K-01 and K-12.
func FuzzDeaggregateSigned(f *testing.F) {
	for _, c := range corrupt(f) {
		if len(c.data) > 20 && len(c.data) < 1000 {
			f.Add(c.data[4:len(c.data)-16], "0", "170141183460469231731687303715884105727")
		}
	}
	whole := aggregate(f, "a", "bb", "")
	f.Add(whole[4:len(whole)-16], "", "")
	f.Add([]byte(message(nil).text(1, "k").text(2, "17").message(3, message(nil).varint(1, 0).varint(2, 0).text(3, "x"))),
		"0", "16")
	f.Add([]byte(message(nil).text(1, "k").message(3, user(0, "x").varint(1<<30, 1))), "", "")
	f.Fuzz(func(t *testing.T, m []byte, start, end string) {
		compare(t, m)
		check(t, sign(m), kpl.Options{MaxRecords: 50})
		check(t, sign(m), kpl.Options{HashKeyRange: kcl.HashKeyRange{Start: start, End: end}})
	})
}

// FuzzDeaggregateRaw fuzzes the data of a Kinesis record.
func FuzzDeaggregateRaw(f *testing.F) {
	for _, c := range corrupt(f) {
		f.Add(c.data[:min(len(c.data), 1000)])
	}
	f.Add(aggregate(f, "a", "bb", ""))
	f.Add([]byte("plain"))
	f.Fuzz(func(t *testing.T, data []byte) { check(t, data, kpl.Options{}) })
}

// check holds for all input. The neighbours of a carrier stay as they are, and so does a carrier
// that is not split. User records are in order, and their data are a part of the carrier's data.
func check(t *testing.T, data []byte, opt kpl.Options) {
	raw := bytes.Clone(data)
	before, after := carrier(1, []byte("before")), carrier(3, []byte("after"))
	out, report := kpl.Deaggregate([]kcl.Record{before, carrier(2, data), after}, opt)
	require.Equal(t, raw, data)
	require.GreaterOrEqual(t, len(out), 2)
	require.Equal(t, "1=before", brief(out[:1]))
	require.Equal(t, "3=after", brief(out[len(out)-1:]))
	inner := out[1 : len(out)-1]

	if report.Aggregates == 0 {
		require.Len(t, inner, 1)
		require.Equal(t, seen([]kcl.Record{carrier(2, raw)}), seen(inner))
		require.Equal(t, report.Err != nil, report.Corrupt == 1)
		return
	}
	require.Zero(t, report.Corrupt)
	require.Len(t, inner, report.UserRecords-report.Dropped)
	if opt.MaxRecords > 0 {
		require.LessOrEqual(t, report.UserRecords, opt.MaxRecords)
	}
	if opt.HashKeyRange.IsZero() {
		require.Zero(t, report.Dropped)
	}
	last, total := int64(-1), 0
	for _, r := range inner {
		require.Equal(t, "2", r.SequenceNumber())
		require.True(t, r.Aggregated())
		require.Greater(t, r.SubSequenceNumber(), last)
		last = r.SubSequenceNumber()
		total += len(r.Data())
		require.True(t, bytes.Contains(data, r.Data()))
		_, ok := r.PartitionKey()
		require.True(t, ok)
	}
	require.Less(t, last, int64(report.UserRecords))
	require.LessOrEqual(t, total, len(data))

	again, _ := kpl.Deaggregate([]kcl.Record{before, carrier(2, data), after}, opt)
	require.Equal(t, seen(out), seen(again))
}
