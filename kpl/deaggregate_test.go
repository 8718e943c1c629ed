package kpl_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kpl"
)

var arrived = time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)

// carrier is a Kinesis record with the data.
func carrier(seq int, data []byte) kcl.Record {
	key := "carrier"
	return kcl.NewRecord(kcl.RecordFields{
		SequenceNumber:     strconv.Itoa(seq),
		PartitionKey:       &key,
		Data:               data,
		ApproximateArrival: arrived,
		EncryptionType:     kcl.EncryptionKMS,
	})
}

// sign makes an aggregate of any protobuf, valid or not.
func sign(message []byte) []byte {
	sum := md5.Sum(message)
	return append(append([]byte("\xf3\x89\x9a\xc2"), message...), sum[:]...)
}

// message builds protobuf by hand, so that it can be wrong.
type message []byte

func (m message) text(field protowire.Number, s string) message {
	return protowire.AppendString(protowire.AppendTag(m, field, protowire.BytesType), s)
}

func (m message) varint(field protowire.Number, n uint64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), n)
}

func (m message) message(field protowire.Number, inner message) message {
	return m.text(field, string(inner))
}

// user is one valid Record of the message.
func user(key uint64, data string) message { return message(nil).varint(1, key).text(3, data) }

// aggregate packs payloads, each under a key of its own.
func aggregate(t require.TestingT, payloads ...string) []byte {
	var a kpl.Aggregator
	for i, p := range payloads {
		require.NoError(t, a.Add("key"+strconv.Itoa(i), "", []byte(p)))
	}
	return a.Bytes()
}

// seen is all that a processor can learn about a record, for comparisons.
func seen(records []kcl.Record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		key, hasKey := r.PartitionKey()
		hash, hasHash := r.ExplicitHashKey()
		out[i] = fmt.Sprintf("%s agg=%v key=%q,%v hash=%q,%v %s %s %x", r.Position(), r.Aggregated(), key, hasKey, hash,
			hasHash, r.ApproximateArrival().Format(time.RFC3339Nano), r.EncryptionType(), r.Data())
	}
	return out
}

func TestDeaggregateKnownBytes(t *testing.T) {
	t.Parallel()
	data, err := hex.DecodeString("f3899ac2" +
		"0a0161" + "0a026262" + "12023137" + // keys a and bb, hash key 17
		"1a07" + "0800" + "1a03" + "783132" + // a: x12
		"1a06" + "0801" + "1000" + "1a00" + // bb at 17: nothing
		"40373a2fcac7c6c7497ffc6e7fa485b3")
	require.NoError(t, err)

	records, report := kpl.Deaggregate([]kcl.Record{carrier(7, data)}, kpl.Options{})
	require.Equal(t, kpl.Report{Aggregates: 1, UserRecords: 2}, report)
	require.Equal(t, []string{
		`7 agg=true key="a",true hash="",false 2026-01-02T03:04:05.006Z KMS 783132`,
		`7/1 agg=true key="bb",true hash="17",true 2026-01-02T03:04:05.006Z KMS `,
	}, seen(records))

	var a kpl.Aggregator
	require.NoError(t, a.Add("a", "", []byte("x12")))
	require.NoError(t, a.Add("bb", "17", nil))
	require.Equal(t, data, a.Bytes(), "the aggregator writes the same bytes")
}

func TestDeaggregateKeepsOrderAndNeighbours(t *testing.T) {
	t.Parallel()
	in := []kcl.Record{
		carrier(1, []byte("plain")),
		carrier(2, aggregate(t, "a", "b")),
		carrier(3, nil),
		carrier(4, aggregate(t, "c")),
	}
	before := seen(in)
	records, report := kpl.Deaggregate(in, kpl.Options{})
	require.Equal(t, kpl.Report{Aggregates: 2, UserRecords: 3}, report)
	require.Equal(t, "1=plain 2=a 2/1=b 3= 4=c", brief(records))
	require.Equal(t, before, seen(in), "the batch is left alone")
	for i := 1; i < len(records); i++ {
		require.Negative(t, records[i-1].Position().Compare(records[i].Position()))
	}
}

// brief returns position and data of each record.
func brief(records []kcl.Record) string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = r.Position().String() + "=" + string(r.Data())
	}
	return strings.Join(out, " ")
}

func TestDeaggregateSharesTheCarriersMemory(t *testing.T) {
	t.Parallel()
	data := aggregate(t, "first", "second")
	records, _ := kpl.Deaggregate([]kcl.Record{carrier(1, data)}, kpl.Options{})
	for _, r := range records {
		at := bytes.Index(data, r.Data())
		require.Same(t, &data[at], &r.Data()[0])
		require.Equal(t, len(r.Data()), cap(r.Data()), "an append must not reach the next record")
	}
	clone := records[0].Clone()
	clear(data)
	require.Equal(t, "first", string(clone.Data()))
	key, _ := records[1].PartitionKey()
	require.Equal(t, "key1", key, "keys are copies")
}

func TestBatchesWithoutAggregatesComeBackUntouched(t *testing.T) {
	in := []kcl.Record{
		carrier(1, []byte("plain")),
		carrier(2, nil),
		carrier(3, []byte("\xf3\x89\x9a")),
		carrier(4, []byte("\xf3\x89\x9a\xc3 almost, and long enough")),
	}
	out, report := kpl.Deaggregate(in, kpl.Options{})
	require.Zero(t, report)
	require.Same(t, &in[0], &out[0])
	require.Len(t, out, len(in))
	require.Zero(t, testing.AllocsPerRun(100, func() { kpl.Deaggregate(in, kpl.Options{}) }))
	out, _ = kpl.Deaggregate(nil, kpl.Options{})
	require.Nil(t, out)
}

// canary is in every payload of a corrupt aggregate, and must be in no error.
const canary = "canary-7f3a"

// corrupt lists the ways in which an aggregate can be broken, each with a word of its error.
func corrupt(t require.TestingT) map[string]struct {
	data []byte
	want string
} {
	good := aggregate(t, canary, canary)
	flipped := bytes.Clone(good)
	flipped[10] ^= 1
	keyed := message(nil).text(1, canary)
	wrap := func(record message) []byte { return sign(keyed.message(3, record)) }
	type c = struct {
		data []byte
		want string
	}
	return map[string]c{
		"K03 wrong checksum":        {flipped, "checksum"},
		"K03 trailing garbage":      {append(bytes.Clone(good), canary...), "checksum"},
		"K03 cut":                   {good[:len(good)-1], "checksum"},
		"K03 magic alone":           {good[:4], "too short"},
		"K03 magic and a few bytes": {good[:20], "too short"},
		"K03 no protobuf at all":    {sign(nil), "too short"},
		"K01 partition key index":   {wrap(user(1, canary)), "partition key 1 of 1"},
		"K01 no table":              {sign(message(nil).message(3, user(0, canary))), "partition key 0 of 0"},
		"K01 hash key index": {
			wrap(message(nil).varint(1, 0).varint(2, 0).text(3, canary)),
			"explicit hash key 0 of 0",
		},
		"K02 no protobuf":                {sign([]byte(canary)), "kpl: not a valid aggregate"},
		"K02 garbage after the protobuf": {sign(append(keyed.message(3, user(0, canary)), 0xff)), "not a valid aggregate"},
		"K02 broken record":              {wrap(message("\x1a\x7fshort")), "user record 0"},
		"K02 the second record broken": {
			sign(keyed.message(3, user(0, canary)).message(3, message("\x08"))),
			"user record 1",
		},
		"K12 no partition key": {wrap(message(nil).text(3, canary)), "no partition key"},
		"K12 no data":          {wrap(message(nil).varint(1, 0)), "no data"},
		"K12 index 2^64-1":     {wrap(user(1<<64-1, canary)), "18446744073709551615"},
		"K12 index 2^32":       {wrap(user(1<<32, canary)), "4294967296"},
		"K12 hash index 2^64-1": {
			wrap(message(nil).varint(1, 0).varint(2, 1<<64-1).text(3, canary)),
			"18446744073709551615",
		},
		"K12 varint of eleven bytes": {
			wrap(message("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x00")),
			"overflow",
		},
		"K12 data as a number":  {wrap(message(nil).varint(1, 0).varint(3, 5)), "no data"},
		"K12 key index as text": {wrap(message(nil).text(1, "0").text(3, canary)), "no partition key"},
		"K12 field number zero": {wrap(append(user(0, canary), 0x02, 0x00)), "field number"},
		"K12 tag without key": {
			wrap(user(0, canary).message(4, message(nil).text(2, canary))),
			"a tag without a key",
		},
		"K12 broken tag":                {wrap(user(0, canary).message(4, message("\x0a\x05a"))), "user record 0"},
		"K12 broken tag behind its key": {wrap(user(0, canary).message(4, message("\x0a\x01a\xff"))), "user record 0"},
		"K12 group that never ends":     {wrap(append(user(0, canary), 0x33)), "EOF"},
		"K12 deep nesting": {
			sign(append(keyed.message(3, user(0, canary)), bytes.Repeat([]byte{0x33}, 100_000)...)),
			"not a valid aggregate",
		},
	}
}

// TestK01K02K03K04CorruptAggregatesAreDeliveredRaw: a corrupt aggregate is delivered unchanged, and
// its neighbours are not affected. No error holds any of its content.
func TestK01K02K03K04CorruptAggregatesAreDeliveredRaw(t *testing.T) {
	t.Parallel()
	for name, test := range corrupt(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := bytes.Clone(test.data)
			in := []kcl.Record{
				carrier(1, []byte("before")),
				carrier(2, aggregate(t, "a", "b")),
				carrier(3, test.data),
				carrier(4, aggregate(t, "c")),
				carrier(5, []byte("after")),
			}
			out, report := kpl.Deaggregate(in, kpl.Options{})
			require.Equal(t, "1=before 2=a 2/1=b 3="+string(raw)+" 4=c 5=after", brief(out))
			require.Equal(t, seen(in)[2], seen(out)[3])
			require.False(t, out[3].Aggregated())
			require.Equal(t, 1, report.Corrupt)
			require.Equal(t, 2, report.Aggregates)
			require.Equal(t, 3, report.UserRecords)
			require.Equal(t, in[2].Position(), report.At)
			require.ErrorIs(t, report.Err, kpl.ErrCorrupt)
			require.ErrorContains(t, report.Err, test.want)
			require.NotContains(t, report.Err.Error(), canary)

			alone, report := kpl.Deaggregate(in[2:3], kpl.Options{})
			require.Same(t, &in[2], &alone[0], "nothing to split: the same slice")
			require.Equal(t, 1, report.Corrupt)
		})
	}
}

func TestReportNamesTheFirstCorruptAggregate(t *testing.T) {
	t.Parallel()
	_, report := kpl.Deaggregate(
		[]kcl.Record{carrier(1, nil), carrier(2, sign([]byte("?!"))), carrier(3, []byte("\xf3\x89\x9a\xc2"))}, kpl.Options{})
	require.Equal(t, 2, report.Corrupt)
	require.Equal(t, "2", report.At.String())
}

// TestK08EmptyAggregate: there is no record to deliver, and the caller goes on from Batch.Next.
func TestK08EmptyAggregate(t *testing.T) {
	t.Parallel()
	empty := sign(message(nil).text(1, "key"))
	out, report := kpl.Deaggregate([]kcl.Record{carrier(1, empty)}, kpl.Options{})
	require.Empty(t, out)
	require.Equal(t, kpl.Report{Aggregates: 1}, report)
	out, report = kpl.Deaggregate([]kcl.Record{carrier(1, empty), carrier(2, []byte("after"))}, kpl.Options{})
	require.Equal(t, "2=after", brief(out))
	require.Equal(t, 1, report.Aggregates)
}

// TestK09Amplification: the memory for one carrier is bounded for any content.
func TestK09Amplification(t *testing.T) {
	records := func(n int) []byte {
		m := message(nil).text(1, "k")
		for range n {
			m = m.message(3, user(0, ""))
		}
		return sign(m)
	}
	keys := func(field protowire.Number, n int) []byte {
		var m message
		for range n {
			m = m.text(field, "")
		}
		return sign(m.text(1, "k").message(3, user(0, canary)))
	}
	for name, data := range map[string][]byte{
		"records": records(6), "partition keys": keys(1, 6), "hash keys": keys(2, 6),
		"records by default": records(kpl.DefaultMaxRecords + 1), "keys by default": keys(2, kpl.DefaultMaxRecords+1),
	} {
		t.Run(name, func(t *testing.T) {
			opt := kpl.Options{MaxRecords: 5}
			if strings.HasSuffix(name, "default") {
				opt = kpl.Options{}
			}
			in := []kcl.Record{carrier(1, data), carrier(2, aggregate(t, "after"))}
			out, report := kpl.Deaggregate(in, opt)
			require.Equal(t, 1, report.Corrupt)
			require.ErrorIs(t, report.Err, kpl.ErrTooManyRecords)
			require.NotContains(t, report.Err.Error(), canary)
			require.Len(t, out, 2)
			require.True(t, bytes.Equal(data, out[0].Data()))
			require.Equal(t, "after", string(out[1].Data()))
		})
	}

	// The largest number of records in a mebibyte is split, and takes the documented memory.
	n := (1 << 20) / len(message(nil).message(3, user(0, "")))
	require.Less(t, n, kpl.DefaultMaxRecords)
	in := []kcl.Record{carrier(1, records(n))}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, report := kpl.Deaggregate(in, kpl.Options{})
	runtime.ReadMemStats(&after)
	require.Len(t, out, n)
	require.Zero(t, report.Corrupt)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(n*112+1<<20), "bytes")
	require.Less(t, after.Mallocs-before.Mallocs, uint64(20))
	require.EqualValues(t, 112, unsafe.Sizeof(kcl.Record{}), "the documentation of Options.MaxRecords says so")
}

// TestK11NilPartitionKey: a carrier without a key is split, or delivered raw, like any other.
func TestK11NilPartitionKey(t *testing.T) {
	t.Parallel()
	data := aggregate(t, "a")
	in := []kcl.Record{
		kcl.NewRecord(kcl.RecordFields{SequenceNumber: "1", Data: data}),
		kcl.NewRecord(kcl.RecordFields{SequenceNumber: "2", Data: data[:30]}),
		kcl.NewRecord(kcl.RecordFields{SequenceNumber: "3"}),
	}
	out, report := kpl.Deaggregate(in, kpl.Options{HashKeyRange: kcl.HashKeyRange{Start: "0", End: "0"}})
	require.Equal(t, kpl.Report{Aggregates: 1, UserRecords: 1, Corrupt: 1, Err: report.Err, At: in[1].Position()}, report)
	require.Len(t, out, 3)
	key, ok := out[0].PartitionKey()
	require.True(t, ok, "the user record has its own")
	require.Equal(t, "key0", key)
	for _, r := range out[1:] {
		_, ok := r.PartitionKey()
		require.False(t, ok)
	}
}

// TestK12UnusualProtobuf has protobuf that a reader must accept, although no producer writes it.
func TestK12UnusualProtobuf(t *testing.T) {
	t.Parallel()
	group := append(message("\x33"), user(0, "inside")...)
	group = append(group, 0x34)
	for name, m := range map[string]message{
		"tables last": message(nil).message(3, user(0, "data")).text(1, "key"),
		"unknown fields": message(nil).varint(9, 1<<63).text(1, "key").message(3,
			user(0, "data").text(100, "?").varint(536870911, 0)).text(77, "?"),
		"fixed fields": append(message(nil).text(1, "key").message(3, user(0, "data")), "\x4d1234\x5112345678"...),
		"groups":       append(message(nil).text(1, "key").message(3, append(user(0, "data"), group...)), group...),
		"field twice":  message(nil).text(1, "key").message(3, append(user(7, "no"), user(0, "data")...)),
		"long varint": message(nil).text(1, "key").message(3,
			message("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x1a\x04data")),
		"tags": message(nil).text(1, "key").message(3,
			user(0, "data").message(4, message(nil).text(1, "k").text(2, "v")).message(4, message(nil).text(1, ""))),
		"known as a number": message(nil).varint(1, 5).varint(3, 5).text(1, "key").message(3,
			user(0, "data").text(1, "?").varint(3, 0)),
		"unused table entry": message(nil).text(1, "key").text(1, "more").text(2, "no number").message(3, user(0, "data")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, report := kpl.Deaggregate([]kcl.Record{carrier(1, sign(m))}, kpl.Options{})
			require.NoError(t, report.Err)
			require.Equal(t, kpl.Report{Aggregates: 1, UserRecords: 1}, report)
			require.Equal(t, "1=data", brief(out))
			key, _ := out[0].PartitionKey()
			require.Equal(t, "key", key)
		})
	}
}

func TestKeysAreBytes(t *testing.T) {
	t.Parallel()
	key := "bad \xff utf-8\x00\n"
	out, _ := kpl.Deaggregate([]kcl.Record{carrier(1, sign(message(nil).text(1, key).message(3, user(0, "data"))))},
		kpl.Options{})
	got, _ := out[0].PartitionKey()
	require.Equal(t, key, got)
}

// TestRoundTrip packs random records between plain ones, splits them and compares.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var in []kcl.Record
		var want []string
		for seq := range rapid.IntRange(1, 6).Draw(t, "carriers") {
			if rapid.Bool().Draw(t, "plain") {
				r := carrier(seq, rapid.SliceOf(rapid.Byte()).Draw(t, "data"))
				in, want = append(in, r), append(want, seen([]kcl.Record{r})...)
				continue
			}
			var a kpl.Aggregator
			for sub := range rapid.IntRange(1, 20).Draw(t, "records") {
				key := rapid.StringN(1, 256, -1).Draw(t, "key")
				hash := rapid.SampledFrom([]string{"", "0", "17", "340282366920938463463374607431768211455"}).Draw(t, "hash")
				data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
				require.NoError(t, a.Add(key, hash, data))
				f := kcl.RecordFields{
					SequenceNumber: strconv.Itoa(seq), SubSequenceNumber: int64(sub), Aggregated: true,
					PartitionKey: &key, Data: data, ApproximateArrival: arrived, EncryptionType: kcl.EncryptionKMS,
				}
				if hash != "" {
					f.ExplicitHashKey = &hash
				}
				want = append(want, seen([]kcl.Record{kcl.NewRecord(f)})...)
			}
			require.Len(t, a.Bytes(), a.Size())
			in = append(in, carrier(seq, a.Bytes()))
		}
		out, report := kpl.Deaggregate(in, kpl.Options{})
		require.Zero(t, report.Corrupt)
		require.Equal(t, want, seen(out))
	})
}

// TestK03AnyChangedByte: after a change of any byte of an aggregate the carrier is delivered raw.
func TestK03AnyChangedByte(t *testing.T) {
	t.Parallel()
	good := aggregate(t, "a", "bb", "")
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		out, report := kpl.Deaggregate([]kcl.Record{carrier(1, bad)}, kpl.Options{})
		require.Len(t, out, 1)
		require.Equal(t, bad, out[0].Data())
		require.Equal(t, i >= 4, report.Corrupt == 1, "byte %d", i)
	}
	for n := range good {
		out, report := kpl.Deaggregate([]kcl.Record{carrier(1, good[:n])}, kpl.Options{})
		require.Len(t, out, 1)
		require.Equal(t, n >= 4, report.Corrupt == 1, "%d bytes", n)
	}
}

func TestArrivalTimeStaysUnset(t *testing.T) {
	t.Parallel()
	out, _ := kpl.Deaggregate([]kcl.Record{kcl.NewRecord(kcl.RecordFields{SequenceNumber: "1", Data: aggregate(t, "a")})},
		kpl.Options{})
	require.True(t, out[0].ApproximateArrival().IsZero())
	require.Empty(t, out[0].EncryptionType())
}
