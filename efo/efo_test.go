package efo_test

import (
	"context"
	"log/slog"
	"math/big"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/kinesistest"
)

const shard0 = "shardId-000000000000"

// world is a fake Kinesis with one stream and one registered consumer.
type world struct {
	tb       testing.TB
	srv      *kinesistest.Server
	client   *kinesis.Client
	stream   string // ARN
	consumer string // ARN
	log      *slog.Logger
	put      int // records written so far; each one's data is its number
}

func newWorld(tb testing.TB, cfg kinesistest.Config, opts ...func(*kinesis.Options)) *world {
	tb.Helper()
	if len(cfg.Streams) == 0 {
		cfg.Streams = []kinesistest.StreamConfig{{Name: "orders"}}
	}
	srv := kinesistest.New(tb, cfg)
	w := &world{
		tb: tb, srv: srv, client: awstest.Kinesis(tb, srv, opts...),
		stream: "arn:aws:kinesis:us-east-1:000000000000:stream/" + cfg.Streams[0].Name,
		log:    slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	arn, err := efo.Register(context.Background(), w.client,
		efo.RegisterConfig{StreamARN: w.stream, ConsumerName: "app", Logger: w.log})
	require.NoError(tb, err)
	w.consumer = arn
	return w
}

// inBubble runs f in virtual time in a fresh world.
func inBubble(t *testing.T, cfg kinesistest.Config, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t, cfg)) })
}

// config is that of a subscriber in this world.
func (w *world) config() efo.Config {
	return efo.Config{
		Client: w.client, StreamARN: w.stream, ConsumerARN: w.consumer,
		Lineage: lineage{w.client, w.stream}, Observer: &watcher{}, Logger: w.log,
	}
}

// write puts n records, their data being their number, into the first shard's half of the keys.
func (w *world) write(n int) {
	w.tb.Helper()
	for range n {
		w.writeData(strconv.Itoa(w.put))
		w.put++
	}
}

func (w *world) writeData(data string) {
	w.tb.Helper()
	_, err := w.client.PutRecord(context.Background(), &kinesis.PutRecordInput{
		StreamARN: &w.stream, Data: []byte(data), PartitionKey: aws.String("k"), ExplicitHashKey: aws.String("0"),
	})
	require.NoError(w.tb, err)
}

// split closes the first shard and waits until the children are there.
func (w *world) split() {
	w.tb.Helper()
	middle := new(big.Int).Rsh(new(big.Int).Lsh(big.NewInt(1), 128), 1)
	_, err := w.client.SplitShard(context.Background(), &kinesis.SplitShardInput{
		StreamARN: &w.stream, ShardToSplit: aws.String(shard0), NewStartingHashKey: aws.String(middle.String()),
	})
	require.NoError(w.tb, err)
	time.Sleep(time.Second)
}

// read collects the data of records until there are n or the loop ends.
func (w *world) read(ctx context.Context, cfg efo.Config, shard string, from kcl.Position, n int) (got result) {
	for b, err := range efo.NewSubscriber(cfg).Batches(ctx, shard, from) {
		if err != nil {
			got.err = err
			break
		}
		got.add(b)
		if n > 0 && len(got.data) >= n {
			break
		}
	}
	return got
}

type result struct {
	data []string
	last kcl.Batch
	ends int
	err  error
}

func (r *result) add(b kcl.Batch) {
	for _, rec := range b.Records {
		r.data = append(r.data, string(rec.Data()))
	}
	r.last = b
	if b.End != nil {
		r.ends++
	}
}

func numbers(from, to int) []string {
	var s []string
	for i := from; i < to; i++ {
		s = append(s, strconv.Itoa(i))
	}
	return s
}

// reading is a reader on a goroutine of its own.
type reading struct {
	mu     sync.Mutex // guards the field below
	result result
	done   chan struct{}
	stop   context.CancelCauseFunc
}

// start reads in the background until the test ends or stop is called.
func (w *world) start(cfg efo.Config, shard string, from kcl.Position) *reading {
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &reading{done: make(chan struct{}), stop: cancel}
	go func() { // ends with the loop; wait joins it
		defer close(r.done)
		for b, err := range efo.NewSubscriber(cfg).Batches(ctx, shard, from) {
			r.mu.Lock()
			if err != nil {
				r.result.err = err
			} else {
				r.result.add(b)
			}
			r.mu.Unlock()
		}
	}()
	w.tb.Cleanup(func() { cancel(nil); <-r.done })
	return r
}

func (r *reading) now() result {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.result
	c.data = slices.Clone(c.data)
	return c
}

// wait stops the reader and returns all it got.
func (r *reading) wait() result {
	r.stop(nil)
	<-r.done
	return r.now()
}

// lineage asks ListShards each time.
type lineage struct {
	client *kinesis.Client
	stream string
}

func (l lineage) Shard(
	ctx context.Context,
	id string,
) (shard kcl.Shard, children []kcl.ChildShard, ok bool, err error) {
	out, err := l.client.ListShards(ctx, &kinesis.ListShardsInput{StreamARN: &l.stream})
	if err != nil {
		return shard, nil, false, err
	}
	for _, s := range out.Shards {
		sh := kcl.Shard{
			ID: *s.ShardId, ParentID: aws.ToString(s.ParentShardId), AdjacentParentID: aws.ToString(s.AdjacentParentShardId),
			StartingSequenceNumber: aws.ToString(s.SequenceNumberRange.StartingSequenceNumber),
			EndingSequenceNumber:   aws.ToString(s.SequenceNumberRange.EndingSequenceNumber),
		}
		if sh.ID == id {
			shard, ok = sh, true
		}
		if slices.Contains(sh.Parents(), id) {
			children = append(children, kcl.ChildShard{ID: sh.ID, Parents: sh.Parents()})
		}
	}
	return shard, children, ok, nil
}

// watcher is an Observer that remembers.
type watcher struct {
	mu       sync.Mutex // guards the fields below
	opened   []time.Time
	received []time.Time
	errs     []error
	waits    []time.Duration
}

func (w *watcher) Opened() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opened = append(w.opened, time.Now())
}

func (w *watcher) Received() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.received = append(w.received, time.Now())
}

func (w *watcher) Retrying(err error, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
	w.waits = append(w.waits, wait)
}

func (w *watcher) opens() []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.opened)
}

func (w *watcher) retries() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.errs)
}

// subscribes records when SubscribeToShard is called, and for which position.
func (w *world) subscribes() func() []subscribe {
	var mu sync.Mutex
	var calls []subscribe
	w.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
		if c.Operation == "SubscribeToShard" {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, subscribe{time.Now(), c.Shard, string(c.Body)})
		}
		return nil
	})
	return func() []subscribe {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(calls)
	}
}

type subscribe struct {
	at    time.Time
	shard string
	body  string
}

func onSubscribe(times int, do ...kinesistest.Action) kinesistest.Fault {
	return kinesistest.Fault{Operation: "SubscribeToShard", Times: times, Do: do}
}

func TestBatches(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.write(10)
		got := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 10)
		require.NoError(t, got.err)
		require.Equal(t, numbers(0, 10), got.data)
		require.Equal(t, kcl.AfterSequenceNumber, got.last.Next.Kind)
		require.False(t, got.last.ReceivedAt.IsZero())
		rec := got.last.Records[0]
		key, ok := rec.PartitionKey()
		require.True(t, ok)
		require.Equal(t, "k", key)
		require.False(t, rec.ApproximateArrival().IsZero())

		// Going on from Next, and from the record itself.
		w.write(3)
		time.Sleep(5 * time.Second) // until the consumer may subscribe again
		require.Equal(t, numbers(10, 13), w.read(t.Context(), w.config(), shard0, got.last.Next, 3).data)
		time.Sleep(5 * time.Second)
		require.Equal(t, numbers(9, 13),
			w.read(t.Context(), w.config(), shard0, kcl.At(got.last.Records[len(got.last.Records)-1].SequenceNumber()), 4).data)
	})
}

func TestCanceledContextYieldsItsCauseOnce(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(12*time.Second, func() { cancel(kcl.ErrLeaseLost) })
		var errs []error
		for _, err := range efo.NewSubscriber(w.config()).Batches(ctx, shard0, kcl.Position{}) {
			if err != nil {
				errs = append(errs, err)
			}
		}
		require.Equal(t, []error{kcl.ErrLeaseLost}, errs)
	})
}

func TestShardEnd(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.write(3)
		w.split()
		got := w.read(t.Context(), w.config(), shard0, kcl.Position{}, 0)
		require.NoError(t, got.err)
		require.Equal(t, numbers(0, 3), got.data)
		require.Equal(t, 1, got.ends)
		require.Equal(t, kcl.Position{}, got.last.Next)
		require.Len(t, got.last.End.Children, 2)
		require.Equal(t, []string{shard0}, got.last.End.Children[0].Parents)
		require.NoError(t, got.last.End.Children[0].HashKeyRange.Validate())
	})
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	client := kinesis.New(kinesis.Options{Region: "us-east-1"})
	const stream = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
	for name, test := range map[string]struct {
		cfg  efo.Config
		want []string
	}{
		"all missing": {efo.Config{}, []string{"Client", "StreamARN", "ConsumerARN"}},
		"malformed": {
			efo.Config{Client: client, StreamARN: "orders", ConsumerARN: stream},
			[]string{"StreamARN", "ConsumerARN"},
		},
		"another stream": {
			efo.Config{Client: client, StreamARN: stream, ConsumerARN: stream + "2/consumer/app:1"},
			[]string{"another stream"},
		},
		"negative": {efo.Config{
			Client: client, StreamARN: stream, ConsumerARN: stream + "/consumer/app:1",
			SilenceTimeout: -1, CallTimeout: -1,
		}, []string{"SilenceTimeout", "CallTimeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var errs []error
			for _, err := range efo.NewSubscriber(test.cfg).Batches(t.Context(), shard0, kcl.Position{}) {
				errs = append(errs, err)
			}
			require.Len(t, errs, 1)
			for _, want := range test.want {
				require.ErrorContains(t, errs[0], want)
			}
		})
	}
}
