package kinesistest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/kinesistest"
)

// TestCallFaults puts a record under each fault and looks at what the client is told and at whether
// the record is there.
func TestCallFaults(t *testing.T) {
	gaveUp := func(t *testing.T, err error) { require.ErrorIs(t, err, context.DeadlineExceeded) }
	broken := func(t *testing.T, err error) {
		require.Error(t, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		_, answered := errors.AsType[smithy.APIError](err)
		require.False(t, answered)
	}
	fine := func(t *testing.T, err error) { require.NoError(t, err) }
	for name, tc := range map[string]struct {
		do      kinesistest.Action
		want    func(*testing.T, error)
		records int
		took    time.Duration
	}{
		"fail": {kinesistest.Fail("ProvisionedThroughputExceededException", "slow down"), func(t *testing.T, err error) {
			throttled, ok := errors.AsType[*types.ProvisionedThroughputExceededException](err)
			require.True(t, ok, err)
			require.Equal(t, "slow down", throttled.ErrorMessage())
		}, 0, 0},
		"failInternal": {kinesistest.Fail("InternalFailure", "oops"), status(500, "InternalFailure"), 0, 0},
		"failUnavailable": {
			kinesistest.Fail("ServiceUnavailableException", ""),
			status(503, "ServiceUnavailableException"), 0, 0,
		},
		"answer":          {kinesistest.Answer(418, []byte(`{"__type":"Teapot"}`)), status(418, "Teapot"), 0, 0},
		"answerGarbage":   {kinesistest.Answer(200, []byte(`<html>`)), broken, 0, 0},
		"delay":           {kinesistest.Delay(3 * time.Second), fine, 1, 3 * time.Second},
		"delayForLong":    {kinesistest.Delay(time.Minute), gaveUp, 0, 10 * time.Second}, // takes effect later: see below
		"delayAnswer":     {kinesistest.DelayAnswer(3 * time.Second), fine, 1, 3 * time.Second},
		"delayAnswerLong": {kinesistest.DelayAnswer(time.Minute), gaveUp, 1, 10 * time.Second},
		"loseRequest":     {kinesistest.LoseRequest(), broken, 0, 0},
		"loseAnswer":      {kinesistest.LoseAnswer(), broken, 1, 0},
		"silence":         {kinesistest.Silence(), gaveUp, 0, 10 * time.Second},
		"silentAnswer":    {kinesistest.SilentAnswer(), gaveUp, 1, 10 * time.Second},
		"goAway":          {kinesistest.SendGoAway(), fine, 1, 0},
		"nothing":         {kinesistest.Action{}, fine, 1, 0},
	} {
		for _, http1 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s http1=%t", name, http1), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv, _ := start(t, kinesistest.Config{HTTP1: http1}, 1, 0)
					client := sdk(srv, srv.HTTPClient())
					remove := srv.Inject(kinesistest.Fault{Operation: "PutRecord", Do: []kinesistest.Action{tc.do}})
					put := func() error {
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
						defer cancel()
						_, err := client.PutRecord(ctx, &kinesis.PutRecordInput{
							StreamName: aws.String(testStream), PartitionKey: aws.String("k"), Data: []byte("x"),
						})
						return err
					}
					began := time.Now()
					tc.want(t, put())
					require.InDelta(t, tc.took.Seconds(), time.Since(began).Seconds(), 0.01)
					synctest.Wait()
					require.Len(t, srv.Records(testStream, shardID(0)), tc.records)

					remove()
					time.Sleep(time.Minute)
					late := 0
					if name == "delayForLong" {
						late = 1
					}
					require.Len(t, srv.Records(testStream, shardID(0)), tc.records+late)
					require.NoError(t, put(), "the fault is gone")
				})
			})
		}
	}
}

// status expects an answer of the service with that status and code.
func status(status int, code string) func(*testing.T, error) {
	return func(t *testing.T, err error) {
		t.Helper()
		answer, ok := errors.AsType[interface {
			error
			HTTPStatusCode() int
		}](err)
		require.True(t, ok, err)
		require.Equal(t, status, answer.HTTPStatusCode())
		api, ok := errors.AsType[smithy.APIError](err)
		require.True(t, ok, err)
		require.Equal(t, code, api.ErrorCode())
	}
}

// TestFaultsSelect: which of some calls fail.
func TestFaultsSelect(t *testing.T) {
	t.Parallel()
	fail := []kinesistest.Action{kinesistest.Fail("InternalFailure", "")}
	for name, tc := range map[string]struct {
		fault kinesistest.Fault
		want  string // one letter for each call, F for those that fail
	}{
		"all":       {kinesistest.Fault{}, "FFFFF"},
		"operation": {kinesistest.Fault{Operation: "ListShards"}, ".F.F."},
		"stream":    {kinesistest.Fault{Stream: testStream}, "FFFFF"},
		"foreign":   {kinesistest.Fault{Stream: "payments"}, "....."},
		"shard":     {kinesistest.Fault{Shard: shardID(0)}, "F...."},
		"shards":    {kinesistest.Fault{Operation: "GetShardIterator"}, "F.F.."},
		"consumer":  {kinesistest.Fault{Consumer: "app"}, "....F"},
		"skip":      {kinesistest.Fault{Skip: 2}, "..FFF"},
		"times":     {kinesistest.Fault{Times: 2}, "FF..."},
		"skipTimes": {kinesistest.Fault{Operation: "ListShards", Skip: 1, Times: 1}, "...F."},
		"client":    {kinesistest.Fault{Client: "client"}, "FFFFF"},
		"other":     {kinesistest.Fault{Client: "another"}, "....."},
		"when": {kinesistest.Fault{When: func(c *kinesistest.Call) bool {
			return bytes.Contains(c.Body, []byte("LATEST"))
		}}, "F.F.."},
		"whenHeader": {
			kinesistest.Fault{When: func(c *kinesistest.Call) bool { return c.Header.Get("User-Agent") == "" }},
			".....",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, consumer := start(t, kinesistest.Config{}, 2, 0)
			client := sdk(srv, srv.HTTPClient())
			tc.fault.Do = fail
			srv.Inject(tc.fault)
			iterator := func(shard int) error {
				_, err := client.GetShardIterator(t.Context(), &kinesis.GetShardIteratorInput{
					StreamName: aws.String(testStream), ShardId: aws.String(shardID(shard)),
					ShardIteratorType: types.ShardIteratorTypeLatest,
				})
				return err
			}
			list := func() error {
				_, err := client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamARN: aws.String(srv.StreamARN(testStream))})
				return err
			}
			describe := func() error {
				_, err := client.DescribeStreamConsumer(t.Context(), &kinesis.DescribeStreamConsumerInput{ConsumerARN: &consumer})
				return err
			}
			got := ""
			for _, err := range []error{iterator(0), list(), iterator(1), list(), describe()} {
				got += map[bool]string{true: "F", false: "."}[err != nil]
			}
			require.Equal(t, tc.want, got)
		})
	}
}

func TestOnCall(t *testing.T) {
	t.Parallel()
	srv, _ := start(t, kinesistest.Config{}, 1, 0)
	client := sdk(srv, srv.HTTPClient())
	var mu sync.Mutex
	var seen []string
	remove := srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, c.Operation+" "+c.Stream)
		if len(seen) == 2 {
			return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Fail("LimitExceededException", "second")}}
		}
		return nil
	})
	for i := range 4 {
		if i == 3 {
			remove()
		}
		_, err := client.ListShards(t.Context(), &kinesis.ListShardsInput{StreamName: aws.String(testStream)})
		require.Equal(t, i == 1, err != nil, "call %d: %v", i, err)
	}
	require.Equal(t, []string{"ListShards orders", "ListShards orders", "ListShards orders"}, seen)
}

// TestFirstFaultHolds: of several faults the first that answers holds, and delays add up.
func TestFirstFaultHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := start(t, kinesistest.Config{}, 1, 0)
		srv.Inject(kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Delay(time.Second), kinesistest.Fail("One", "")}})
		srv.Inject(kinesistest.Fault{Do: []kinesistest.Action{
			kinesistest.Delay(2 * time.Second), kinesistest.Fail("Two", ""),
			kinesistest.Silence(),
		}})
		began := time.Now()
		_, err := sdk(srv, srv.HTTPClient()).ListStreams(t.Context(), &kinesis.ListStreamsInput{})
		status(http.StatusBadRequest, "One")(t, err)
		require.Equal(t, 3*time.Second, time.Since(began))
	})
}

// TestFreeze: a frozen worker's requests take effect when it thaws, though it has given up, and its
// subscription stands still meanwhile.
func TestFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, consumer := start(t, kinesistest.Config{}, 1, 1)
		frozen, other := sdk(srv, srv.HTTPClientFrom("frozen")), sdk(srv, srv.HTTPClientFrom("other"))
		stream, err := subscribe(t.Context(), frozen, consumer, 0)
		require.NoError(t, err)
		defer func() { _ = stream.Close() }()
		require.Equal(t, "0", nextRecord(stream))

		thaw := srv.Freeze(func(c *kinesistest.Call) bool { return c.Client == "frozen" })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		put := func(ctx context.Context, client *kinesis.Client, data string) error {
			_, err := client.PutRecord(ctx,
				&kinesis.PutRecordInput{StreamName: aws.String(testStream), PartitionKey: aws.String("k"), Data: []byte(data)})
			return err
		}
		require.ErrorIs(t, put(ctx, frozen, "frozen"), context.DeadlineExceeded)
		require.NoError(t, put(t.Context(), other, "other"))
		require.Len(t, srv.Records(testStream, shardID(0)), 2)
		select {
		case e := <-stream.Events():
			require.Fail(t, "an event came through", "%v", e)
		case <-time.After(time.Minute):
		}

		thaw()
		thaw()
		synctest.Wait()
		require.Len(t, srv.Records(testStream, shardID(0)), 3)
		require.Equal(t, "other", nextRecord(stream))
		require.NoError(t, put(t.Context(), frozen, "thawn"))
		for last := ""; last != "thawn"; { // in one event or several
			last = nextRecord(stream)
			require.NotEmpty(t, last)
		}
	})
}

// outcome is all that a subscriber sees.
type outcome struct {
	data    []string // of every record
	unknown int
	err     error
	took    time.Duration
}

// consume reads a subscription until it ends or nothing has come for 20 s.
func consume(ctx context.Context, client *kinesis.Client, consumer string) outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	o := outcome{}
	stream, err := subscribe(ctx, client, consumer, 0)
	if err != nil {
		return outcome{err: err, took: time.Since(began)}
	}
	defer func() { _ = stream.Close() }()
	for {
		select {
		case <-time.After(20 * time.Second):
			o.err, o.took = errSilent, time.Since(began)
			return o
		case event, ok := <-stream.Events():
			if !ok {
				o.err, o.took = stream.Err(), time.Since(began)
				return o
			}
			switch e := event.(type) {
			case *types.SubscribeToShardEventStreamMemberSubscribeToShardEvent:
				for _, r := range e.Value.Records {
					o.data = append(o.data, string(r.Data))
				}
				if *e.Value.MillisBehindLatest == 0 && len(e.Value.Records) == 0 {
					o.took = time.Since(began)
					return o // idle: all is well
				}
			case *types.UnknownUnionMember:
				o.unknown++
			}
		}
	}
}

var errSilent = errors.New("silent")

// TestStreamFaults subscribes under each fault to a shard whose five records come in five events,
// over both versions of HTTP.
func TestStreamFaults(t *testing.T) {
	all := []string{"0", "1", "2", "3", "4"}
	after := kinesistest.AfterEvents
	exception := func(t *testing.T, err error, _ bool) {
		busy, ok := errors.AsType[*types.ResourceInUseException](err)
		require.True(t, ok, err)
		require.Equal(t, "taken over", busy.ErrorMessage())
	}
	clean := func(t *testing.T, err error, _ bool) { require.NoError(t, err) }
	silent := func(t *testing.T, err error, _ bool) { require.ErrorIs(t, err, errSilent) }
	reset := func(t *testing.T, err error, http1 bool) {
		if !http1 { // there the SDK takes a cut for an end
			require.ErrorContains(t, err, "stream error")
		}
	}
	contains := func(text string) func(*testing.T, error, bool) {
		return func(t *testing.T, err error, _ bool) { require.ErrorContains(t, err, text) }
	}
	for name, tc := range map[string]struct {
		do      kinesistest.Action
		data    []string
		unknown int
		err     func(t *testing.T, err error, http1 bool)
	}{
		"end":          {do: kinesistest.EndStream(after(2)), data: all[:2], err: clean},
		"endAtOnce":    {do: kinesistest.EndStream(after(0)), err: clean},
		"endInFrame":   {do: kinesistest.EndStream(kinesistest.AfterBytes(300)), err: clean},
		"endBeforeAll": {do: kinesistest.EndStream(kinesistest.AfterBytes(0)), err: contains("initial response")},
		"reset":        {do: kinesistest.ResetStream(after(2)), data: all[:2], err: reset},
		"resetInFrame": {do: kinesistest.ResetStream(kinesistest.AfterBytes(300)), err: reset},
		"stall":        {do: kinesistest.StallStream(after(3)), data: all[:3], err: silent},
		"stallInFrame": {do: kinesistest.StallStream(kinesistest.AfterBytes(300)), err: silent},
		"exception": {
			do:   kinesistest.SendException(2, "ResourceInUseException", "taken over"),
			data: all[:2], err: exception,
		},
		"exceptionAtOnce":   {do: kinesistest.SendException(0, "ResourceInUseException", "taken over"), err: exception},
		"error":             {do: kinesistest.SendError(1, "Strange", "things"), data: all[:1], err: contains("Strange")},
		"falseEnd":          {do: kinesistest.SendFalseEnd(2, time.Second), data: all[:2], err: clean},
		"unknown":           {do: kinesistest.SendUnknownEvent(1), data: all, unknown: 1, err: clean},
		"corrupt":           {do: kinesistest.CorruptEvent(2), data: all[:1], err: contains("checksum")},
		"truncate":          {do: kinesistest.TruncateEvent(2), data: all[:1], err: clean},
		"inflate":           {do: kinesistest.InflateEvent(2, 2<<20), data: all, err: clean},
		"duplicate":         {do: kinesistest.DuplicateEvent(2), data: []string{"0", "1", "1", "2", "3", "4"}, err: clean},
		"slow":              {do: kinesistest.SlowStart(7 * time.Second), data: all, err: clean},
		"noInitialResponse": {do: kinesistest.NoInitialResponse(), err: contains("expected initial-response")},
	} {
		for _, http1 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s http1=%t", name, http1), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					srv, consumer := start(t, kinesistest.Config{HTTP1: http1}, 1, 0)
					client := sdk(srv, srv.HTTPClient())
					srv.Inject(kinesistest.Fault{Operation: "SubscribeToShard", Times: 1, Do: []kinesistest.Action{tc.do}})
					srv.Inject(kinesistest.Fault{
						Operation: "SubscribeToShard", Skip: 1,
						Do: []kinesistest.Action{kinesistest.SlowStart(time.Second)},
					})
					var wg sync.WaitGroup
					wg.Go(func() { // one record an event
						for _, data := range all {
							time.Sleep(100 * time.Millisecond)
							_, _ = srv.PutToShard(testStream, shardID(0), "key", []byte(data))
						}
					})
					if name == "slow" {
						wg.Wait()
					}
					got := consume(t.Context(), client, consumer)
					tc.err(t, got.err, http1)
					require.Equal(t, tc.data, got.data)
					require.Equal(t, tc.unknown, got.unknown)
					if name == "slow" {
						require.GreaterOrEqual(t, got.took, 7*time.Second)
					}
					wg.Wait()
					time.Sleep(6 * time.Second)
					again := consume(t.Context(), client, consumer)
					require.NoError(t, again.err)
					require.Equal(t, all, again.data, "the fault is over")
				})
			})
		}
	}
}

func TestHoldSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, consumer := start(t, kinesistest.Config{}, 1, 1)
		client := sdk(srv, srv.HTTPClient())
		srv.Inject(kinesistest.Fault{
			Operation: "SubscribeToShard", Times: 1,
			Do: []kinesistest.Action{
				kinesistest.HoldSubscription(20 * time.Second),
				kinesistest.EndStream(kinesistest.AfterEvents(1)),
			},
		})
		require.Equal(t, []string{"0"}, consume(t.Context(), client, consumer).data)
		for _, tc := range []struct {
			wait time.Duration
			free bool
		}{{10 * time.Second, false}, {9 * time.Second, false}, {2 * time.Second, true}} {
			time.Sleep(tc.wait)
			_, busy := errors.AsType[*types.ResourceInUseException](consume(t.Context(), client, consumer).err)
			require.Equal(t, tc.free, !busy)
		}
	})
}

// TestRepeatLastEvent: a subscription that begins with what the last one ended with.
func TestRepeatLastEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, consumer := start(t, kinesistest.Config{}, 1, 1)
		client := sdk(srv, srv.HTTPClient())
		srv.Inject(kinesistest.Fault{Operation: "SubscribeToShard", Do: []kinesistest.Action{
			kinesistest.RepeatLastEvent(), kinesistest.EndStream(kinesistest.AfterEvents(1)),
		}})
		require.Equal(t, []string{"0"}, consume(t.Context(), client, consumer).data, "there is nothing to repeat yet")
		put(t, srv, 0, "1")
		time.Sleep(6 * time.Second)
		require.Equal(t, []string{"0"}, consume(t.Context(), client, consumer).data)
	})
}

// TestSendGoAway: the answer comes, and the connection with it takes no more requests.
func TestSendGoAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, consumer := start(t, kinesistest.Config{}, 1, 1)
		client := sdk(srv, srv.HTTPClient())
		srv.Inject(kinesistest.Fault{Times: 1, Do: []kinesistest.Action{kinesistest.SendGoAway()}})
		stream, err := subscribe(t.Context(), client, consumer, 0)
		require.NoError(t, err)
		require.Equal(t, "0", nextRecord(stream))
		_, err = client.ListStreams(t.Context(), &kinesis.ListStreamsInput{})
		require.NoError(t, err)
		require.Equal(t, 2, srv.Connections())
		put(t, srv, 0, "1")
		require.Equal(t, "1", nextRecord(stream))
		require.NoError(t, stream.Close())
	})
}

// TestInflateCBOR: the larger event is still the same event to a client that speaks CBOR.
func TestInflateCBOR(t *testing.T) {
	t.Parallel()
	srv, consumer := start(t, kinesistest.Config{}, 1, 1)
	srv.Inject(kinesistest.Fault{Do: []kinesistest.Action{
		kinesistest.InflateEvent(1, 5000),
		kinesistest.EndStream(kinesistest.AfterEvents(1)),
	}})
	body := "\xa3\x6bConsumerARN\x78" + string(rune(len(consumer))) + consumer + "\x67ShardId\x74" + shardID(0) +
		"\x70StartingPosition\xa1\x64Type\x6cTRIM_HORIZON"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL(), strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-amz-cbor-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202.SubscribeToShard")
	resp, err := srv.HTTPClient().Do(req)
	require.NoError(t, err)
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", got)
	require.Greater(t, len(got), 5000)
	require.Contains(t, string(got), "application/x-amz-cbor-1.1")
	require.Contains(t, string(got), "\x64Data\x41\x30", "a byte string, not base64")
}
