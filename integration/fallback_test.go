package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// gate stands between a worker and a server, as a policy does. While the gate is shut, it denies
// SubscribeToShard, and open subscriptions end.
type gate struct {
	next http.RoundTripper

	mu   sync.Mutex // guards the fields below
	shut bool
	open []io.Closer
}

func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.Header.Get("X-Amz-Target"), ".SubscribeToShard") {
		return g.next.RoundTrip(req)
	}
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut {
		body := []byte(`{"__type":"AccessDeniedException","message":"not allowed"}`)
		return &http.Response{
			StatusCode: http.StatusBadRequest, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
			Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, ContentLength: int64(len(body)),
			Body: io.NopCloser(bytes.NewReader(body)),
		}, nil
	}
	resp, err := g.next.RoundTrip(req)
	if err == nil {
		g.mu.Lock()
		g.open = append(g.open, resp.Body)
		g.mu.Unlock()
	}
	return resp, err
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	g.shut = shut
	var cut []io.Closer
	if shut {
		cut, g.open = g.open, nil
	}
	g.mu.Unlock()
	for _, body := range cut {
		_ = body.Close()
	}
}

// fill registers consumers until the stream takes no more, and returns the ARN of one.
func fill(ctx context.Context, t *testing.T, client *kinesis.Client, arn string) string {
	t.Helper()
	last := ""
	for i := range 25 {
		out, err := client.RegisterStreamConsumer(ctx,
			&kinesis.RegisterStreamConsumerInput{StreamARN: &arn, ConsumerName: aws.String(fmt.Sprintf("other-%02d", i))})
		if awserr.Is(err, "LimitExceededException") {
			require.GreaterOrEqual(t, i, 5)
			return last
		}
		require.NoError(t, err)
		last = *out.Consumer.ConsumerARN
		until(ctx, t, func() string { return "consumer is not ACTIVE" }, func() bool {
			d, err := client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: &last})
			return err == nil && d.ConsumerDescription.ConsumerStatus == types.ConsumerStatusActive
		})
	}
	require.FailNow(t, "the server registers any number of consumers")
	return ""
}

// runFallback reads two streams by enhanced fan-out. The first stream has no place for another
// consumer, and is polled from the start. The subscriptions of the second are denied while it is
// read. Both go on by polling at exactly the same place, and return to fan-out once that works
// again.
func runFallback(t *testing.T, client *kinesis.Client, tables *awsdynamodb.Client) {
	ctx := within(t, 11*time.Minute)
	full, denied := createStream(ctx, t, client, 2), createStream(ctx, t, client, 2)
	arn := func(stream string) string {
		out, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
		require.NoError(t, err)
		return *out.StreamDescriptionSummary.StreamARN
	}
	occupant := fill(ctx, t, client, arn(full))

	inner := http.DefaultTransport
	if hc, ok := client.Options().HTTPClient.(*http.Client); ok {
		inner = hc.Transport
	}
	door := &gate{next: inner}
	application, l, other := unique("app"), newLedger(), newLedger() // of full, and of denied
	cfg := scheduler.Config{
		Application: application, Streams: []scheduler.StreamConfig{{Name: full}, {Name: denied}},
		Kinesis: kinesisClient(*client.Options().BaseEndpoint,
			func(o *kinesis.Options) { o.HTTPClient = &http.Client{Transport: door} }),
		Leases: dynamodb.New(dynamodb.Config{Client: tables, Table: application}), FallbackAfter: 10 * time.Second,
		FailoverTime: 30 * time.Second, Logger: logger(t), // one worker: nobody waits for its leases
	}
	w := &worker{done: make(chan error, 1)}
	var running context.Context
	running, w.cancel = context.WithCancel(ctx)
	w.scheduler = scheduler.New(cfg, func(stream kcl.StreamIdentifier, shard kcl.Shard) kcl.Processor {
		return &recorder{worker: "worker", shard: shard.ID, ledger: map[string]*ledger{full: l, denied: other}[stream.Name]}
	})
	go func() { w.done <- w.scheduler.Run(running) }() // joined by stop
	const keys = 8
	produce := func() {
		l.produce(ctx, t, client, full, keys, 1)
		other.produce(ctx, t, client, denied, keys, 1)
	}
	modes := func(stream string) (modes []scheduler.RetrievalMode, errs []error) {
		for _, st := range w.scheduler.Status().Streams {
			for _, shard := range st.Shards {
				if st.Stream.Name == stream && shard.State == scheduler.StateProcessing {
					modes, errs = append(modes, shard.Mode), append(errs, shard.ModeErr)
				}
			}
		}
		return modes, errs
	}
	read := func(fullMode, deniedMode scheduler.RetrievalMode) {
		t.Helper()
		describe := func() string {
			a, errA := modes(full)
			b, errB := modes(denied)
			return fmt.Sprint(a, errA, l, b, errB, other)
		}
		pause := time.NewTicker(time.Second)
		defer pause.Stop()
		until(ctx, t, describe, func() bool {
			<-pause.C
			produce()
			a, _ := modes(full)
			b, _ := modes(denied)
			is := func(modes []scheduler.RetrievalMode, want scheduler.RetrievalMode) bool {
				return len(modes) == 2 && modes[0] == want && modes[1] == want
			}
			return is(a, fullMode) && is(b, deniedMode)
		})
		l.settled(ctx, t)
		other.settled(ctx, t)
	}

	read(scheduler.Polling, scheduler.EFO)
	_, errs := modes(full)
	require.True(t, awserr.Is(errs[0], "LimitExceededException"), "%v", errs)
	door.set(true)
	read(scheduler.Polling, scheduler.Polling)
	_, errs = modes(denied)
	require.True(t, awserr.Is(errs[0], "AccessDeniedException"), "%v", errs)

	door.set(false)
	_, err := client.DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &occupant})
	require.NoError(t, err)
	read(scheduler.EFO, scheduler.EFO) // it is tried after five to six minutes
	require.NoError(t, w.scheduler.Healthy())
	w.stop(ctx, t)
	for _, l := range []*ledger{l, other} {
		put, missing, duplicates := l.counts()
		require.Zero(t, missing)
		require.Zero(t, duplicates)
		t.Logf("%d records", put)
	}
}

// runConsumerDeleted reads by a consumer whose ARN was given, and deletes the consumer. Only its
// owner may make another, so the worker polls the stream from exactly there.
func runConsumerDeleted(t *testing.T, client *kinesis.Client, tables *awsdynamodb.Client) {
	ctx := within(t, 3*time.Minute)
	stream := createStream(ctx, t, client, 2)
	summary, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &stream})
	require.NoError(t, err)
	consumer, err := client.RegisterStreamConsumer(ctx,
		&kinesis.RegisterStreamConsumerInput{
			StreamARN:    summary.StreamDescriptionSummary.StreamARN,
			ConsumerName: aws.String("ours"),
		})
	require.NoError(t, err)
	until(ctx, t, func() string { return "consumer is not ACTIVE" }, func() bool {
		d, err := client.DescribeStreamConsumer(ctx,
			&kinesis.DescribeStreamConsumerInput{ConsumerARN: consumer.Consumer.ConsumerARN})
		return err == nil && d.ConsumerDescription.ConsumerStatus == types.ConsumerStatusActive
	})
	inner := http.DefaultTransport
	if hc, ok := client.Options().HTTPClient.(*http.Client); ok {
		inner = hc.Transport
	}
	door := &gate{next: inner}
	application, l := unique("app"), newLedger()
	w := startWorker(ctx, scheduler.Config{
		Application: application, Streams: []scheduler.StreamConfig{{
			Name:        stream,
			ConsumerARN: *consumer.Consumer.ConsumerARN,
		}},
		Kinesis: kinesisClient(*client.Options().BaseEndpoint,
			func(o *kinesis.Options) { o.HTTPClient = &http.Client{Transport: door} }),
		Leases: dynamodb.New(dynamodb.Config{Client: tables, Table: application}), FallbackAfter: 10 * time.Second,
		FailoverTime: 30 * time.Second, Logger: logger(t), // one worker: nobody waits for its leases
	}, "worker", l)
	l.produce(ctx, t, client, stream, 8, 5)
	l.settled(ctx, t)
	_, err = client.DeregisterStreamConsumer(ctx,
		&kinesis.DeregisterStreamConsumerInput{ConsumerARN: consumer.Consumer.ConsumerARN})
	require.NoError(t, err)
	until(ctx, t, func() string { return "the consumer is still there" }, func() bool {
		_, err := client.DescribeStreamConsumer(ctx,
			&kinesis.DescribeStreamConsumerInput{ConsumerARN: consumer.Consumer.ConsumerARN})
		return err != nil
	})
	door.set(true) // ends the subscriptions, should the server let them live
	door.set(false)
	until(ctx, t, l.String, func() bool {
		l.produce(ctx, t, client, stream, 8, 1)
		n := 0
		for _, st := range w.scheduler.Status().Streams {
			for _, shard := range st.Shards {
				if shard.Mode == scheduler.Polling {
					n++
				}
			}
		}
		return n == 2
	})
	l.settled(ctx, t)
	w.stop(ctx, t)
	_, _, duplicates := l.counts()
	require.Zero(t, duplicates)
}

func TestFallback(t *testing.T) {
	t.Parallel()
	for name, servers := range map[string]func(t *testing.T) (*kinesis.Client, *awsdynamodb.Client){
		"LocalStack": func(t *testing.T) (*kinesis.Client, *awsdynamodb.Client) {
			return kinesisClient(localstackURL(t)), dynamodbClient(localstackURL(t))
		},
		"kinesis-local": func(t *testing.T) (*kinesis.Client, *awsdynamodb.Client) {
			return kinesislocalClient(kinesislocalURL(t)), dynamodbClient(dynamodbURL(t))
		},
	} {
		t.Run("and back on "+name, func(t *testing.T) {
			t.Parallel()
			client, tables := servers(t)
			runFallback(t, client, tables)
		})
		t.Run("consumer deleted on "+name, func(t *testing.T) {
			t.Parallel()
			client, tables := servers(t)
			runConsumerDeleted(t, client, tables)
		})
	}
}
