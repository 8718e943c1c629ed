package polling_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/polling"
)

// endless answers every GetRecords with one record of size bytes. It takes no memory of its own, as
// a server elsewhere would not.
type endless struct{ iterator, records []byte }

func newEndless(size int, iterator string) *endless {
	data := base64.StdEncoding.EncodeToString(make([]byte, size))
	return &endless{
		iterator: []byte(`{"ShardIterator":"` + iterator + `"}`),
		records: []byte(
			`{"MillisBehindLatest":1,"NextShardIterator":"` + iterator + `","Records":[{"SequenceNumber":"1","Data":"` + data +
				`"}]}`,
		),
	}
}

// answeredBy is a client whose requests hc answers.
func answeredBy(hc kinesis.HTTPClient) *kinesis.Client {
	return kinesis.New(
		kinesis.Options{
			Region:      "us-east-1",
			Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""),
			HTTPClient:  hc,
			Retryer:     aws.NopRetryer{},
		},
	)
}

func (e *endless) Do(req *http.Request) (*http.Response, error) {
	body := e.iterator
	if req.Header.Get("X-Amz-Target") == "Kinesis_20131202.GetRecords" {
		body = e.records
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Request:    req,
		Header: http.Header{
			"Content-Type": {"application/x-amz-json-1.1"},
		},
		ContentLength: int64(len(body)),
		Body:          io.NopCloser(&slowEnd{Reader: bytes.NewReader(body)}),
	}, nil
}

// slowEnd is a body whose last bytes are a while in coming: a moment at which all of it is in
// memory, and nothing runs.
type slowEnd struct {
	*bytes.Reader
	waited bool
}

func (s *slowEnd) Read(p []byte) (int, error) {
	if s.Len() == 0 && !s.waited {
		s.waited = true
		time.Sleep(100 * time.Millisecond)
	}
	return s.Reader.Read(p)
}

// peakHeap is the most memory that was in use while f ran in the bubble, above what was before. It
// looks when all else waits.
func peakHeap(f func()) int64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	measure := func() int64 {
		runtime.GC()
		metrics.Read(live)
		return int64(live[0].Value.Uint64())
	}
	before, peak := measure(), int64(0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // ends with f
		for {
			select {
			case <-stop:
				return
			case <-time.After(37*time.Millisecond + 13*time.Nanosecond):
				peak = max(peak, measure()-before)
			}
		}
	})
	f()
	close(stop)
	wg.Wait()
	return peak
}

// TestP07MemoryIsBounded: a hundred shards of large records stay within their memory, and each gets
// its turn. A record larger than the memory passes nevertheless. The test runs alone, because all
// tests share the heap.
func TestP07MemoryIsBounded(t *testing.T) { //nolint:paralleltest // as it says
	shards, budget := testsize.Pick(36, 100, 100), testsize.Pick[int64](32<<20, 64<<20, 64<<20)
	for _, test := range []struct {
		shards, size int
		budget       int64
		want         int64 // the most memory
	}{
		{shards: shards, size: 1 << 20, budget: budget, want: budget * 12 / 10},
		{shards: 8, size: 10 << 20, budget: 96 << 20, want: 96 << 20 * 12 / 10},
		{shards: 4, size: 10 << 20, budget: 4 << 20, want: 40 << 20}, // one answer at a time
	} {
		t.Run(fmt.Sprintf("%d x %d in %d", test.shards, test.size, test.budget), func(t *testing.T) {
			client := answeredBy(newEndless(test.size, "i"))
			peak := int64(0)
			synctest.Test(t, func(t *testing.T) {
				peak = peakHeap(func() {
					memory := polling.NewMemory(test.budget)
					var wg sync.WaitGroup
					for i := range test.shards {
						wg.Go(func() {
							batches := 0
							f := polling.NewFetcher(
								polling.Config{Client: client, StreamName: stream, Memory: memory, Logger: slog.New(slog.DiscardHandler)})
							for b, err := range f.Batches(t.Context(), fmt.Sprintf("shardId-%012d", i), kcl.Position{}) {
								require.NoError(t, err)
								require.Len(t, b.Records[0].Data(), test.size)
								time.Sleep(100 * time.Millisecond)
								if batches++; batches == testsize.Pick(1, 2, 2) {
									break
								}
							}
						})
					}
					wg.Wait()
				})
			})
			t.Logf("peak %.1f MiB", float64(peak)/(1<<20))
			require.Less(t, peak, test.want)
		})
	}
}

// TestP07BlockedProcessor: a shard whose processor blocks holds its batch and one that was read
// ahead; the others go on in what is left.
func TestP07BlockedProcessor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 2)
		const calm = "shardId-000000000001"
		r.put(0, 40, 100<<10, shard0)
		r.put(0, 40, 100<<10, calm)
		memory := polling.NewMemory(32 << 20)
		release := make(chan struct{})
		var wg sync.WaitGroup
		share := func(c *polling.Config) { c.MaxRecords, c.Memory = 10, memory }
		wg.Go(func() {
			for range r.fetcher(share).Batches(t.Context(), shard0, kcl.Position{}) {
				<-release
				return
			}
		})
		began := time.Now()
		read(t, r.fetcher(share), calm, kcl.Position{}, 0, 40, nil)
		require.Less(t, time.Since(began), 5*time.Second)
		close(release)
		wg.Wait()
	})
}

// TestP07LargestRecords: records of 10 MiB come one by one, at the pace of the shard.
func TestP07LargestRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		summary, err := r.client.DescribeStreamSummary(t.Context(),
			&kinesis.DescribeStreamSummaryInput{StreamName: aws.String(stream)})
		require.NoError(t, err)
		_, err = r.client.UpdateMaxRecordSize(
			t.Context(),
			&kinesis.UpdateMaxRecordSizeInput{
				StreamARN:          summary.StreamDescriptionSummary.StreamARN,
				MaxRecordSizeInKiB: aws.Int32(10240),
			},
		)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		const size, n = 10<<20 - 3, 2 // with the key
		data := bytes.Repeat([]byte("x"), size)
		for range n {
			_, err := r.client.PutRecord(t.Context(),
				&kinesis.PutRecordInput{StreamName: aws.String(stream), PartitionKey: aws.String("key"), Data: data})
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		var watch observer
		f := r.fetcher(func(c *polling.Config) { c.Memory, c.Observer = polling.NewMemory(1<<20), &watch })
		began, got := time.Now(), 0
		for b, err := range f.Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			for _, rec := range b.Records {
				require.Len(t, rec.Data(), size)
				got++
			}
			if got == n {
				break
			}
		}
		require.Empty(t, watch.retried)
		require.InDelta(t, 5, time.Since(began).Seconds(), 1)
	})
}
