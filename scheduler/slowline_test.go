package scheduler_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// slowLine lets answers of more than a few bytes through at a rate.
type slowLine struct {
	next http.RoundTripper
	rate int // bytes a second
}

func (s slowLine) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err == nil {
		resp.Body = &slowBody{resp.Body, r.Context(), s.rate}
	}
	return resp, err
}

type slowBody struct {
	io.ReadCloser
	ctx  context.Context //nolint:containedctx // of its request
	rate int
}

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), 4<<10)])
	if n > 1000 {
		select {
		case <-time.After(time.Duration(n) * time.Second / time.Duration(b.rate)):
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	return n, err
}

// TestLargeRecordsOverASlowLine: a record of 9 MiB takes longer than any deadline on the whole.
// What is arriving is no silence, and each record is fetched once.
func TestLargeRecordsOverASlowLine(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		cfg := oneStream(1)
		cfg.Streams[0].MaxRecordSizeKiB = 10240
		r := newRig(t, cfg)
		w := r.worker("a", mode, func(c *scheduler.Config) {
			o := c.Kinesis.Options()
			o.HTTPClient = &http.Client{Transport: slowLine{r.srv.HTTPClientFrom("a").Transport, 250_000}}
			c.Kinesis = kinesis.New(o)
		})
		got := 0
		w.do = func(ctx context.Context, _ *processor, in kcl.ProcessRecordsInput) error {
			got += len(in.Records)
			return in.Checkpointer.Checkpoint(ctx)
		}
		w.start()
		time.Sleep(10 * time.Second)
		for range 3 {
			_, _, err := r.srv.Put(streamName, "k", make([]byte, 9<<20))
			require.NoError(t, err)
		}
		time.Sleep(5 * time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		require.Equal(t, 3, got)
	})
}

// TestLargeLeaseTableOverASlowLine: a page of the lease table takes longer than a request may. It
// is listed all the same.
func TestLargeLeaseTableOverASlowLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tables := dynamotest.Start(dynamotest.Config{})
		defer tables.Close()
		fast := dynamodb.New(dynamodb.Config{Client: awstest.DynamoDB(t, tables), Table: "app"})
		require.NoError(t, fast.Init(t.Context()))
		for i := range 100 {
			key := "shardId-" + strings.Repeat("0", 9) + string(rune('a'+i/26)) + string(rune('a'+i%26))
			require.NoError(t, fast.Create(t.Context(), leases.Lease{
				Key: key, ShardID: key,
				Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
			}))
		}
		client := awstest.DynamoDB(t, tables, func(o *sdk.Options) {
			o.HTTPClient = &http.Client{Transport: slowLine{o.HTTPClient.(*http.Client).Transport, 2000}}
		})
		slow := dynamodb.New(dynamodb.Config{Client: client, Table: "app"})
		began := time.Now()
		listing, err := slow.List(t.Context())
		require.NoError(t, err)
		require.Len(t, listing.Leases, 100)
		require.Greater(t, time.Since(began), 3*time.Second, "the default RequestTimeout")
	})
}
