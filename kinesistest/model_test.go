package kinesistest

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func genSequence() *rapid.Generator[sequence] {
	return rapid.Custom(func(t *rapid.T) sequence {
		return sequence{
			epoch: rapid.Int64Range(0, 1<<36-1).Draw(t, "epoch"), shard: rapid.Uint32().Draw(t, "shard"),
			index: rapid.Uint64().Draw(t, "index"), time: rapid.Int64Range(0, 1<<36-1).Draw(t, "time"),
		}
	})
}

func TestSequenceRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := genSequence().Draw(t, "s")
		got, ok := parseSequence(s.String())
		require.True(t, ok)
		require.Equal(t, s, got)
		require.Len(t, s.String(), 56)
	})
}

// TestSequenceOrder: as numbers they are in order of shard generation, then of index, then of time.
func TestSequenceOrder(t *testing.T) {
	t.Parallel()
	value := func(s sequence) *big.Int {
		n, _ := new(big.Int).SetString(s.String(), 10)
		return n
	}
	rapid.Check(t, func(t *rapid.T) {
		a := genSequence().Draw(t, "a")
		var later sequence
		switch rapid.IntRange(0, 2).Draw(t, "what") {
		case 0:
			a.epoch = min(a.epoch, 1<<36-2) // there is a later one
			later = genSequence().Draw(t, "b")
			later.epoch = rapid.Int64Range(a.epoch+1, 1<<36-1).Draw(t, "later epoch")
		case 1:
			a.index = min(a.index, 1<<64-2)
			later = a
			later.index = rapid.Uint64Range(a.index+1, 1<<64-1).Draw(t, "later index")
			later.time = rapid.Int64Range(0, 1<<36-1).Draw(t, "any time")
		case 2:
			a.time = min(a.time, 1<<36-2)
			later = a
			later.time = rapid.Int64Range(a.time+1, 1<<36-1).Draw(t, "later time")
		}
		require.Negative(t, value(a).Cmp(value(later)))
	})
}

func TestParseSequenceRefuses(t *testing.T) {
	t.Parallel()
	good := sequence{epoch: 1, index: 2, time: 3}.String()
	for _, bad := range []string{
		"", "0", "1", "-1", "01", "abc", good + "0", good[:55], " " + good,
		strings.Repeat("9", 129), strings.Repeat("9", 56),
	} {
		_, ok := parseSequence(bad)
		require.False(t, ok, bad)
	}
}

// TestEvenRanges: the ranges cover the space without a gap, and a split in the middle keeps it so.
func TestEvenRanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 3000).Draw(t, "n")
		ranges := evenRanges(n)
		require.Len(t, ranges, n)
		require.Equal(t, hashKey{}, ranges[0].start)
		require.Equal(t, maxHashKey, ranges[n-1].end)
		for i := 1; i < n; i++ {
			require.Equal(t, ranges[i-1].end.next(), ranges[i].start)
		}
		r := ranges[rapid.IntRange(0, n-1).Draw(t, "i")]
		m := r.middle()
		require.True(t, r.contains(m) && r.contains(m.prev()))
	})
}

func TestHashKeyText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		k := hashKey{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
		got, ok := parseHashKey(k.String())
		require.True(t, ok)
		require.Equal(t, k, got)
		require.Equal(t, k, k.next().prev())
	})
	require.Equal(t, "340282366920938463463374607431768211455", maxHashKey.String())
	for _, bad := range []string{"", "-1", "00", "0x1", "1 ", "340282366920938463463374607431768211456"} {
		_, ok := parseHashKey(bad)
		require.False(t, ok, bad)
	}
}

func TestParseARN(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]arnParts{
		"arn:aws:kinesis:us-east-1:000000000000:stream/s": {
			region:  "us-east-1",
			account: "000000000000", stream: "s",
		},
		"arn:aws-cn:kinesis:cn-north-1:123456789012:stream/s.t/consumer/c-d:123": {
			region:  "cn-north-1",
			account: "123456789012", stream: "s.t", consumer: "c-d", created: "123",
		},
	} {
		got, ok := parseARN(text)
		require.True(t, ok, text)
		require.Equal(t, want, got)
	}
	for _, bad := range []string{
		"", "s", "arn:aws:s3:::b", "arn:aws:kinesis:r:000000000000:stream/", "arn:aws:kinesis:r:1:stream/s",
		"arn:aws:kinesis:r:000000000000:stream/s/x",
		"arn:aws:kinesis:r:000000000000:stream/s/consumer/c", "arn:aws:kinesis:r:000000000000:stream/s/consumer/c:x",
		"arn:aws:kinesis:r:000000000000:table/s",
	} {
		_, ok := parseARN(bad)
		require.False(t, ok, bad)
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	var b bucket
	for range 5 {
		require.True(t, b.take(now, 1, 5, 5))
	}
	require.False(t, b.take(now, 1, 5, 5))
	require.False(t, b.take(now.Add(199*time.Millisecond), 1, 5, 5))
	require.True(t, b.take(now.Add(200*time.Millisecond), 1, 5, 5))
	require.Equal(t, 200*time.Millisecond, b.wait(now.Add(200*time.Millisecond), 1, 5, 5))
	require.Equal(t, time.Second, b.wait(now.Add(200*time.Millisecond), 50, 5, 5), "more than fits waits until it is full")
	later := now.Add(time.Hour)
	b.charge(later, 25, 5)
	require.False(t, b.admit(later.Add(4*time.Second), 5, 5))
	require.True(t, b.admit(later.Add(4200*time.Millisecond), 5, 5))
}

// TestRecordsJSON compares the JSON that is written by hand with that of encoding/json.
func TestRecordsJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		records := []record{}
		for range rapid.IntRange(0, 4).Draw(t, "n") {
			r := record{
				SequenceNumber:              genSequence().Draw(t, "seq").String(),
				ApproximateArrivalTimestamp: timestamp{time.UnixMilli(rapid.Int64Range(1, 1<<42).Draw(t, "ms")).UTC()},
				Data:                        rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
				EncryptionType:              rapid.SampledFrom([]string{"", "KMS"}).Draw(t, "encryption"),
			}
			if rapid.Bool().Draw(t, "has key") {
				key := rapid.String().Draw(t, "key")
				r.PartitionKey = &key
			}
			records = append(records, r)
		}
		var cont *string
		var children []childShard
		if rapid.Bool().Draw(t, "end") {
			children = []childShard{{ShardID: "a", ParentShards: []string{"b", "c"}}}
		} else {
			s := genSequence().Draw(t, "cont").String()
			cont = &s
		}
		event := &subscribeToShardEvent{
			Records: records, ContinuationSequenceNumber: cont,
			MillisBehindLatest: rapid.Int64Range(0, 1<<40).Draw(t, "behind"), ChildShards: children,
		}
		answer := getRecordsOutput{
			Records: records, NextShardIterator: cont, MillisBehindLatest: event.MillisBehindLatest,
			ChildShards: children,
		}
		for _, v := range []any{event, answer} {
			got, err := encode(jsonCodec{}, v)
			require.NoError(t, err)
			want, err := json.Marshal(v)
			require.NoError(t, err)
			require.JSONEq(t, string(want), string(got))
		}
	})
}
