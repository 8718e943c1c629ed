package kinesistest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/kinesistest"
)

func (e env) putRecord(key, data string) (*kinesis.PutRecordOutput, error) {
	return e.cl.PutRecord(e.t.Context(), &kinesis.PutRecordInput{
		StreamName: aws.String(testStream), PartitionKey: &key,
		Data: []byte(data),
	})
}

func entries(n int, key, data string) []types.PutRecordsRequestEntry {
	list := make([]types.PutRecordsRequestEntry, n)
	for i := range list {
		list[i] = types.PutRecordsRequestEntry{PartitionKey: &key, Data: []byte(data)}
	}
	return list
}

func (e env) putRecords(list []types.PutRecordsRequestEntry) (*kinesis.PutRecordsOutput, error) {
	return e.cl.PutRecords(e.t.Context(), &kinesis.PutRecordsInput{StreamName: aws.String(testStream), Records: list})
}

// TestPutPartition checks the published rule: the MD5 of the key as a 128-bit number lies in the
// hash range of the shard.
func TestPutPartition(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, e env) {
		// MD5("a") = 0cc1..., MD5("b") = 92eb..., MD5("c") = 4a8a..., MD5("e") = e167...
		for key, shard := range map[string]int{"a": 0, "b": 2, "c": 1, "e": 3} {
			out, err := e.putRecord(key, "x")
			require.NoError(t, err)
			require.Equal(t, shardID(shard), *out.ShardId, key)
		}
		for hash, shard := range map[string]int{
			"0": 0, "85070591730234615865843651857942052863": 0, "85070591730234615865843651857942052864": 1,
			"340282366920938463463374607431768211455": 3,
		} {
			out, err := e.cl.PutRecord(e.t.Context(), &kinesis.PutRecordInput{
				StreamName: aws.String(testStream), PartitionKey: aws.String("a"), ExplicitHashKey: &hash, Data: []byte("x"),
			})
			require.NoError(t, err)
			require.Equal(t, shardID(shard), *out.ShardId, hash)
		}
	})
}

func TestPutRefused(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		put := func(change func(in *kinesis.PutRecordInput)) error {
			in := &kinesis.PutRecordInput{StreamName: aws.String(testStream), PartitionKey: aws.String("k"), Data: []byte("x")}
			change(in)
			_, err := e.cl.PutRecord(e.t.Context(), in)
			return err
		}
		for name, c := range map[string]struct {
			change func(in *kinesis.PutRecordInput)
			code   string
		}{
			"no key":    {func(in *kinesis.PutRecordInput) { in.PartitionKey = nil }, "ValidationException"},
			"empty key": {func(in *kinesis.PutRecordInput) { in.PartitionKey = aws.String("") }, "ValidationException"},
			"long key": {
				func(in *kinesis.PutRecordInput) { in.PartitionKey = aws.String(strings.Repeat("k", 257)) },
				"ValidationException",
			},
			"hash not decimal": {
				func(in *kinesis.PutRecordInput) { in.ExplicitHashKey = aws.String("0x1") },
				"ValidationException",
			},
			"hash too large": {func(in *kinesis.PutRecordInput) {
				in.ExplicitHashKey = aws.String("340282366920938463463374607431768211456")
			}, "InvalidArgumentException"},
			"too large": {func(in *kinesis.PutRecordInput) { in.Data = make([]byte, 1<<20) }, "ValidationException"},
			"ordering": {
				func(in *kinesis.PutRecordInput) { in.SequenceNumberForOrdering = aws.String("5") },
				"InvalidArgumentException",
			},
			"from zero": {func(in *kinesis.PutRecordInput) { in.SequenceNumberForOrdering = aws.String("0") }, ""},
			"no stream": {
				func(in *kinesis.PutRecordInput) { in.StreamName = aws.String("nope") },
				"ResourceNotFoundException",
			},
			"not named": {func(in *kinesis.PutRecordInput) { in.StreamName = nil }, "InvalidArgumentException"},
			"bad name":  {func(in *kinesis.PutRecordInput) { in.StreamName = aws.String("a b") }, "ValidationException"},
			"bad ARN": {
				func(in *kinesis.PutRecordInput) { in.StreamARN = aws.String("arn:aws:s3:::x") },
				"ValidationException",
			},
			"mismatch": {
				func(in *kinesis.PutRecordInput) { in.StreamARN = aws.String(e.srv.StreamARN("other")) },
				"InvalidArgumentException",
			},
			"account":      {func(in *kinesis.PutRecordInput) { in.StreamARN = otherAccount(e) }, "ResourceNotFoundException"},
			"rehearsal":    {func(in *kinesis.PutRecordInput) { in.DryRun = aws.Bool(true) }, "DryRunOperationException"},
			"as allowed":   {func(in *kinesis.PutRecordInput) { in.Data = make([]byte, 1<<20-1) }, ""},
			"name and ARN": {func(in *kinesis.PutRecordInput) { in.StreamARN = aws.String(e.srv.StreamARN(testStream)) }, ""},
			"longest key":  {func(in *kinesis.PutRecordInput) { in.PartitionKey = aws.String(strings.Repeat("é", 256)) }, ""},
		} {
			time.Sleep(2 * time.Second)
			if err := put(c.change); c.code == "" {
				require.NoError(t, err, name)
			} else {
				requireCode(t, c.code, err)
			}
		}
		require.Len(t, e.srv.Records(testStream, shardID(0)), 4)
	})
}

func otherAccount(e env) *string {
	return aws.String(strings.Replace(e.srv.StreamARN(testStream), kinesistest.DefaultAccountID, "111122223333", 1))
}

func TestPutRecordsRefused(t *testing.T) {
	withConfig(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{
		Name: testStream, Shards: 20,
		MaxRecordSizeKiB: 2048,
	}}}, func(t *testing.T, e env) {
		_, err := e.putRecords(entries(501, "k", "x"))
		requireCode(t, "ValidationException", err)
		_, err = e.putRecords([]types.PutRecordsRequestEntry{})
		requireCode(t, "ValidationException", err)
		_, err = e.putRecords(entries(6, "k", strings.Repeat("x", 2<<20-1))) // 12 MiB
		requireCode(t, "InvalidArgumentException", err)
		one := append(entries(1, "k", "x"),
			types.PutRecordsRequestEntry{PartitionKey: aws.String("k"), Data: make([]byte, 2<<20)})
		_, err = e.putRecords(one)
		requireCode(t, "ValidationException", err) // one bad record fails all
		out, err := e.putRecords(entries(500, "k", "x"))
		require.NoError(t, err)
		require.Equal(t, int32(0), *out.FailedRecordCount)
		require.Len(t, out.Records, 500)
	})
}

// TestPutThroughput: 1000 records and 1 MiB a second for each shard; PutRecords fails record by
// record.
func TestPutThroughput(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		for range 2 {
			out, err := e.putRecords(entries(500, "k", "x"))
			require.NoError(t, err)
			require.Equal(t, int32(0), *out.FailedRecordCount)
		}
		out, err := e.putRecords(entries(2, "k", "x"))
		require.NoError(t, err)
		require.Equal(t, int32(2), *out.FailedRecordCount)
		require.Equal(t, "ProvisionedThroughputExceededException", *out.Records[0].ErrorCode)
		require.Equal(t, "Rate exceeded for shard shardId-000000000000 in stream orders under account 000000000000.",
			*out.Records[0].ErrorMessage)
		require.Nil(t, out.Records[0].SequenceNumber)
		_, err = e.putRecord("k", "x")
		requireCode(t, "ProvisionedThroughputExceededException", err)

		time.Sleep(time.Second)
		list := append(entries(2, "k", strings.Repeat("x", 600<<10)), entries(1, "k", "small")...)
		out, err = e.putRecords(list)
		require.NoError(t, err)
		require.Equal(t, int32(1), *out.FailedRecordCount) // the second does not fit, the third does
		require.NotNil(t, out.Records[1].ErrorCode)
		require.NotNil(t, out.Records[2].SequenceNumber)
		time.Sleep(time.Second)
		_, err = e.putRecord("k", strings.Repeat("x", 1<<20-1))
		require.NoError(t, err)
	})
	withConfig(t, kinesistest.Config{DisableLimits: true, Streams: []kinesistest.StreamConfig{{Name: testStream}}},
		func(t *testing.T, e env) {
			for range 10 {
				out, err := e.putRecords(entries(500, "k", strings.Repeat("x", 10<<10)))
				require.NoError(t, err)
				require.Equal(t, int32(0), *out.FailedRecordCount)
			}
		})
}

// TestPutLargeRecords: a stream with large records takes a burst of one, over an average of 1 MiB a
// second.
func TestPutLargeRecords(t *testing.T) {
	withConfig(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: testStream, MaxRecordSizeKiB: 10240}}},
		func(t *testing.T, e env) {
			large := strings.Repeat("x", 10<<20-1)
			_, err := e.putRecord("k", large)
			require.NoError(t, err)
			time.Sleep(9 * time.Second)
			_, err = e.putRecord("k", large)
			requireCode(t, "ProvisionedThroughputExceededException", err)
			time.Sleep(time.Second)
			_, err = e.putRecord("k", large)
			require.NoError(t, err)
		})
}

// TestPutAutoDistribution: with AUTO a partition key may be absent, decides nothing, and is kept
// where there is one.
func TestPutAutoDistribution(t *testing.T) {
	withConfig(t, kinesistest.Config{
		Streams: []kinesistest.StreamConfig{{Name: testStream, Shards: 2, OnDemand: true, AutoDistribution: true}},
	}, func(t *testing.T, e env) {
		shards := map[string]int{}
		for _, key := range []*string{nil, aws.String("k"), nil, aws.String("k")} {
			out, err := e.cl.PutRecord(e.t.Context(),
				&kinesis.PutRecordInput{StreamName: aws.String(testStream), PartitionKey: key, Data: []byte("x")})
			require.NoError(t, err)
			shards[*out.ShardId]++
		}
		require.Equal(t, map[string]int{shardID(0): 2, shardID(1): 2}, shards)
		keys := map[string]int{}
		for i := range 2 {
			for _, r := range e.getRecords(e.iterator(shardID(i), trimHorizon)).Records {
				key := "absent"
				if r.PartitionKey != nil {
					key = *r.PartitionKey
				}
				keys[key]++
			}
		}
		require.Equal(t, map[string]int{"absent": 2, "k": 2}, keys)
	})
}
