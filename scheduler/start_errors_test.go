package scheduler_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

func TestMissingStream(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, kinesistest.Config{})
		w := r.worker("a", mode).start()
		<-w.done
		require.ErrorIs(t, w.err, kcl.ErrStreamNotFound)
		require.ErrorContains(t, w.err,
			"Config.Streams[0]: there is no stream orders in region us-east-1: create it, or correct the name or the region")
		require.ErrorContains(t, w.Healthy(), "no stream orders")
	})
}

func TestForeignARN(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", func(c *scheduler.Config) {
			c.Streams = []scheduler.StreamConfig{{ARN: "arn:aws:kinesis:us-east-1:111111111111:stream/orders"}}
		}).start()
		<-w.done
		require.ErrorIs(t, w.err, kcl.ErrStreamNotFound)
		require.ErrorContains(t, w.err, "Config.Streams[0]: there is no "+
			"arn:aws:kinesis:us-east-1:111111111111:stream/orders in region us-east-1: "+
			"create it, or correct the name or the region")
		require.Empty(t, r.table())
	})
}

// Each permission that the start needs, missing by itself, is a clear error

// that names it; one that only reading needs turns health red at once.

func TestAccessDenied(t *testing.T) {
	t.Parallel()
	efo, polling := scheduler.EFO, scheduler.Polling
	for _, tc := range []struct {
		operation string
		mode      scheduler.RetrievalMode
	}{
		{"DescribeStreamSummary", efo},
		{"ListShards", efo},
		{"DescribeStreamConsumer", efo},
		{"RegisterStreamConsumer", efo},
		{"DescribeStreamSummary", polling},
		{"ListShards", polling},
	} {
		t.Run(tc.mode.String()+" "+tc.operation, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := oneStream(1)
				cfg.Deny = func(operation, _ string) bool { return operation == tc.operation }
				r := newRig(t, cfg)
				w := r.worker("a", func(c *scheduler.Config) {
					c.RetrievalMode, c.Fallback = tc.mode,
						scheduler.FallbackOff
				}).start()
				<-w.done
				require.ErrorIs(t, w.err, kcl.ErrAccessDenied)
				require.ErrorContains(t, w.err, "allow kinesis:"+tc.operation+" on ")
				require.ErrorContains(t, w.err, "orders")
			})
		})
	}
	for _, tc := range []struct {
		operation string
		mode      scheduler.RetrievalMode
	}{{"SubscribeToShard", efo}, {"GetShardIterator", polling}, {"GetRecords", polling}} {
		t.Run("reading "+tc.operation, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var allowed atomic.Bool
				cfg := oneStream(1)
				cfg.Deny = func(operation, _ string) bool { return !allowed.Load() && operation == tc.operation }
				r := newRig(t, cfg)
				r.put(keys(3)...)
				w := r.worker("a", func(c *scheduler.Config) {
					c.RetrievalMode, c.Fallback = tc.mode,
						scheduler.FallbackOff
				}).start()
				time.Sleep(10 * time.Second)
				err := w.Healthy()
				require.ErrorIs(t, err, kcl.ErrAccessDenied)
				require.ErrorContains(t, err, "allow kinesis:"+tc.operation+" on ")
				stall, ok := errors.AsType[*scheduler.StallError](err)
				require.True(t, ok)
				require.Equal(t, scheduler.LayerService, stall.Layer)
				require.Equal(t, r.open()[0], stall.ShardID)

				allowed.Store(true) // the policy is corrected; nothing needs a restart
				r.finished(time.Minute)
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// five minutes of throttling at the start; ready within a minute after.

func TestR14ThrottledStart(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		r.put(keys(10)...)
		remove := r.srv.Inject(kinesistest.Fault{
			Client: "a",
			Do:     []kinesistest.Action{kinesistest.Fail("LimitExceededException", "Rate exceeded")},
		})
		w := r.worker("a", mode).start()
		time.Sleep(5 * time.Minute)
		require.ErrorContains(t, w.Healthy(), "Rate exceeded")
		remove()
		r.finished(time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

func TestStopDuringTheStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		r.srv.Inject(kinesistest.Fault{
			Operation: "ListShards", Client: "a",
			Do: []kinesistest.Action{kinesistest.Fail("LimitExceededException", "Rate exceeded")},
		})
		w := r.worker("a").start()
		time.Sleep(time.Minute)
		before := time.Now()
		require.NoError(t, w.stop())
		require.Less(t, time.Since(before), time.Second)
	})
}

// Nobody answers at all: a wrong endpoint is an error after two minutes, not a

// wait without end.

func TestUnreachableServiceIsAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		r.srv.Partition("a")
		w := r.worker("a").start()
		before := time.Now()
		<-w.done
		require.Error(t, w.err)
		require.ErrorContains(t, w.err, "DescribeStreamSummary")
		require.Less(t, time.Since(before), 4*time.Minute)
	})
}

// A lease table that is away for a minute at the start is waited for; one of a

// foreign layout is an error at once.

func TestLeaseTableAtStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a")
		w.faults.SetFault(leasefault.Failing(errors.New("connection refused")))
		w.start()
		r.put(keys(3)...)
		time.Sleep(time.Minute)
		require.ErrorContains(t, w.Healthy(), "prepare lease table: connection refused")
		w.faults.SetFault(nil)
		r.finished(time.Minute)
		require.NoError(t, w.stop())

		w = r.worker("b")
		w.faults.SetFault(leasefault.Failing(leases.ErrForeignTable))
		w.start()
		<-w.done
		require.ErrorIs(t, w.err, leases.ErrForeignTable)
	})
}

// Each permission on the lease table that the start needs is named when it is

// missing; without the one that only taking leases needs, health turns red.

func TestAccessDeniedOnTheLeaseTable(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"DescribeTable", "CreateTable", "Scan", "PutItem", "UpdateItem"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				ddb := dynamotest.Start(dynamotest.Config{})
				t.Cleanup(ddb.Close)
				ddb.Inject(dynamotest.Fault{
					When: func(c dynamotest.Call) bool { return c.Operation == operation },
					Do:   []dynamotest.Action{dynamotest.Deny()},
				})
				table := dynamodb.New(dynamodb.Config{Client: awstest.DynamoDB(t, ddb), Table: "app", Logger: r.log})
				w := r.worker("a", func(c *scheduler.Config) { c.Leases = table }).start()
				if operation != "UpdateItem" {
					r.eventually(5*time.Minute, "Run has ended", func() bool { return isDone(w) })
					require.ErrorIs(t, w.err, kcl.ErrAccessDenied)
					require.ErrorContains(t, w.err, "dynamodb:"+operation)
					require.ErrorContains(t, w.err, "app")
					return
				}
				r.eventually(5*time.Minute, "red", func() bool { return len(w.stalls()) > 0 })
				require.Equal(t, scheduler.LayerLease, w.stalls()[0].Layer)
				require.NoError(t, w.stop())
			})
		})
	}
}

// the stream was deleted and created again under its name while the

// application was down. Nothing is read, nothing is written.

// Rows that do not say whose they are may be those of a stream that another

// application still reads. Whoever finds them is not told to delete them.

// The same while the application runs: the shards of the new stream have the

// same names, and must not be taken for the old ones.

// And when fan-out is denied at the same time: that does not explain why a shard

// cannot be polled.

// And when nothing was read yet, so that no sequence number gives it away but

// those in the list of shards.

// the stream is deleted under a running worker. Its rows stay, and say

// nothing of an end.

// What made Run stop is not forgotten because a stop is asked for meanwhile.

func TestStopAfterAFailureKeepsTheError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a")
		w.shutdown = func(ctx context.Context, _ *processor, in kcl.ShutdownRequestedInput) error {
			time.Sleep(10 * time.Second)
			return in.Checkpointer.Checkpoint(ctx)
		}
		w.start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		r.deleteStream()
		r.eventually(5*time.Minute, "Run stops", func() bool { return w.Status().Phase == "stopping" })
		require.ErrorIs(t, w.stop(), kcl.ErrStreamNotFound)
	})
}

func isDone(w *worker) bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

func (r *rig) deleteStream() {
	r.t.Helper()
	_, err := r.admin.DeleteStream(r.t.Context(), &kinesis.DeleteStreamInput{
		StreamName:              aws.String(streamName),
		EnforceConsumerDeletion: aws.Bool(true),
	})
	require.NoError(r.t, err)
	time.Sleep(time.Second)
}

func (r *rig) recreate(shards int32) {
	r.t.Helper()
	r.deleteStream()
	_, err := r.admin.CreateStream(r.t.Context(), &kinesis.CreateStreamInput{
		StreamName: aws.String(streamName),
		ShardCount: &shards,
	})
	require.NoError(r.t, err)
	time.Sleep(time.Second)
	r.active()
}

// The consumer is deleted under a running worker: it is registered again.

// Several streams: keys carry the stream, and one that vanishes does not stop

// the others.

// A row of another library has no creation time: it is read, and gets one.

// vmware-go-kcl keeps one parent of a shard that was merged. The service

// knows the other one, and the shard waits for both.

// A row at LATEST that another library made gets the service's time, from which

// every later owner starts until there is a checkpoint: a record that arrives

// between two owners is not skipped.
