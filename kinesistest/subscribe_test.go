package kinesistest_test

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/schemas"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/transport/http/protocol/awsjson"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/kinesistest"
)

func (e env) subscribe(arn, shard string, at types.StartingPosition) (*kinesis.SubscribeToShardEventStream, error) {
	out, err := e.cl.SubscribeToShard(e.t.Context(),
		&kinesis.SubscribeToShardInput{ConsumerARN: &arn, ShardId: &shard, StartingPosition: &at}, ownProtocol)
	if err != nil {
		return nil, err
	}
	return out.GetStream(), nil
}

// ownProtocol keeps streams of one client from sharing a decoder, which races in the SDK.
func ownProtocol(o *kinesis.Options) { o.Protocol = awsjson.New11(schemas.Kinesis_20131202) }

func (e env) mustSubscribe(arn, shard string, at types.StartingPosition) *kinesis.SubscribeToShardEventStream {
	e.t.Helper()
	s, err := e.subscribe(arn, shard, at)
	require.NoError(e.t, err)
	return s
}

// event reads the next event; false when the stream has ended.
func event(s *kinesis.SubscribeToShardEventStream) (types.SubscribeToShardEvent, bool) {
	ev, ok := <-s.Events()
	if !ok {
		return types.SubscribeToShardEvent{}, false
	}
	return ev.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value, true
}

var (
	trimHorizon = types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	latest      = types.StartingPosition{Type: types.ShardIteratorTypeLatest}
)

func after(seq string) types.StartingPosition {
	return types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: &seq}
}

func at(seq string) types.StartingPosition {
	return types.StartingPosition{Type: types.ShardIteratorTypeAtSequenceNumber, SequenceNumber: &seq}
}

func atTime(t time.Time) types.StartingPosition {
	return types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp, Timestamp: &t}
}

func number(t *testing.T, s *string) *big.Int {
	t.Helper()
	require.NotNil(t, s)
	n, ok := new(big.Int).SetString(*s, 10)
	require.True(t, ok, *s)
	return n
}

func TestSubscribeDeliversAtOnce(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		s := e.mustSubscribe(e.consumer("c"), shardID(0), latest)
		defer s.Close()
		time.Sleep(1234 * time.Millisecond)
		put := time.Now()
		_, seq := e.put("k", "x")
		ev, ok := event(s)
		require.True(t, ok)
		require.Equal(t, time.Duration(0), time.Since(put))
		require.Len(t, ev.Records, 1)
		require.Equal(t, seq, *ev.Records[0].SequenceNumber)
		require.Equal(t, seq, *ev.ContinuationSequenceNumber)
		require.Empty(t, ev.ChildShards)
		require.Equal(t, int64(0), *ev.MillisBehindLatest)
		require.Equal(t, put.UnixMilli(), ev.Records[0].ApproximateArrivalTimestamp.UnixMilli())
		require.Equal(t, 1, e.srv.Subscriptions())
	})
}

func TestSubscribeGathersRecords(t *testing.T) {
	streams := []kinesistest.StreamConfig{{Name: testStream}}
	withConfig(t, kinesistest.Config{EventDelay: 70 * time.Millisecond, Streams: streams}, func(t *testing.T, e env) {
		s := e.mustSubscribe(e.consumer("c"), shardID(0), latest)
		defer s.Close()
		synctest.Wait()
		put := time.Now()
		e.put("k", "x")
		time.Sleep(69 * time.Millisecond)
		e.put("k", "y")
		ev, ok := event(s)
		require.True(t, ok)
		require.Len(t, ev.Records, 2)
		require.Equal(t, 70*time.Millisecond, time.Since(put))
	})
}

func TestSubscribeIdleEvents(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		_, seq := e.put("k", "x")
		s := e.mustSubscribe(e.consumer("c"), shardID(0), latest)
		defer s.Close()
		last := number(t, &seq)
		for i := range 3 {
			begin := time.Now()
			ev, ok := event(s)
			require.True(t, ok)
			require.Equal(t, 5*time.Second, time.Since(begin), "event %d", i)
			require.Empty(t, ev.Records)
			require.NotNil(t, ev.Records)
			cont := number(t, ev.ContinuationSequenceNumber)
			require.Equal(t, 1, cont.Cmp(last), "the continuation moves on in empty events")
			last = cont
		}
		// A record restarts the five seconds.
		time.Sleep(2 * time.Second)
		e.put("k", "y")
		_, _ = event(s)
		begin := time.Now()
		_, _ = event(s)
		require.Equal(t, 5*time.Second, time.Since(begin))
	})
}

// TestSubscribeContinuation goes on from the continuation of a record and of an empty event, by AT
// and by AFTER, and misses nothing.
func TestSubscribeContinuation(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		arn := e.consumer("c")
		s := e.mustSubscribe(arn, shardID(0), trimHorizon)
		empty, ok := event(s) // after 5 s, on an empty shard
		require.True(t, ok)
		require.NoError(t, s.Close())
		e.put("k", "a")
		for _, from := range []types.StartingPosition{
			at(*empty.ContinuationSequenceNumber),
			after(*empty.ContinuationSequenceNumber),
		} {
			time.Sleep(6 * time.Second)
			s := e.mustSubscribe(arn, shardID(0), from)
			ev, ok := event(s)
			require.True(t, ok)
			require.Equal(t, "a", string(ev.Records[0].Data))
			ev, ok = event(s)
			require.True(t, ok)
			require.Empty(t, ev.Records)
			require.NoError(t, s.Close())
			empty = ev
		}
		_, b := e.put("k", "b")
		for _, from := range []types.StartingPosition{
			at(*empty.ContinuationSequenceNumber),
			after(*empty.ContinuationSequenceNumber), at(b),
		} {
			time.Sleep(6 * time.Second)
			s := e.mustSubscribe(arn, shardID(0), from)
			ev, _ := event(s)
			require.Len(t, ev.Records, 1)
			require.Equal(t, "b", string(ev.Records[0].Data))
			require.NoError(t, s.Close())
		}
	})
}

func TestSubscribeFiveMinutes(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		s := e.mustSubscribe(e.consumer("c"), shardID(0), latest)
		begin, events := time.Now(), 0
		for range s.Events() {
			events++
		}
		require.NoError(t, s.Err())
		require.Equal(t, 5*time.Minute, time.Since(begin))
		require.Equal(t, 59, events)
		synctest.Wait()
		require.Equal(t, 0, e.srv.Subscriptions())
	})
}

func TestSubscribeTakeOver(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		arn := e.consumer("c")
		first := e.mustSubscribe(arn, shardID(0), latest)
		time.Sleep(time.Second)
		_, err := e.subscribe(arn, shardID(0), latest)
		requireCode(t, "ResourceInUseException", err)
		time.Sleep(3999 * time.Millisecond)
		_, err = e.subscribe(arn, shardID(0), latest)
		requireCode(t, "ResourceInUseException", err)
		time.Sleep(time.Second)
		second := e.mustSubscribe(arn, shardID(0), latest)
		defer second.Close()
		for range first.Events() {
		}
		requireCode(t, "ResourceInUseException", first.Err())
		synctest.Wait()
		require.Equal(t, 1, e.srv.Subscriptions())
		e.put("k", "x")
		ev, _ := event(second)
		require.Len(t, ev.Records, 1)
	})
}

// TestSubscribeHoldOutlivesStream: the five seconds count from the call, not from the end of the
// stream.
func TestSubscribeHoldOutlivesStream(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		arn := e.consumer("c")
		require.NoError(t, e.mustSubscribe(arn, shardID(0), latest).Close())
		time.Sleep(2 * time.Second)
		require.Equal(t, 0, e.srv.Subscriptions())
		_, err := e.subscribe(arn, shardID(0), latest)
		requireCode(t, "ResourceInUseException", err)
		time.Sleep(3 * time.Second)
		require.NoError(t, e.mustSubscribe(arn, shardID(0), latest).Close())
	})
}

func TestSubscribeCallRate(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, e env) {
		arn, other := e.consumer("c"), e.consumer("d")
		s := e.mustSubscribe(arn, shardID(0), latest)
		defer s.Close()
		_, err := e.subscribe(arn, shardID(0), latest)
		requireCode(t, "LimitExceededException", err)
		// Each consumer and each shard counts for itself.
		defer e.mustSubscribe(arn, shardID(1), latest).Close()
		defer e.mustSubscribe(other, shardID(0), latest).Close()
	})
	withConfig(t, kinesistest.Config{DisableLimits: true, Streams: []kinesistest.StreamConfig{{Name: testStream}}},
		func(t *testing.T, e env) {
			arn := e.consumer("c")
			defer e.mustSubscribe(arn, shardID(0), latest).Close()
			_, err := e.subscribe(arn, shardID(0), latest)
			requireCode(t, "ResourceInUseException", err)
		})
}

func TestSubscribeShardEndAfterSplit(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		arn := e.consumer("c")
		s := e.mustSubscribe(arn, shardID(0), trimHorizon)
		e.put("k", "x")
		_, _, err := e.srv.SplitShard(testStream, shardID(0))
		require.NoError(t, err)
		ev, _ := event(s)
		require.Equal(t, "x", string(ev.Records[0].Data))
		require.NotNil(t, ev.ContinuationSequenceNumber)
		ev, _ = event(s)
		require.Empty(t, ev.Records)
		require.NotNil(t, ev.Records)
		require.Nil(t, ev.ContinuationSequenceNumber)
		require.Equal(t, int64(0), *ev.MillisBehindLatest)
		require.Len(t, ev.ChildShards, 2)
		require.Equal(t, shardID(1), *ev.ChildShards[0].ShardId)
		require.Equal(t, []string{shardID(0)}, ev.ChildShards[0].ParentShards)
		require.Equal(t, "0", *ev.ChildShards[0].HashKeyRange.StartingHashKey)
		require.Equal(t, "170141183460469231731687303715884105727", *ev.ChildShards[0].HashKeyRange.EndingHashKey)
		require.Equal(t, "170141183460469231731687303715884105728", *ev.ChildShards[1].HashKeyRange.StartingHashKey)
		_, ok := event(s)
		require.False(t, ok)
		require.NoError(t, s.Err())

		// LATEST on a closed, drained shard: the one event of its end.
		time.Sleep(5 * time.Second)
		s = e.mustSubscribe(arn, shardID(0), latest)
		ev, _ = event(s)
		require.Nil(t, ev.ContinuationSequenceNumber)
		require.Len(t, ev.ChildShards, 2)
		_, ok = event(s)
		require.False(t, ok)
		require.NoError(t, s.Err())
	})
}

func TestSubscribeShardEndAfterMerge(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, e env) {
		arn := e.consumer("c")
		first, second := e.mustSubscribe(arn, shardID(0), latest), e.mustSubscribe(arn, shardID(1), latest)
		child, err := e.srv.MergeShards(testStream, shardID(0), shardID(1))
		require.NoError(t, err)
		for _, s := range []*kinesis.SubscribeToShardEventStream{first, second} {
			ev, _ := event(s)
			require.Nil(t, ev.ContinuationSequenceNumber)
			require.Len(t, ev.ChildShards, 1)
			require.Equal(t, child, *ev.ChildShards[0].ShardId)
			require.Equal(t, []string{shardID(0), shardID(1)}, ev.ChildShards[0].ParentShards)
			_, ok := event(s)
			require.False(t, ok)
			require.NoError(t, s.Err())
		}
	})
}

func TestSubscribePositions(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		arn := e.consumer("c")
		_, s1 := e.put("k", "1")
		time.Sleep(time.Second)
		_, s2 := e.put("k", "2")
		two := time.Now()
		time.Sleep(time.Second)
		_, s3 := e.put("k", "3")
		for name, c := range map[string]struct {
			from types.StartingPosition
			want string
		}{
			"trim horizon":         {trimHorizon, "123"},
			"at":                   {at(s2), "23"},
			"after":                {after(s2), "3"},
			"after the first":      {after(s1), "23"},
			"at the last":          {at(s3), "3"},
			"at a time":            {atTime(two), "23"},
			"between two records":  {atTime(two.Add(time.Millisecond)), "3"},
			"older than all":       {atTime(two.Add(-48 * time.Hour)), "123"},
			"the shard's starting": {at(*firstShard(e).SequenceNumberRange.StartingSequenceNumber), "123"},
		} {
			time.Sleep(5 * time.Second)
			s := e.mustSubscribe(arn, shardID(0), c.from)
			ev, _ := event(s)
			var got strings.Builder
			for _, r := range ev.Records {
				got.Write(r.Data)
			}
			require.Equal(t, c.want, got.String(), name)
			require.NoError(t, s.Close())
		}
	})
}

func firstShard(e env) types.Shard {
	out, err := e.cl.ListShards(e.t.Context(), &kinesis.ListShardsInput{StreamName: aws.String(testStream)})
	require.NoError(e.t, err)
	return out.Shards[0]
}

func TestSubscribeCallErrors(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, e env) {
		arn := e.consumer("c")
		_, seq, err := e.srv.PutWithHashKey(testStream, "k", "0", []byte("x")) // of shard 0
		require.NoError(t, err)
		for name, c := range map[string]struct {
			arn, shard string
			from       types.StartingPosition
			code       string
		}{
			"unknown shard": {arn, shardID(7), latest, "ResourceNotFoundException"},
			"unknown consumer": {
				strings.Replace(arn, "consumer/c:", "consumer/d:", 1), shardID(0), latest,
				"ResourceNotFoundException",
			},
			"older registration": {arn + "1", shardID(0), latest, "ResourceNotFoundException"},
			"not an ARN":         {"c", shardID(0), latest, "ValidationException"},
			"foreign number":     {arn, shardID(1), at(seq), "InvalidArgumentException"},
			"zero":               {arn, shardID(1), at("0"), "InvalidArgumentException"},
			"made-up number":     {arn, shardID(1), at("123"), "InvalidArgumentException"},
			"not a number":       {arn, shardID(1), at("abc"), "ValidationException"},
			"no number": {
				arn, shardID(1),
				types.StartingPosition{Type: types.ShardIteratorTypeAtSequenceNumber},
				"InvalidArgumentException",
			},
			"no time": {
				arn, shardID(1),
				types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp},
				"InvalidArgumentException",
			},
			"time to come":       {arn, shardID(1), atTime(time.Now().Add(time.Hour)), "InvalidArgumentException"},
			"unknown kind":       {arn, shardID(1), types.StartingPosition{Type: "SOMEWHERE"}, "ValidationException"},
			"malformed shard id": {arn, "shard 1", latest, "ValidationException"},
			"stream of other name": {
				strings.Replace(arn, testStream, "nope", 1), shardID(0), latest,
				"ResourceNotFoundException",
			},
		} {
			time.Sleep(time.Second)
			_, err := e.subscribe(c.arn, c.shard, c.from)
			requireCode(t, c.code, err)
			require.NotEmpty(t, name)
		}
		require.Equal(t, 0, e.srv.Subscriptions())
		time.Sleep(time.Second)
		s := e.mustSubscribe(arn, shardID(1), latest) // failures do not start the five seconds
		require.NoError(t, s.Close())
	})
}

func TestSubscribeConsumerNotActive(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		arn := aws.String(e.srv.StreamARN(testStream))
		out, err := e.cl.RegisterStreamConsumer(e.t.Context(),
			&kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: aws.String("c")})
		require.NoError(t, err)
		_, err = e.subscribe(*out.Consumer.ConsumerARN, shardID(0), latest)
		requireCode(t, "ResourceInUseException", err)
		e.settle()
		require.NoError(t, e.mustSubscribe(*out.Consumer.ConsumerARN, shardID(0), latest).Close())
	})
}

func TestSubscribeEndsWithItsResources(t *testing.T) {
	for name, remove := range map[string]func(e env) error{
		"consumer": func(e env) error { return e.srv.DeleteConsumer(testStream, "c") },
		"stream":   func(e env) error { return e.srv.DeleteStream(testStream) },
		"deregister": func(e env) error {
			_, err := e.cl.DeregisterStreamConsumer(e.t.Context(),
				&kinesis.DeregisterStreamConsumerInput{
					StreamARN:    aws.String(e.srv.StreamARN(testStream)),
					ConsumerName: aws.String("c"),
				})
			return err
		},
		"delete": func(e env) error {
			_, err := e.cl.DeleteStream(e.t.Context(),
				&kinesis.DeleteStreamInput{StreamName: aws.String(testStream), EnforceConsumerDeletion: aws.Bool(true)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(t *testing.T, e env) {
				s := e.mustSubscribe(e.consumer("c"), shardID(0), latest)
				require.NoError(t, remove(e))
				for range s.Events() {
				}
				requireCode(t, "ResourceNotFoundException", s.Err())
			})
		})
	}
}

func TestSubscribeMillisBehindLatest(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		big := strings.Repeat("x", 600<<10) // two do not fit in an event
		e.put("k", big)
		time.Sleep(time.Minute)
		e.put("k", big)
		time.Sleep(time.Minute)
		s := e.mustSubscribe(e.consumer("c"), shardID(0), trimHorizon)
		defer s.Close()
		ev, _ := event(s)
		require.Len(t, ev.Records, 1)
		require.Equal(t, time.Minute.Milliseconds(), *ev.MillisBehindLatest)
		ev, _ = event(s)
		require.Len(t, ev.Records, 1)
		require.Equal(t, int64(0), *ev.MillisBehindLatest)
	})
}

func TestSubscribeThroughput(t *testing.T) {
	read := func(e env) time.Duration {
		for range 20 {
			e.put("k", strings.Repeat("x", 1<<20-1))
		}
		begin := time.Now()
		s := e.mustSubscribe(e.consumer("c"), shardID(0), trimHorizon)
		defer s.Close()
		for n := 0; n < 20; {
			ev, ok := event(s)
			require.True(e.t, ok)
			n += len(ev.Records)
		}
		return time.Since(begin)
	}
	inBubble(t, 1, func(t *testing.T, e env) {
		require.InDelta(t, 9, read(e).Seconds(), 0.1) // the first 2 MiB at once, then 2 MiB a second
	})
	withConfig(t, kinesistest.Config{DisableLimits: true, Streams: []kinesistest.StreamConfig{{Name: testStream}}},
		func(t *testing.T, e env) {
			require.Equal(t, time.Duration(0), read(e))
		})
}

// TestSubscribeLargeRecord: a record of the largest size is one event.
func TestSubscribeLargeRecord(t *testing.T) {
	withConfig(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: testStream, MaxRecordSizeKiB: 10240}}},
		func(t *testing.T, e env) {
			e.put("k", strings.Repeat("x", 10<<20-1))
			s := e.mustSubscribe(e.consumer("c"), shardID(0), trimHorizon)
			defer s.Close()
			ev, ok := event(s)
			require.True(t, ok)
			require.Len(t, ev.Records[0].Data, 10<<20-1)
		})
}

// TestSubscribeClientGone: a subscription whose client has gone ends, and a slow client does not
// hold up others.
func TestSubscribeClientGone(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		ctx, cancel := context.WithCancel(e.t.Context())
		out, err := e.cl.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
			ConsumerARN: aws.String(e.consumer("gone")), ShardId: aws.String(shardID(0)), StartingPosition: &trimHorizon,
		}, ownProtocol)
		require.NoError(t, err)
		slow := e.mustSubscribe(e.consumer("slow"), shardID(0), trimHorizon)
		fast := e.mustSubscribe(e.consumer("fast"), shardID(0), trimHorizon)
		require.Equal(t, 3, e.srv.Subscriptions())
		cancel()
		synctest.Wait()
		require.Equal(t, 2, e.srv.Subscriptions())
		_ = out.GetStream().Close()
		for range 100 {
			e.put("k", strings.Repeat("x", 1<<20-1))
		}
		for n := 0; n < 100; {
			ev, ok := event(fast)
			require.True(t, ok)
			n += len(ev.Records)
		}
		require.NoError(t, slow.Close())
		require.NoError(t, fast.Close())
		synctest.Wait()
		require.Equal(t, 0, e.srv.Subscriptions())
	})
}

func TestSubscribeDryRun(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		_, err := e.cl.SubscribeToShard(e.t.Context(), &kinesis.SubscribeToShardInput{
			ConsumerARN: aws.String(e.consumer("c")), ShardId: aws.String(shardID(0)), StartingPosition: &latest,
			DryRun: aws.Bool(true),
		})
		dry, ok := errors.AsType[*types.DryRunOperationException](err)
		require.True(t, ok, "%v", err)
		require.NotEmpty(t, dry.ErrorMessage())
		require.Equal(t, 0, e.srv.Subscriptions())
	})
}
