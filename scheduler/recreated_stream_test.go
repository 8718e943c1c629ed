package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/scheduler"
)

func TestR18StreamCreatedAgain(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		before := r.table()
		was := r.row(r.open()[0]).StreamCreated

		time.Sleep(time.Hour)
		r.recreate(2)
		r.put(keys(10)...)
		w = r.worker("b", mode).start()
		<-w.done
		require.ErrorIs(t, w.err, kcl.ErrStreamRecreated)
		require.ErrorContains(t, w.err, was.UTC().Format(time.RFC3339))
		require.ErrorContains(t, w.err, "delete its rows from the lease table, or use another table")
		require.ElementsMatch(t, before, r.table())
		require.Equal(t, 20, r.audit.count())
	})
}

func TestR18StreamCreatedAgainUnderARunningWorker(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		heal := r.srv.Partition("a") // so that it does not see the stream gone
		r.recreate(1)
		heal()
		r.eventually(5*time.Minute, "Run has ended", func() bool { return isDone(w) })
		require.ErrorIs(t, w.err, kcl.ErrStreamRecreated)
		rows := r.table()
		require.Len(t, rows, 2)
		for _, l := range rows {
			require.False(t, l.Finished(), "an end of shard was made up for %s", l.Key)
		}
	})
}

func TestR18StreamCreatedAgainWhileFanOutIsDenied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		w := r.worker("a", func(c *scheduler.Config) { c.ShardSyncInterval = time.Hour }).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		denies("SubscribeToShard")(r)
		r.srv.ResetConnections() // ends the subscriptions
		heal := r.srv.Partition("a")
		time.Sleep(time.Second)
		r.recreate(1)
		heal()
		r.eventually(5*time.Minute, "Run has ended", func() bool { return isDone(w) })
		require.ErrorIs(t, w.err, kcl.ErrStreamRecreated)
		for _, l := range r.table() {
			require.False(t, l.Finished(), "an end of shard was made up for %s", l.Key)
		}
	})
}

func TestR18IdleStreamCreatedAgain(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		w := r.worker("a", mode).start()
		r.eventually(10*time.Second, "both shards are read", func() bool { return r.owned() == 2 })
		heal := r.srv.Partition("a")
		r.recreate(2)
		heal()
		r.eventually(3*time.Minute, "Run has ended", func() bool { return isDone(w) })
		require.ErrorIs(t, w.err, kcl.ErrStreamRecreated)
	})
}

func TestR09StreamDeleted(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		r.deleteStream()
		r.eventually(5*time.Minute, "Run has ended", func() bool { return isDone(w) })
		require.ErrorIs(t, w.err, kcl.ErrStreamNotFound)
		rows := r.table()
		require.Len(t, rows, 2)
		for _, l := range rows {
			require.False(t, l.Finished())
			require.Empty(t, l.Owner)
		}
		r.audit.check(0)
	})
}

func TestDeletedConsumerIsRegisteredAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		w := r.worker("a").start()
		r.produce(2, time.Second, keys(10))
		arn := w.Status().Streams[0].ConsumerARN
		_, err := r.admin.DeregisterStreamConsumer(t.Context(), &kinesis.DeregisterStreamConsumerInput{ConsumerARN: &arn})
		require.NoError(t, err)
		r.produce(2, time.Second, keys(10))
		r.finished(2 * time.Minute)
		require.NotEqual(t, arn, w.Status().Streams[0].ConsumerARN)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

func TestSeveralStreams(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{
			{Name: streamName, Shards: 2},
			{Name: "bills", Shards: 1},
		}})
		two := func(c *scheduler.Config) {
			c.Streams = []scheduler.StreamConfig{{Name: "bills"}, {Name: streamName}}
		}
		w := r.worker("a", mode, two).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		rows := r.table()
		require.Len(t, rows, 3)
		for _, l := range rows {
			require.Regexp(t, `^000000000000:(orders|bills):\d+:shardId-\d{12}$`, l.Key)
		}
		require.NoError(t, w.Healthy())
		_, err := r.admin.DeleteStream(t.Context(), &kinesis.DeleteStreamInput{
			StreamName:              aws.String("bills"),
			EnforceConsumerDeletion: aws.Bool(true),
		})
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		require.Regexp(t, `stream 000000000000:bills:\d+ is no longer read`, w.Healthy().Error())
		r.split(r.open()[0])
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)

		single := r.worker("b", mode).start()
		<-single.done
		require.ErrorIs(t, single.err, leases.ErrForeignTable)
		require.ErrorContains(t, single.err, "several streams")
	})
}
