package kinesistest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/kinesistest"
)

func Example() {
	srv, err := kinesistest.Start(kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 2}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	client := kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(srv.URL()), HTTPClient: srv.HTTPClient(),
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
	_, err = client.PutRecord(context.Background(), &kinesis.PutRecordInput{
		StreamName: aws.String("orders"), PartitionKey: aws.String("customer 7"), Data: []byte("two shoes"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, shard := range srv.Shards("orders") {
		for _, r := range srv.Records("orders", shard.ID) {
			fmt.Printf("%s: %s ordered %s\n", shard.ID, r.PartitionKey, r.Data)
		}
	}
	// Output: shardId-000000000000: customer 7 ordered two shoes
}

func TestHelpersPut(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, e env) {
		seq, err := e.srv.PutToShard(testStream, shardID(1), "any key", []byte("x"))
		require.NoError(t, err)
		records := e.srv.Records(testStream, shardID(1))
		require.Equal(t, []kinesistest.Record{{
			SequenceNumber: seq, PartitionKey: "any key", Data: []byte("x"),
			Arrival: time.Now().UTC(),
		}}, records)
		shard, _, err := e.srv.PutWithHashKey(testStream, "any key", "340282366920938463463374607431768211455", nil)
		require.NoError(t, err)
		require.Equal(t, shardID(1), shard)
		// Neither limits nor calls.
		for range 3000 {
			e.put("k", "x")
		}
		require.Equal(t, 0, e.srv.Calls("PutRecord"))

		_, err = e.srv.PutToShard(testStream, shardID(9), "k", nil)
		requireFake(t, "ResourceNotFoundException", err)
		_, _, err = e.srv.Put("nope", "k", nil)
		requireFake(t, "ResourceNotFoundException", err)
		_, _, err = e.srv.Put(testStream, "", nil)
		requireFake(t, "ValidationException", err)
		require.Nil(t, e.srv.Records("nope", shardID(0)))
		require.Nil(t, e.srv.Shards("nope"))
	})
}

func requireFake(t *testing.T, code string, err error) {
	t.Helper()
	require.ErrorContains(t, err, code+": ")
}

func TestHelpersReshard(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		low, high, err := e.srv.SplitShard(testStream, shardID(0))
		require.NoError(t, err)
		_, _, err = e.srv.SplitShard(testStream, shardID(0))
		require.ErrorContains(t, err, "closed")
		_, err = e.srv.PutToShard(testStream, shardID(0), "k", nil)
		require.ErrorContains(t, err, "closed")
		child, err := e.srv.MergeShards(testStream, low, high)
		require.NoError(t, err)
		_, err = e.srv.MergeShards(testStream, low, child)
		require.ErrorContains(t, err, "open neighbours")
		require.Equal(t, []kinesistest.ShardInfo{
			{ID: shardID(0), StartingHashKey: "0", EndingHashKey: "340282366920938463463374607431768211455"},
			{
				ID: shardID(1), ParentID: shardID(0), StartingHashKey: "0",
				EndingHashKey: "170141183460469231731687303715884105727",
			},
			{
				ID: shardID(2), ParentID: shardID(0), StartingHashKey: "170141183460469231731687303715884105728",
				EndingHashKey: "340282366920938463463374607431768211455",
			},
			{
				ID: shardID(3), ParentID: shardID(1), AdjacentParentID: shardID(2), StartingHashKey: "0",
				EndingHashKey: "340282366920938463463374607431768211455", Open: true,
			},
		}, e.srv.Shards(testStream))

		// A split that is under way finds its shard closed: nothing happens twice.
		_, err = e.cl.SplitShard(t.Context(), &kinesis.SplitShardInput{
			StreamName:   aws.String(testStream),
			ShardToSplit: &child, NewStartingHashKey: aws.String("1000"),
		})
		require.NoError(t, err)
		_, _, err = e.srv.SplitShard(testStream, child)
		require.NoError(t, err)
		e.settle()
		require.Len(t, e.srv.Shards(testStream), 6)

		require.ErrorContains(t, e.srv.ExpireShard(testStream, shardID(5)), "open")
		require.NoError(t, e.srv.ExpireShard(testStream, shardID(0)))
		require.Equal(t, ids(1, 2, 3, 4, 5), e.list(&kinesis.ListShardsInput{}))
		_, err = e.getIterator(shardID(0), latest)
		requireCode(t, "ResourceNotFoundException", err)
	})
}

func TestHelpersStreamsAndConsumers(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, e env) {
		require.ErrorContains(t, e.srv.CreateStream(kinesistest.StreamConfig{Name: testStream}), "exists")
		require.ErrorContains(t, e.srv.CreateStream(kinesistest.StreamConfig{Name: "a b"}), "StreamConfig.Name")
		require.NoError(t, e.srv.CreateStream(kinesistest.StreamConfig{Name: "b", Shards: 3}))
		require.Len(t, e.srv.Shards("b"), 3)
		requireFake(t, "ResourceNotFoundException", e.srv.DeleteStream("nope"))
		e.consumer("c")
		_, err := e.srv.RegisterConsumer(testStream, "c")
		require.ErrorContains(t, err, "exists")
		require.NoError(t, e.srv.DeleteConsumer(testStream, "c"))
		require.ErrorContains(t, e.srv.DeleteConsumer(testStream, "c"), "no consumer")
		require.Equal(t, 0, e.srv.Subscriptions())
	})
}

// BenchmarkServe measures the server's side of reading: bytes of record data per second through an
// in-memory connection, the client doing nothing but to read.
func BenchmarkServe(b *testing.B) {
	const size, count = 1 << 10, 4 << 10
	start := func(b *testing.B) (*kinesistest.Server, func(target, body string) *http.Response) {
		b.Helper()
		srv := kinesistest.New(b, kinesistest.Config{
			DisableLimits: true,
			Streams:       []kinesistest.StreamConfig{{Name: testStream}},
		})
		data := []byte(strings.Repeat("x", size))
		for range count {
			_, _, err := srv.Put(testStream, "key", data)
			require.NoError(b, err)
		}
		client := srv.HTTPClient()
		b.SetBytes(size * count)
		b.ReportAllocs()
		return srv, func(target, body string) *http.Response {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, srv.URL(), strings.NewReader(body))
			require.NoError(b, err)
			r.Header.Set("Content-Type", "application/x-amz-json-1.1")
			r.Header.Set("X-Amz-Target", "Kinesis_20131202."+target)
			resp, err := client.Do(r)
			require.NoError(b, err)
			require.Equal(b, http.StatusOK, resp.StatusCode)
			return resp
		}
	}
	b.Run("GetRecords", func(b *testing.B) {
		srv, call := start(b)
		it, err := io.ReadAll(call("GetShardIterator",
			`{"StreamName":"orders","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}`).Body)
		require.NoError(b, err)
		for b.Loop() {
			resp := call("GetRecords", string(it))
			n, err := io.Copy(io.Discard, resp.Body)
			require.NoError(b, err)
			require.Greater(b, n, int64(size*count))
			_ = resp.Body.Close()
		}
		require.Positive(b, srv.Calls("GetRecords"))
	})
	b.Run("SubscribeToShard", func(b *testing.B) {
		srv, call := start(b)
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			arn, err := srv.RegisterConsumer(testStream, fmt.Sprint("c", i))
			require.NoError(b, err)
			b.StartTimer()
			resp := call("SubscribeToShard",
				`{"ConsumerARN":"`+arn+`","ShardId":"shardId-000000000000","StartingPosition":{"Type":"TRIM_HORIZON"}}`)
			_, err = io.CopyN(io.Discard, resp.Body, size*count)
			require.NoError(b, err)
			_ = resp.Body.Close()
		}
	})
}
