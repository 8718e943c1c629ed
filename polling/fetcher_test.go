package polling_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/polling"
)

const (
	stream = "orders"
	shard0 = "shardId-000000000000"
)

// rig is a fake with one stream, a client of it, and a note of every read.
type rig struct {
	t      *testing.T
	srv    *kinesistest.Server
	client *kinesis.Client

	mu    sync.Mutex // guards calls
	calls map[string][]time.Time
}

// start starts a fake. Its shards give and take what the service's do.
func start(t *testing.T, shards int) *rig {
	t.Helper()
	r := &rig{t: t, calls: make(map[string][]time.Time)}
	r.srv = kinesistest.New(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: stream, Shards: shards}}})
	r.client = awstest.Kinesis(t, r.srv)
	r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
		r.mu.Lock()
		defer r.mu.Unlock()
		key := c.Operation + " " + c.Shard
		r.calls[key] = append(r.calls[key], time.Now())
		return nil
	})
	return r
}

func (r *rig) called(operation, shard string) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]time.Time(nil), r.calls[operation+" "+shard]...)
}

func (r *rig) fetcher(change ...func(*polling.Config)) *polling.Fetcher {
	cfg := polling.Config{Client: r.client, StreamName: stream, Logger: slog.New(slog.NewTextHandler(r.t.Output(), nil))}
	for _, c := range change {
		c(&cfg)
	}
	return polling.NewFetcher(cfg)
}

// put writes n records of size bytes at the pace that a shard takes them. Their data begin with
// their number, from first on.
func (r *rig) put(first, n, size int, shard string) {
	r.t.Helper()
	pad, hash := strings.Repeat(".", size), r.hashKey(shard)
	for i := 0; i < n; {
		var entries []types.PutRecordsRequestEntry
		bytes := 0
		for ; i < n && len(entries) < 500 && bytes < 900<<10; i++ {
			data := strconv.Itoa(first+i) + pad
			bytes += len(data)
			entries = append(
				entries,
				types.PutRecordsRequestEntry{
					Data:            []byte(data[:max(size, len(strconv.Itoa(first+i)))]),
					PartitionKey:    aws.String("key"),
					ExplicitHashKey: hash,
				},
			)
		}
		out, err := r.client.PutRecords(context.Background(),
			&kinesis.PutRecordsInput{StreamName: aws.String(stream), Records: entries})
		require.NoError(r.t, err)
		require.Zero(r.t, aws.ToInt32(out.FailedRecordCount))
		time.Sleep(time.Second)
	}
}

// hashKey is a hash key of the shard.
func (r *rig) hashKey(shard string) *string {
	r.t.Helper()
	out, err := r.client.ListShards(context.Background(), &kinesis.ListShardsInput{StreamName: aws.String(stream)})
	require.NoError(r.t, err)
	for _, s := range out.Shards {
		if *s.ShardId == shard {
			return s.HashKeyRange.StartingHashKey
		}
	}
	r.t.Fatalf("no shard %s", shard)
	return nil
}

func (r *rig) split(shard string) {
	r.t.Helper()
	ctx := context.Background()
	out, err := r.client.ListShards(ctx, &kinesis.ListShardsInput{StreamName: aws.String(stream)})
	require.NoError(r.t, err)
	for _, s := range out.Shards {
		if *s.ShardId == shard {
			_, err := r.client.SplitShard(
				ctx,
				&kinesis.SplitShardInput{
					StreamName:         aws.String(stream),
					ShardToSplit:       &shard,
					NewStartingHashKey: aws.String("1" + (*s.HashKeyRange.EndingHashKey)[1:]),
				},
			)
			require.NoError(r.t, err)
			time.Sleep(time.Second)
			return
		}
	}
	r.t.Fatalf("no shard %s", shard)
}

// number is what put wrote at the beginning of a record.
func number(t *testing.T, r kcl.Record) int {
	t.Helper()
	digits, _, _ := strings.Cut(string(r.Data()), ".")
	n, err := strconv.Atoi(digits)
	require.NoError(t, err)
	return n
}

// read reads until n records have come or the shard ends. It requires that they are the records of
// put from first on, each once and in order.
func read(
	t *testing.T,
	f *polling.Fetcher,
	shard string,
	from kcl.Position,
	first, n int,
	each func(kcl.Batch),
) (last kcl.Batch) {
	t.Helper()
	want := first
	for b, err := range f.Batches(t.Context(), shard, from) {
		require.NoError(t, err)
		for _, rec := range b.Records {
			require.Equal(t, want, number(t, rec))
			want++
		}
		if each != nil {
			each(b)
		}
		last = b
		if n > 0 && want-first >= n {
			break
		}
	}
	require.Equal(t, n, want-first, "records")
	return last
}

func TestReadsShard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 2)
		r.put(0, 1000, 100, shard0)
		r.put(5000, 1, 10, "shardId-000000000001")
		var one kcl.Batch
		last := read(t, r.fetcher(), shard0, kcl.Position{}, 0, 1000, func(b kcl.Batch) { one = b })
		require.Nil(t, last.End)
		rec := one.Records[0]
		key, ok := rec.PartitionKey()
		require.True(t, ok)
		require.Equal(t, "key", key)
		require.WithinDuration(t, time.Now(), rec.ApproximateArrival(), 5*time.Second)
		require.Equal(t, time.Now(), one.ReceivedAt)
		require.Equal(t, kcl.After(one.Records[len(one.Records)-1].SequenceNumber()), one.Next)

		// Every kind of position.
		at := one.Records[990]
		for _, test := range []struct {
			from     kcl.Position
			first, n int
		}{
			{kcl.At(at.SequenceNumber()), 990, 10},
			{kcl.After(at.SequenceNumber()), 991, 9},
			{kcl.Position{Kind: kcl.AtTimestamp, Timestamp: at.ApproximateArrival()}, number(t, one.Records[500]), 500},
		} {
			read(t, r.fetcher(), shard0, test.from, test.first, test.n, nil)
		}
	})
}

func TestLatest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 10, 10, shard0)
		time.Sleep(2 * time.Second)
		batches := 0
		// The iterator expires before the first record has come, and records are written meanwhile: none
		// may be skipped.
		read(t, r.fetcher(), shard0, kcl.Position{Kind: kcl.Latest}, 10, 10, func(b kcl.Batch) {
			if batches++; batches == 1 {
				require.Equal(t, kcl.AtTimestamp, b.Next.Kind)
				time.Sleep(6 * time.Minute)
				r.put(10, 10, 10, shard0)
			}
		})
	})
}

// TestP01ExpiredIterator: the reader stopped for good when the processor took longer than an
// iterator lives.
func TestP01ExpiredIterator(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 100, 10, shard0)
		var watch observer
		f := r.fetcher(func(c *polling.Config) { c.MaxRecords = 10; c.Observer = &watch })
		read(t, f, shard0, kcl.Position{}, 0, 100, func(kcl.Batch) { time.Sleep(6 * time.Minute) })
		// Every other batch was read ahead, while the iterator was young.
		require.Len(t, r.called("GetShardIterator", shard0), 5)
		require.Len(t, watch.retried, 4)
		var expired *types.ExpiredIteratorException
		require.ErrorAs(t, watch.retried[0], &expired)
		require.Zero(t, watch.waits[0], "an iterator that expired is renewed at once")
	})
}

// TestP02RenewedAfterTheLastDelivered: from the position given, or a checkpoint, there would be
// duplicates; from the tip, a gap.
func TestP02RenewedAfterTheLastDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 100, 10, shard0)
		r.srv.Inject(
			kinesistest.Fault{
				Operation: "GetRecords",
				Skip:      3,
				Times:     1,
				Do:        []kinesistest.Action{kinesistest.Fail("ExpiredIteratorException", "Iterator expired.")},
			},
		)
		r.srv.Inject(
			kinesistest.Fault{
				Operation: "GetRecords",
				Skip:      6,
				Times:     2,
				Do:        []kinesistest.Action{kinesistest.Fail("InvalidArgumentException", "Invalid ShardIterator.")},
			},
		)
		read(t, r.fetcher(func(c *polling.Config) { c.MaxRecords = 10 }), shard0, kcl.Position{}, 0, 100, nil)
		require.Len(t, r.called("GetShardIterator", shard0), 4)
	})
}

// TestP02RenewedFromTheStart: nothing was delivered yet, so the position given still holds.
func TestP02RenewedFromTheStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 10, 10, shard0)
		r.srv.Inject(
			kinesistest.Fault{
				Operation: "GetRecords",
				Times:     1,
				Do:        []kinesistest.Action{kinesistest.Fail("ExpiredIteratorException", "Iterator expired.")},
			},
		)
		read(t, r.fetcher(), shard0, kcl.Position{}, 0, 10, nil)
	})
}

// TestP03NilIterator: records that come with the last answer belong to the shard, and are delivered
// before it ends.
func TestP03NilIterator(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 25, 10, shard0)
		r.split(shard0)
		var batches []kcl.Batch
		for b, err := range r.fetcher(func(c *polling.Config) { c.MaxRecords = 10 }).Batches(t.Context(), shard0,
			kcl.Position{}) {
			require.NoError(t, err)
			batches = append(batches, b)
		}
		records := 0
		for i, b := range batches {
			records += len(b.Records)
			require.Equal(t, i == len(batches)-1, b.End != nil)
		}
		require.Equal(t, 25, records)
		end := batches[len(batches)-1]
		require.Equal(t, kcl.Position{}, end.Next)
		require.Len(t, end.End.Children, 2)
		for _, c := range end.End.Children {
			require.Equal(t, []string{shard0}, c.Parents)
			require.NoError(t, c.HashKeyRange.Validate())
		}
	})
}

// TestP03NilIteratorWithoutChildren: some servers never name the children. The records come first;
// then ListShards is asked, and the shard has not ended before it names them.
func TestP03NilIteratorWithoutChildren(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 11, 10, shard0)
		var tenth string
		read(t, r.fetcher(), shard0, kcl.Position{}, 0, 11, func(b kcl.Batch) { tenth = b.Records[10].SequenceNumber() })
		body := fmt.Sprintf(`{"Records":[{"Data":"MTA=","SequenceNumber":%q}],"MillisBehindLatest":0}`, tenth)
		r.srv.Inject(
			kinesistest.Fault{
				Operation: "GetRecords",
				Skip:      1,
				Times:     1,
				Do:        []kinesistest.Action{kinesistest.Answer(http.StatusOK, []byte(body))},
			},
		)
		r.srv.Inject(
			kinesistest.Fault{
				Operation: "GetRecords",
				Skip:      1,
				Do:        []kinesistest.Action{kinesistest.Answer(http.StatusOK, []byte(`{"Records":[],"MillisBehindLatest":0}`))},
			},
		)
		var lineage lineage
		f := r.fetcher(func(c *polling.Config) { c.Lineage = &lineage; c.MaxRecords = 10 })
		var got []int
		began := time.Now()
		for b, err := range f.Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			for _, rec := range b.Records {
				got = append(got, number(t, rec))
			}
			if b.End != nil {
				require.Empty(t, b.Records)
				require.Equal(t, "shardId-000000000001", b.End.Children[0].ID)
			}
		}
		require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, got, "the records of the last answer are delivered")
		require.Greater(t, lineage.asked, 3)
		require.GreaterOrEqual(t, time.Since(began), time.Minute,
			"the last record does not come again, so it is asked for a while")
	})
}

// TestP04Throttled: four of five reads are refused for an hour.
func TestP04Throttled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lasting := testsize.Pick(12*time.Minute, time.Hour, time.Hour)
		r := start(t, 1)
		random := rand.New(rand.NewPCG(1, 2))
		r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
			r.mu.Lock()
			defer r.mu.Unlock()
			if c.Operation != "GetRecords" || random.IntN(5) == 0 {
				return nil
			}
			return &kinesistest.Fault{
				Do: []kinesistest.Action{
					kinesistest.Fail("ProvisionedThroughputExceededException", "Rate exceeded for shard "+shard0),
				},
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), lasting)
		defer cancel()
		answers := 0
		for _, err := range r.fetcher().Batches(ctx, shard0, kcl.Position{}) {
			if ctx.Err() == nil {
				require.NoError(t, err)
				answers++
			}
		}
		// A fair share of the shard's 2 MiB/s needs a full answer in five seconds.
		require.Greater(t, answers, int(lasting.Seconds())/5)
		atMostFivePerSecond(t, r.called("GetRecords", shard0))
	})
}

// TestP05LargeAnswers: after 10 MiB the service refuses for up to five seconds; who asks
// nevertheless spends its calls on refusals.
func TestP05LargeAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 320, 100<<10, shard0)
		var watch observer
		began := time.Now()
		largest := 0
		read(
			t,
			r.fetcher(func(c *polling.Config) { c.Observer = &watch }),
			shard0,
			kcl.Position{},
			0,
			320,
			func(b kcl.Batch) {
				size := 0
				for _, rec := range b.Records {
					size += len(rec.Data())
				}
				largest = max(largest, size)
			},
		)
		require.Greater(t, largest, 9<<20, "the answers are large")
		require.Empty(t, watch.retried, "no call was refused")
		require.Less(t, time.Since(began), 20*time.Second, "and the shard's 2 MiB/s were used")
	})
}

// TestP06HotShard: a shard with many records delays no other.
func TestP06HotShard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 2)
		r.put(0, 100, 100<<10, shard0)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for range r.fetcher().Batches(ctx, shard0, kcl.Position{}) {
				time.Sleep(10 * time.Second) // and its processor is slow
			}
		})
		const calm = "shardId-000000000001"
		wg.Go(func() {
			n := 0
			for b, err := range r.fetcher().Batches(ctx, calm, kcl.Position{}) {
				if err != nil {
					break
				}
				for _, rec := range b.Records {
					require.LessOrEqual(t, time.Since(rec.ApproximateArrival()), time.Second+10*time.Millisecond)
					n++
				}
			}
			require.Equal(t, 30, n)
		})
		for i := range 30 {
			r.put(i, 1, 10, calm)
		}
		time.Sleep(2 * time.Second)
		cancel()
		wg.Wait()
	})
}

// TestP08SparseShard: empty answers behind the tip are no reason to rest, and no end.
func TestP08SparseShard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 1, 10, shard0)
		empty := 0
		r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
			if c.Operation != "GetRecords" || empty >= 1000 {
				return nil
			}
			empty++
			body := fmt.Sprintf(`{"Records":[],"MillisBehindLatest":60000,"NextShardIterator":%q}`, iteratorIn(t, c.Body))
			return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Answer(http.StatusOK, []byte(body))}}
		})
		began := time.Now()
		batches := 0
		read(t, r.fetcher(), shard0, kcl.Position{}, 0, 1, func(kcl.Batch) { batches++ })
		require.Equal(t, 1001, batches)
		require.InDelta(t, 200*1.025, time.Since(began).Seconds(), 2) // with the jitter
	})
}

// TestP09HangingCall: a call without an answer ends at its deadline. An answer that was on its way
// does not count.
func TestP09HangingCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, action := range []kinesistest.Action{
			kinesistest.Silence(), kinesistest.SilentAnswer(),
			kinesistest.LoseAnswer(), kinesistest.LoseRequest(),
		} {
			for _, operation := range []string{"GetRecords", "GetShardIterator"} {
				r := start(t, 1)
				r.put(0, 10, 10, shard0)
				r.srv.Inject(kinesistest.Fault{Operation: operation, Times: 2, Do: []kinesistest.Action{action}})
				began := time.Now()
				read(t, r.fetcher(), shard0, kcl.Position{}, 0, 10, nil)
				require.Less(t, time.Since(began), 64*time.Second)
			}
		}
	})
}

// TestP10RetryStorm: while everything fails the calls become rare.
func TestP10RetryStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		stop := r.srv.Inject(
			kinesistest.Fault{
				Operation: "GetRecords",
				Do:        []kinesistest.Action{kinesistest.Fail("InternalFailureException", "")},
			},
		)
		time.AfterFunc(time.Hour, stop)
		for b, err := range r.fetcher().Batches(t.Context(), shard0, kcl.Position{}) {
			require.NoError(t, err)
			require.Empty(t, b.Records)
			break
		}
		calls := r.called("GetRecords", shard0)
		require.Less(t, len(calls), 3600/5)
		require.Greater(t, len(calls), 3600/20)
		atMostFivePerSecond(t, calls)
	})
}

// TestP13LateAnswer: an answer that comes when nobody waits for it any more moves nothing.
func TestP13LateAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 10, 10, shard0)
		r.srv.Inject(
			kinesistest.Fault{Operation: "GetRecords", Times: 1, Do: []kinesistest.Action{kinesistest.DelayAnswer(time.Minute)}})
		f := r.fetcher()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Second, func() { cancel(kcl.ErrLeaseLost) })
		var errs []error
		for b, err := range f.Batches(ctx, shard0, kcl.Position{}) {
			require.Empty(t, b.Records)
			errs = append(errs, err)
		}
		require.Equal(t, []error{kcl.ErrLeaseLost}, errs, "the cause, once")
		read(t, f, shard0, kcl.Position{}, 0, 10, nil)
	})
}

// TestP14IdleInterval: an idle shard costs what the interval says.
func TestP14IdleInterval(t *testing.T) {
	t.Parallel()
	minutes := testsize.Pick(3, 10, 10)
	for _, test := range []struct {
		interval time.Duration
		want     int
	}{
		{0, 60 * minutes},
		{5 * time.Second, 12 * minutes},
		{50 * time.Millisecond, 300 * minutes}, // the service's limit
	} {
		t.Run(test.interval.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := start(t, 1)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(minutes)*time.Minute)
				defer cancel()
				for range r.fetcher(func(c *polling.Config) { c.IdleInterval = test.interval }).Batches(ctx, shard0,
					kcl.Position{}) {
				}
				require.InDelta(t, test.want, len(r.called("GetRecords", shard0)), float64(test.want)*0.05)
			})
		})
	}
}

func TestSlowProcessorIsNotSleptOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 30, 10, shard0)
		began := time.Now()
		read(
			t,
			r.fetcher(func(c *polling.Config) { c.MaxRecords = 10 }),
			shard0,
			kcl.Position{},
			0,
			30,
			func(kcl.Batch) { time.Sleep(2 * time.Second) },
		)
		require.Equal(t, 6*time.Second, time.Since(began), "the time that the loop body takes counts as rest")
	})
}

func TestFinalErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config kinesistest.Config
		fault  kinesistest.Fault
		shard  string
		from   kcl.Position
		gone   bool // the stream is deleted before
		is     error
		says   []string
	}{
		"stream": {gone: true, is: kcl.ErrStreamNotFound, says: []string{stream}},
		"shard":  {shard: "shardId-000000000009", is: kcl.ErrShardNotFound, says: []string{"shardId-000000000009", stream}},
		"denied iterator": {
			config: kinesistest.Config{Deny: func(op, _ string) bool { return op == "GetShardIterator" }},
			is:     kcl.ErrAccessDenied, says: []string{"allow kinesis:GetShardIterator", stream},
		},
		"denied records": {
			config: kinesistest.Config{Deny: func(op, _ string) bool { return op == "GetRecords" }},
			is:     kcl.ErrAccessDenied, says: []string{"allow kinesis:GetRecords", stream},
		},
		"denied lookup": {
			shard:  "shardId-000000000009",
			config: kinesistest.Config{Deny: func(op, _ string) bool { return op == "DescribeStreamSummary" }},
			is:     kcl.ErrAccessDenied, says: []string{"allow kinesis:DescribeStreamSummary", "shardId-000000000009"},
		},
		"position": {
			from: kcl.After("49590338271490256608559692538361571095921575989136588898"), is: kcl.ErrInvalidPosition,
			says: []string{shard0, "AFTER_SEQUENCE_NUMBER"},
		},
		"refused iterators": {
			fault: kinesistest.Fault{
				Operation: "GetRecords",
				Do:        []kinesistest.Action{kinesistest.Fail("InvalidArgumentException", "no")},
			},
			says: []string{"in a row were refused", "InvalidArgumentException"},
		},
		"validation": {
			fault: kinesistest.Fault{Operation: "GetRecords", Do: []kinesistest.Action{kinesistest.Fail("ValidationException",
				"no")}},
			says: []string{"GetRecords", "ValidationException"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := test.config
				cfg.Streams = []kinesistest.StreamConfig{{Name: stream}}
				srv := kinesistest.New(t, cfg)
				client := awstest.Kinesis(t, srv)
				srv.Inject(test.fault)
				if test.gone {
					_, err := client.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{StreamName: aws.String(stream)})
					require.NoError(t, err)
					time.Sleep(time.Second)
				}
				shard := test.shard
				if shard == "" {
					shard = shard0
				}
				f := polling.NewFetcher(
					polling.Config{Client: client, StreamName: stream, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
				var errs []error
				for _, err := range f.Batches(t.Context(), shard, test.from) {
					errs = append(errs, err)
				}
				require.Len(t, errs, 1)
				if test.is != nil {
					require.ErrorIs(t, errs[0], test.is)
				}
				for _, s := range test.says {
					require.ErrorContains(t, errs[0], s)
				}
			})
		})
	}
}

// A start in the future waits for its time, as with enhanced fan-out.
func TestTimestampInTheFuture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 1, 10, shard0)
		var writing sync.WaitGroup
		defer writing.Wait()
		writing.Go(func() {
			time.Sleep(2 * time.Minute)
			r.put(1, 1, 10, shard0)
		})
		read(t, r.fetcher(), shard0, kcl.Position{Kind: kcl.AtTimestamp, Timestamp: time.Now().Add(time.Minute)}, 1, 1, nil)
	})
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg  polling.Config
		says []string
	}{
		{polling.Config{}, []string{"Config.Client is missing", "Config.StreamARN and Config.StreamName are missing"}},
		{polling.Config{StreamARN: "arn:aws:kinesis:stream/x"}, []string{"Config.StreamARN", "want arn:aws:kinesis:REGION"}},
		{polling.Config{StreamName: "a b"}, []string{`Config.StreamName "a b"`}},
		{
			polling.Config{StreamName: "a", StreamARN: "arn:aws:kinesis:us-east-1:000000000000:stream/b"},
			[]string{`Config.StreamName "a" is not the name`},
		},
		{
			polling.Config{StreamName: "a", MaxRecords: 10001, IdleInterval: -1, CallTimeout: -1},
			[]string{"Config.MaxRecords is 10001", "Config.IdleInterval", "Config.CallTimeout"},
		},
	} {
		for _, err := range polling.NewFetcher(test.cfg).Batches(t.Context(), shard0, kcl.Position{}) {
			for _, s := range test.says {
				require.ErrorContains(t, err, s)
			}
		}
	}
}

// TestLeavingTheLoop: a bubble that ends with a goroutine left behind fails.
func TestLeavingTheLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 1, 10, shard0)
		for range r.fetcher().Batches(t.Context(), shard0, kcl.Position{}) {
			break
		}
		require.Panics(t, func() {
			for range r.fetcher().Batches(t.Context(), shard0, kcl.Position{}) {
				panic("processor")
			}
		})
	})
}

// atMostFivePerSecond holds for every second, wherever it begins.
func atMostFivePerSecond(t *testing.T, calls []time.Time) {
	t.Helper()
	for i := 5; i < len(calls); i++ {
		require.GreaterOrEqual(t, calls[i].Sub(calls[i-5]), time.Second)
	}
}

// iteratorIn takes the iterator out of a request.
func iteratorIn(t *testing.T, body []byte) string {
	t.Helper()
	_, rest, ok := bytes.Cut(body, []byte(`"ShardIterator":"`))
	require.True(t, ok)
	token, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(token)
}

type observer struct {
	opened, received int
	retried          []error
	waits            []time.Duration
}

func (o *observer) Opened()   { o.opened++ }
func (o *observer) Received() { o.received++ }
func (o *observer) Retrying(err error, wait time.Duration) {
	o.retried = append(o.retried, err)
	o.waits = append(o.waits, wait)
}

// lineage fails first, then knows no children yet, then names one.
type lineage struct{ asked int }

func (l *lineage) Shard(_ context.Context, id string) (kcl.Shard, []kcl.ChildShard, bool, error) {
	l.asked++
	switch l.asked {
	case 1:
		return kcl.Shard{}, nil, false, errors.New("list shards: throttled")
	case 2:
		return kcl.Shard{ID: id, EndingSequenceNumber: "1"}, nil, true, nil
	}
	children := []kcl.ChildShard{{ID: "shardId-000000000001", Parents: []string{id}}}
	return kcl.Shard{ID: id, EndingSequenceNumber: "1"}, children, true, nil
}
