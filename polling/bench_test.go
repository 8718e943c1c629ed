package polling

import (
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardread"
	"github.com/kinesis-go/kcl/kinesistest"
)

// BenchmarkFetch reads one answer of GetRecords per round, through the AWS SDK and HTTP/2 over an
// in-memory network. The pace of the service is switched off. The work of the fake is included.
func BenchmarkFetch(b *testing.B) {
	for _, shape := range []struct{ records, size int }{{10000, 100}, {10000, 1000}, {100, 100_000}, {10, 1_000_000}} {
		b.Run(fmt.Sprintf("%dx%dB", shape.records, shape.size), func(b *testing.B) {
			srv := kinesistest.New(b,
				kinesistest.Config{DisableLimits: true, Streams: []kinesistest.StreamConfig{{Name: "orders"}}})
			client := awstest.Kinesis(b, srv)
			data := make([]byte, shape.size)
			for i := 0; i < shape.records; {
				var in []types.PutRecordsRequestEntry
				for ; i < shape.records && len(in) < 500 && len(in)*shape.size < 5<<20; i++ {
					in = append(in, types.PutRecordsRequestEntry{Data: data, PartitionKey: aws.String(strconv.Itoa(i))})
				}
				out, err := client.PutRecords(b.Context(), &kinesis.PutRecordsInput{StreamName: aws.String("orders"), Records: in})
				require.NoError(b, err)
				require.Zero(b, aws.ToInt32(out.FailedRecordCount))
			}
			r := &reader{
				Config:  Config{Client: client, StreamName: "orders"}.withDefaults(),
				pace:    new(pace),
				http:    client.Options().HTTPClient,
				shardID: "shardId-000000000000",
				backoff: retry.New(shardread.FirstBackoff, maxBackoff), throttle: retry.New(firstThrottle, maxThrottle),
				log: slog.New(slog.DiscardHandler),
			}
			require.NoError(b, r.open(b.Context()))
			iterator := r.iterator

			b.SetBytes(int64(shape.records * shape.size))
			b.ReportAllocs()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			records := 0
			for b.Loop() {
				// Without the size of the records the most that one call may bring is asked for.
				r.iterator, r.pace.next, r.recordSize = iterator, time.Time{}, 0
				batch, err := r.next(b.Context())
				if err != nil || len(batch.Records) != shape.records {
					b.Fatalf("%d records, %v", len(batch.Records), err)
				}
				records += len(batch.Records)
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(records)/time.Since(began).Seconds(), "records/s")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(records), "allocs/record")
		})
	}
}
