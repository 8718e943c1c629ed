package efo_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/kinesistest"
)

// BenchmarkSubscribe reads records of one shard over HTTP/2 with TLS on the
// loopback interface. Client and server share the process, so MB/s is what both
// together reach and the allocations include the server's.
func BenchmarkSubscribe(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 10 << 10, 100 << 10, 1000 << 10} {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			ctx := context.Background()
			srv := kinesistest.New(b, kinesistest.Config{
				Streams: []kinesistest.StreamConfig{{Name: "orders"}}, Listen: "127.0.0.1:0", TLS: true, DisableLimits: true,
			})
			client := kinesis.New(kinesis.Options{
				Region: "us-east-1", BaseEndpoint: aws.String(srv.URL()), HTTPClient: srv.HTTPClient(),
				Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
			})
			stream := "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
			log := slog.New(slog.DiscardHandler)

			// One pass over the shard brings total bytes.
			const total = 64 << 20
			n := min(total/size, 60_000)
			fill(b, client, stream, n, size)

			var records, passes int
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b.SetBytes(int64(n * size))
			b.ReportAllocs()
			for b.Loop() {
				// The service lets a consumer have a shard again only after five
				// seconds: every pass is a consumer of its own.
				b.StopTimer()
				passes++
				arn, err := efo.Register(ctx, client,
					efo.RegisterConfig{StreamARN: stream, ConsumerName: fmt.Sprintf("c%d", passes), Logger: log})
				require.NoError(b, err)
				b.StartTimer()
				sub := efo.NewSubscriber(efo.Config{Client: client, StreamARN: stream, ConsumerARN: arn, Logger: log})
				pass := 0
				for batch, err := range sub.Batches(ctx, shard0, kcl.Position{}) {
					if err != nil {
						b.Fatal(err)
					}
					if pass += len(batch.Records); pass >= n {
						break
					}
				}
				records += pass
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(records), "allocs/record")
		})
	}
}

// fill writes n records of a size.
func fill(tb testing.TB, client *kinesis.Client, stream string, n, size int) {
	tb.Helper()
	data := bytes.Repeat([]byte{'x'}, size)
	batch := min(500, max(1, (4<<20)/(size+16)))
	for n > 0 {
		in := &kinesis.PutRecordsInput{StreamARN: &stream}
		for range min(batch, n) {
			in.Records = append(in.Records, types.PutRecordsRequestEntry{Data: data, PartitionKey: aws.String("k")})
		}
		out, err := client.PutRecords(context.Background(), in)
		require.NoError(tb, err)
		require.Zero(tb, aws.ToInt32(out.FailedRecordCount))
		n -= len(in.Records)
	}
}
