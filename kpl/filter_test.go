package kpl_test

import (
	"crypto/md5"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kpl"
)

// power is 2^n + d in decimal.
func power(n uint, d int64) string {
	p := new(big.Int).Lsh(big.NewInt(1), n)
	return p.Add(p, big.NewInt(d)).String()
}

// TestK05FilterByExplicitHashKey has the range 2^60 to 2^68, and an aggregate with records below,
// in and above the range. The KCL drops the whole aggregate. Here the records in the range stay,
// with their places in the aggregate.
func TestK05FilterByExplicitHashKey(t *testing.T) {
	t.Parallel()
	shard := kcl.HashKeyRange{Start: power(60, 0), End: power(68, 0)}
	pack := func(hashes ...string) kcl.Record {
		var a kpl.Aggregator
		for i, h := range hashes {
			require.NoError(t, a.Add("key", h, []byte(strconv.Itoa(i))))
		}
		return carrier(9, a.Bytes())
	}
	for name, test := range map[string]struct {
		hashes []string
		want   string
	}{
		"all in range":  {[]string{power(60, 0), power(64, -1), power(64, 0), power(68, 0)}, "9=0 9/1=1 9/2=2 9/3=3"},
		"none in range": {[]string{"0", power(60, -1), power(68, 1), power(128, -1)}, ""},
		"some in range": {[]string{"0", power(61, 0), power(68, 1), power(68, -1), "1"}, "9/1=1 9/3=3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := []kcl.Record{pack(test.hashes...)}
			out, report := kpl.Deaggregate(in, kpl.Options{HashKeyRange: shard})
			require.Equal(t, test.want, brief(out))
			require.Equal(t, kpl.Report{Aggregates: 1, UserRecords: len(test.hashes), Dropped: len(test.hashes) - len(out)},
				report)

			out, report = kpl.Deaggregate(in, kpl.Options{})
			require.Len(t, out, len(test.hashes), "off by default: nothing is dropped")
			require.Zero(t, report.Dropped)
		})
	}
}

// TestK05FilterByPartitionKey compares the filter with a computation in big numbers.
func TestK05FilterByPartitionKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		hash := func(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
		bound := rapid.SliceOfN(rapid.Byte(), 16, 16)
		start, end := hash(bound.Draw(t, "start")), hash(bound.Draw(t, "end"))
		if start.Cmp(end) > 0 {
			start, end = end, start
		}
		var a kpl.Aggregator
		var want []string
		for i, key := range rapid.SliceOfN(rapid.StringN(1, 256, -1), 1, 20).Draw(t, "keys") {
			require.NoError(t, a.Add(key, "", nil))
			sum := md5.Sum([]byte(key))
			if h := hash(sum[:]); h.Cmp(start) >= 0 && h.Cmp(end) <= 0 {
				want = append(want, fmt.Sprint(i, key))
			}
		}
		out, report := kpl.Deaggregate([]kcl.Record{carrier(1, a.Bytes())},
			kpl.Options{HashKeyRange: kcl.HashKeyRange{Start: start.String(), End: end.String()}})
		var got []string
		for _, r := range out {
			key, _ := r.PartitionKey()
			got = append(got, fmt.Sprint(r.SubSequenceNumber(), key))
		}
		require.Equal(t, want, got)
		require.Equal(t, a.Len()-len(want), report.Dropped)
	})
}

// TestK05FilterNeverDropsInDoubt: a record that cannot be placed is kept.
func TestK05FilterNeverDropsInDoubt(t *testing.T) {
	t.Parallel()
	nothing := kcl.HashKeyRange{Start: "0", End: "0"}
	for name, test := range map[string]struct {
		hash  string
		shard kcl.HashKeyRange
	}{
		"hash key is no number":     {"x", nothing},
		"hash key is empty":         {"", nothing},
		"hash key has a colon":      {"5:", nothing},
		"hash key is negative":      {"-1", nothing},
		"hash key is 2^128":         {power(128, 0), nothing},
		"hash key is 2^129":         {power(129, 0), nothing},
		"hash key of 39 nines":      {strings.Repeat("9", 39), nothing},
		"hash key is very long":     {power(1000, 0), nothing},
		"range start is no number":  {"5", kcl.HashKeyRange{Start: "x", End: "1"}},
		"range end is unknown":      {"5", kcl.HashKeyRange{Start: "0"}},
		"range end is out of range": {"5", kcl.HashKeyRange{Start: "6", End: power(128, 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := sign(
				message(nil).text(1, "key").text(2, test.hash).message(3, message(nil).varint(1, 0).varint(2, 0).text(3, "data")))
			out, report := kpl.Deaggregate([]kcl.Record{carrier(1, data)}, kpl.Options{HashKeyRange: test.shard})
			require.Equal(t, "1=data", brief(out))
			require.Zero(t, report.Dropped)
			hash, ok := out[0].ExplicitHashKey()
			require.True(t, ok)
			require.Equal(t, test.hash, hash)
		})
	}
}

// TestK06NoFilterWithoutPartitionKey: the service chose the shard of the carrier, so the hash keys
// of its user records do not matter.
func TestK06NoFilterWithoutPartitionKey(t *testing.T) {
	t.Parallel()
	opt := kpl.Options{HashKeyRange: kcl.HashKeyRange{Start: "0", End: "0"}}
	data := aggregate(t, "a", "b")
	out, report := kpl.Deaggregate([]kcl.Record{kcl.NewRecord(kcl.RecordFields{SequenceNumber: "1", Data: data})}, opt)
	require.Equal(t, "1=a 1/1=b", brief(out))
	require.Zero(t, report.Dropped)
	out, report = kpl.Deaggregate([]kcl.Record{carrier(1, data)}, opt)
	require.Empty(t, out)
	require.Equal(t, 2, report.Dropped)
}

// TestK10DuplicateAfterReshard: after a split, the producer writes an aggregate for the parent to a
// child. It sees that the aggregate came to another shard than foreseen, and writes the record of
// the other child again. With the filter each record is delivered once, and without it twice.
func TestK10DuplicateAfterReshard(t *testing.T) {
	t.Parallel()
	left := kcl.HashKeyRange{Start: "0", End: power(127, -1)}
	right := kcl.HashKeyRange{Start: power(127, 0), End: power(128, -1)}
	var late, again kpl.Aggregator
	require.NoError(t, late.Add("key", "1", []byte("left")))
	require.NoError(t, late.Add("key", power(127, 1), []byte("right")))
	require.NoError(t, again.Add("key", power(127, 1), []byte("right")))
	read := func(filter bool) string {
		var opt [2]kpl.Options
		if filter {
			opt[0].HashKeyRange, opt[1].HashKeyRange = left, right
		}
		a, _ := kpl.Deaggregate([]kcl.Record{carrier(1, late.Bytes())}, opt[0])
		b, _ := kpl.Deaggregate([]kcl.Record{carrier(2, again.Bytes())}, opt[1])
		return brief(append(a, b...))
	}
	require.Equal(t, "1=left 2=right", read(true))
	require.Equal(t, "1=left 1/1=right 2=right", read(false))
}
