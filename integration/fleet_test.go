package integration

import (
	"context"
	"testing"
	"time"

	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// recorder is a processor that notes each record and checkpoints after each batch.
type recorder struct {
	worker, shard string
	ledger        *ledger
}

func (r *recorder) Initialize(context.Context, kcl.InitializeInput) error { return nil }

func (r *recorder) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	for _, record := range in.Records {
		if err := r.ledger.process(r.worker, r.shard, record.Position().String(), string(record.Data())); err != nil {
			return err
		}
	}
	return in.Checkpointer.Checkpoint(ctx)
}

func (r *recorder) LeaseLost(context.Context, kcl.LeaseLostInput) {}

func (r *recorder) ShardEnded(context.Context, kcl.ShardEndedInput) error { return nil }

func (r *recorder) ShutdownRequested(context.Context, kcl.ShutdownRequestedInput) error { return nil }

// worker is one scheduler that runs.
type worker struct {
	scheduler *scheduler.Scheduler
	cancel    context.CancelFunc
	done      chan error
}

func startWorker(ctx context.Context, cfg scheduler.Config, name string, l *ledger) *worker {
	cfg.WorkerID = name
	w := &worker{done: make(chan error, 1)}
	ctx, w.cancel = context.WithCancel(ctx)
	w.scheduler = scheduler.New(cfg, func(_ kcl.StreamIdentifier, shard kcl.Shard) kcl.Processor {
		return &recorder{worker: name, shard: shard.ID, ledger: l}
	})
	go func() { w.done <- w.scheduler.Run(ctx) }() // joined by stop
	return w
}

// stop asks the worker to finish in order and waits for it.
func (w *worker) stop(ctx context.Context, t *testing.T) {
	t.Helper()
	w.cancel()
	select {
	case err := <-w.done:
		require.NoError(t, err, "Run after a requested stop")
	case <-ctx.Done():
		require.FailNow(t, "the worker does not stop")
	}
}

// runFleet reads a stream with two workers through a split, a merge and a graceful stop, while
// records keep coming, and checks that none is lost, repeated or out of order.
func runFleet(t *testing.T, mode scheduler.RetrievalMode, client *kinesis.Client, tables *awsdynamodb.Client) {
	application := unique("app")
	runFleetOn(t, mode, client, application, dynamodb.New(dynamodb.Config{Client: tables, Table: application}))
}

func runFleetOn(t *testing.T, mode scheduler.RetrievalMode, client *kinesis.Client, application string,
	store leases.Store,
) {
	ctx := within(t, 4*time.Minute)
	stream, l := createStream(ctx, t, client, 4), newLedger()
	cfg := scheduler.Config{
		Application: application, Streams: []scheduler.StreamConfig{{Name: stream}},
		Kinesis: client, Leases: store, RetrievalMode: mode,
		FailoverTime: 4 * time.Second, ShardSyncInterval: 2 * time.Second,
		Logger: logger(t),
	}

	const keys = 16
	l.produce(ctx, t, client, stream, keys, 3)
	first := startWorker(ctx, cfg, "first", l)
	l.settled(ctx, t)
	second := startWorker(ctx, cfg, "second", l)
	until(ctx, t, l.String, func() bool { // the second gets its share
		l.produce(ctx, t, client, stream, keys, 1)
		return l.recordsOf("second") > 0
	})

	parents := []string{split(ctx, t, client, stream)}
	l.produce(ctx, t, client, stream, keys, 5)
	parents = append(parents, merge(ctx, t, client, stream)...)
	l.produce(ctx, t, client, stream, keys, 5)
	l.settled(ctx, t)
	until(ctx, t, func() string { return "no SHARD_END for a closed shard" }, func() bool {
		for _, parent := range parents {
			if lease, err := store.Get(ctx, parent); err == nil && !lease.Checkpoint.IsShardEnd() {
				return false
			}
		}
		return true
	})
	require.NoError(t, first.scheduler.Healthy())
	require.NoError(t, second.scheduler.Healthy())

	first.stop(ctx, t)
	l.produce(ctx, t, client, stream, keys, 5)
	l.settled(ctx, t)
	second.stop(ctx, t)

	listing, err := store.List(ctx)
	require.NoError(t, err)
	require.Empty(t, listing.Bad)
	for _, lease := range listing.Leases {
		if !lease.Checkpoint.IsShardEnd() {
			require.Empty(t, lease.Owner, "lease %s is released", lease.Key)
		}
	}
	_, _, duplicates := l.counts()
	require.Zero(t, duplicates, "hand-overs were graceful")
	t.Log(l)
}

func TestLocalStack(t *testing.T) {
	t.Parallel()
	for _, mode := range []scheduler.RetrievalMode{scheduler.EFO, scheduler.Polling} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			url := localstackURL(t)
			runFleet(t, mode, kinesisClient(url), dynamodbClient(url))
		})
	}
}

func TestKinesisLocalAndDynamoDBLocal(t *testing.T) {
	t.Parallel()
	for _, mode := range []scheduler.RetrievalMode{scheduler.EFO, scheduler.Polling} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			url := kinesislocalURL(t)
			tables := dynamodbClient(dynamodbURL(t))
			runFleet(t, mode, kinesislocalClient(url), tables)
		})
	}
}

func TestKinesisFakeAndDynamoDBLocal(t *testing.T) {
	t.Parallel()
	for _, mode := range []scheduler.RetrievalMode{scheduler.EFO, scheduler.Polling} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			tables := dynamodbClient(dynamodbURL(t))
			url := startFake(within(t, time.Minute), t)
			runFleet(t, mode, kinesisClient(url, func(o *kinesis.Options) { o.HTTPClient = h2c() }), tables)
		})
	}
}
