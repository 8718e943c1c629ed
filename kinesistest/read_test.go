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

func (e env) getIterator(shard string, from types.StartingPosition) (*string, error) {
	out, err := e.cl.GetShardIterator(e.t.Context(), &kinesis.GetShardIteratorInput{
		StreamName: aws.String(testStream), ShardId: &shard, ShardIteratorType: from.Type,
		StartingSequenceNumber: from.SequenceNumber, Timestamp: from.Timestamp,
	})
	if err != nil {
		return nil, err
	}
	return out.ShardIterator, nil
}

func (e env) iterator(shard string, from types.StartingPosition) *string {
	e.t.Helper()
	it, err := e.getIterator(shard, from)
	require.NoError(e.t, err)
	return it
}

func (e env) getRecords(iterator *string) *kinesis.GetRecordsOutput {
	e.t.Helper()
	out, err := e.cl.GetRecords(e.t.Context(), &kinesis.GetRecordsInput{ShardIterator: iterator})
	require.NoError(e.t, err)
	return out
}

func dataOf(records []types.Record) string {
	var s strings.Builder
	for _, r := range records {
		s.Write(r.Data)
	}
	return s.String()
}

func TestIteratorTypes(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		e.put("k", "1")
		time.Sleep(time.Second)
		_, two := e.put("k", "2")
		when := time.Now()
		time.Sleep(time.Second)
		e.put("k", "3")
		for name, c := range map[string]struct {
			from types.StartingPosition
			want string
		}{
			"trim horizon": {trimHorizon, "123"},
			"latest":       {latest, "4"},
			"at":           {at(two), "23"},
			"after":        {after(two), "3"},
			"at time":      {atTime(when), "23"},
			"later":        {atTime(when.Add(time.Millisecond)), "3"},
			"old":          {atTime(when.Add(-100 * time.Hour)), "123"},
			"now":          {atTime(time.Now()), "3"},
		} {
			time.Sleep(time.Second)
			it := e.iterator(shardID(0), c.from)
			if name == "latest" {
				require.Empty(t, e.getRecords(it).Records)
				continue
			}
			require.Equal(t, c.want, dataOf(e.getRecords(it).Records), name)
		}
		it := e.iterator(shardID(0), latest)
		e.put("k", "4")
		require.Equal(t, "4", dataOf(e.getRecords(it).Records), "LATEST is pinned when the iterator is made")
	})
}

func TestIteratorRefused(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, e env) {
		_, seq, err := e.srv.PutWithHashKey(testStream, "k", "0", []byte("x"))
		require.NoError(t, err)
		for name, c := range map[string]struct {
			shard string
			from  types.StartingPosition
			code  string
			text  string
		}{
			"unknown shard": {
				shardID(9), latest, "ResourceNotFoundException",
				"Could not find shard shardId-000000000009 in stream orders",
			},
			"foreign": {
				shardID(1), at(seq), "InvalidArgumentException",
				"It encodes shardId-000000000000, while it was used in a call to a shard with shardId-000000000001",
			},
			"future": {
				shardID(1), atTime(time.Now().Add(time.Hour)), "InvalidArgumentException",
				"cannot be greater than",
			},
			"unknown type": {shardID(1), types.StartingPosition{Type: "X"}, "ValidationException", "enum"},
			"zero":         {shardID(1), at("0"), "InvalidArgumentException", "did not come from this stream"},
			"no number": {
				shardID(1),
				types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber},
				"InvalidArgumentException", "sequence number",
			},
			"no time": {
				shardID(1),
				types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp},
				"InvalidArgumentException", "timestamp",
			},
		} {
			time.Sleep(time.Second)
			_, err := e.getIterator(c.shard, c.from)
			require.Contains(t, requireCode(t, c.code, err).ErrorMessage(), c.text, name)
		}
	})
}

func TestIteratorExpires(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		it := e.iterator(shardID(0), trimHorizon)
		time.Sleep(5 * time.Minute)
		e.getRecords(it)
		time.Sleep(time.Millisecond)
		_, err := e.cl.GetRecords(e.t.Context(), &kinesis.GetRecordsInput{ShardIterator: it})
		require.Contains(t, requireCode(t, "ExpiredIteratorException", err).ErrorMessage(), "300000 milliseconds")
	})
}

func TestIteratorQuotedAndGarbled(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		e.put("k", "x")
		it := e.iterator(shardID(0), trimHorizon)
		require.Equal(t, "x", dataOf(e.getRecords(aws.String(`"`+*it+`"`)).Records))
		for _, bad := range []string{"AAAA", `"`, `""`, *it + "A", (*it)[:len(*it)-4], strings.ToLower(*it)} {
			_, err := e.cl.GetRecords(e.t.Context(), &kinesis.GetRecordsInput{ShardIterator: &bad})
			requireCode(t, "InvalidArgumentException", err)
		}
	})
}

func TestIteratorAndGetRecordsRates(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, e env) {
		for range 5 {
			e.iterator(shardID(0), latest)
		}
		_, err := e.getIterator(shardID(0), latest)
		requireCode(t, "ProvisionedThroughputExceededException", err)
		it := e.iterator(shardID(1), latest) // every shard for itself
		for range 5 {
			e.getRecords(it)
		}
		_, err = e.cl.GetRecords(e.t.Context(), &kinesis.GetRecordsInput{ShardIterator: it})
		require.Equal(t, "Rate exceeded for shard shardId-000000000001 in stream orders under account 000000000000.",
			requireCode(t, "ProvisionedThroughputExceededException", err).ErrorMessage())
		for range 10 { // one every 200 ms goes well for ever
			time.Sleep(200 * time.Millisecond)
			e.getRecords(it)
		}
	})
}

func TestGetRecordsLimit(t *testing.T) {
	withConfig(t, kinesistest.Config{DisableLimits: true, Streams: []kinesistest.StreamConfig{{Name: testStream}}},
		func(t *testing.T, e env) {
			for range 10001 {
				e.put("k", "x")
			}
			it := e.iterator(shardID(0), trimHorizon)
			out := e.getRecords(it)
			require.Len(t, out.Records, 10000)
			require.Equal(t, int64(1), *out.MillisBehindLatest)
			require.Len(t, e.getRecords(out.NextShardIterator).Records, 1)
			out, err := e.cl.GetRecords(e.t.Context(), &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(3)})
			require.NoError(t, err)
			require.Len(t, out.Records, 3)
			_, err = e.cl.GetRecords(e.t.Context(), &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(10001)})
			requireCode(t, "InvalidArgumentException", err)
			_, err = e.cl.GetRecords(e.t.Context(), &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(0)})
			requireCode(t, "ValidationException", err)
		})
}

// TestGetRecordsTenMiB: an answer has 10 MiB at most, after which the shard is throttled until its
// 2 MiB a second have caught up.
func TestGetRecordsTenMiB(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		for range 12 {
			e.put("k", strings.Repeat("x", 1<<20-1))
		}
		out := e.getRecords(e.iterator(shardID(0), trimHorizon))
		require.Len(t, out.Records, 10)
		next := &kinesis.GetRecordsInput{ShardIterator: out.NextShardIterator}
		_, err := e.cl.GetRecords(e.t.Context(), next)
		requireCode(t, "ProvisionedThroughputExceededException", err)
		time.Sleep(3900 * time.Millisecond)
		_, err = e.cl.GetRecords(e.t.Context(), next)
		requireCode(t, "ProvisionedThroughputExceededException", err)
		time.Sleep(1100 * time.Millisecond)
		out, err = e.cl.GetRecords(e.t.Context(), next)
		require.NoError(t, err)
		require.Len(t, out.Records, 2)
	})
}

func TestGetRecordsMillisBehindLatest(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		e.put("k", "1")
		time.Sleep(time.Minute)
		e.put("k", "2")
		time.Sleep(time.Minute)
		out, err := e.cl.GetRecords(e.t.Context(),
			&kinesis.GetRecordsInput{ShardIterator: e.iterator(shardID(0), trimHorizon), Limit: aws.Int32(1)})
		require.NoError(t, err)
		require.Equal(t, time.Minute.Milliseconds(), *out.MillisBehindLatest)
		out = e.getRecords(out.NextShardIterator)
		require.Equal(t, int64(0), *out.MillisBehindLatest)
		out = e.getRecords(out.NextShardIterator)
		require.Empty(t, out.Records)
		require.Equal(t, int64(0), *out.MillisBehindLatest)
		require.NotNil(t, out.NextShardIterator)
		require.Empty(t, out.ChildShards)
	})
}

func TestGetRecordsShardEnd(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		_, seq := e.put("k", "1")
		it := e.iterator(shardID(0), trimHorizon)
		_, _, err := e.srv.SplitShard(testStream, shardID(0))
		require.NoError(t, err)
		out, err := e.cl.GetRecords(e.t.Context(), &kinesis.GetRecordsInput{ShardIterator: it, Limit: aws.Int32(1)})
		require.NoError(t, err)
		require.Len(t, out.Records, 1)
		require.Nil(t, out.NextShardIterator)
		require.Len(t, out.ChildShards, 2)
		require.Equal(t, []string{shardID(0)}, out.ChildShards[1].ParentShards)
		for _, from := range []types.StartingPosition{
			latest, after(seq),
			at(*firstShard(e).SequenceNumberRange.EndingSequenceNumber),
			after(*firstShard(e).SequenceNumberRange.EndingSequenceNumber),
		} {
			out := e.getRecords(e.iterator(shardID(0), from))
			require.Nil(t, out.NextShardIterator)
			require.Len(t, out.ChildShards, 2)
			time.Sleep(time.Second)
		}
	})
}

// TestEndFaults: an end that is none, and one that is not told.
func TestEndFaults(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		e.put("k", "1")
		remove := e.srv.Inject(kinesistest.Fault{
			Operation: "GetRecords",
			Do:        []kinesistest.Action{kinesistest.FalseEnd(5 * time.Second)},
		})
		out := e.getRecords(e.iterator(shardID(0), trimHorizon))
		require.Empty(t, out.Records)
		require.Nil(t, out.NextShardIterator)
		require.Empty(t, out.ChildShards)
		require.Equal(t, int64(5000), *out.MillisBehindLatest)
		remove()
		remove = e.srv.Inject(kinesistest.Fault{Operation: "GetRecords", Do: []kinesistest.Action{kinesistest.FalseEnd(-1)}})
		out = e.getRecords(e.iterator(shardID(0), trimHorizon))
		require.Nil(t, out.MillisBehindLatest)
		remove()

		arn := e.consumer("c")
		_, _, err := e.srv.SplitShard(testStream, shardID(0))
		require.NoError(t, err)
		for _, operation := range []string{"GetRecords", "SubscribeToShard"} {
			e.srv.Inject(kinesistest.Fault{Operation: operation, Do: []kinesistest.Action{kinesistest.HideEnd()}})
		}
		out = e.getRecords(e.iterator(shardID(0), trimHorizon))
		require.Len(t, out.Records, 1)
		for range 3 {
			time.Sleep(4 * time.Minute) // the iterator is a new one each time
			out = e.getRecords(out.NextShardIterator)
			require.Empty(t, out.Records)
			require.Empty(t, out.ChildShards)
		}
		s := e.mustSubscribe(arn, shardID(0), latest)
		ev, _ := event(s)
		require.NotNil(t, ev.ContinuationSequenceNumber)
		require.Len(t, ev.ChildShards, 2)
		_, ok := event(s)
		require.False(t, ok)
	})
}

func TestGetRecordsOfAnotherStream(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		it := e.iterator(shardID(0), trimHorizon)
		_, err := e.cl.GetRecords(e.t.Context(),
			&kinesis.GetRecordsInput{ShardIterator: it, StreamARN: aws.String(e.srv.StreamARN("other"))})
		requireCode(t, "InvalidArgumentException", err)
		// A stream of the same name that was made later is another stream.
		require.NoError(t, e.srv.DeleteStream(testStream))
		_, err = e.cl.GetRecords(e.t.Context(), &kinesis.GetRecordsInput{ShardIterator: it})
		requireCode(t, "ResourceNotFoundException", err)
		require.NoError(t, e.srv.CreateStream(kinesistest.StreamConfig{Name: testStream}))
		_, err = e.cl.GetRecords(e.t.Context(), &kinesis.GetRecordsInput{ShardIterator: it})
		requireCode(t, "ResourceNotFoundException", err)
	})
}

// TestTrim: positions before the horizon mean the horizon, and an iterator made before skips what
// has gone.
func TestTrim(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		_, one := e.put("k", "1")
		it := e.iterator(shardID(0), trimHorizon)
		e.put("k", "2")
		_, three := e.put("k", "3")
		require.NoError(t, e.srv.TrimShard(testStream, shardID(0), three))
		require.Equal(t, "3", dataOf(e.getRecords(it).Records))
		for _, from := range []types.StartingPosition{trimHorizon, at(one), after(one), at(three)} {
			time.Sleep(time.Second)
			require.Equal(t, "3", dataOf(e.getRecords(e.iterator(shardID(0), from)).Records))
		}
		require.NoError(t, e.srv.TrimShard(testStream, shardID(0), ""))
		require.Empty(t, e.srv.Records(testStream, shardID(0)))
		time.Sleep(time.Second)
		out := e.getRecords(e.iterator(shardID(0), after(one)))
		require.Empty(t, out.Records)
		require.NotNil(t, out.NextShardIterator)
	})
}

// TestRetention: records are readable for the retention period, and a closed shard is listed for as
// long.
func TestRetention(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		e.put("k", "1")
		time.Sleep(12 * time.Hour)
		e.put("k", "2")
		_, _, err := e.srv.SplitShard(testStream, shardID(0))
		require.NoError(t, err)
		time.Sleep(12*time.Hour + time.Second)
		require.Equal(t, "2", dataOf(e.getRecords(e.iterator(shardID(0), trimHorizon)).Records))
		require.Len(t, e.srv.Shards(testStream), 3)
		time.Sleep(12 * time.Hour)
		require.Len(t, e.srv.Shards(testStream), 2)
		_, err = e.getIterator(shardID(0), trimHorizon)
		requireCode(t, "ResourceNotFoundException", err)
		out, err := e.cl.ListShards(e.t.Context(), &kinesis.ListShardsInput{StreamName: aws.String(testStream)})
		require.NoError(t, err)
		require.Equal(t, shardID(1), *out.Shards[0].ShardId)
		require.Equal(t, shardID(0), *out.Shards[0].ParentShardId) // even so
	})
}
