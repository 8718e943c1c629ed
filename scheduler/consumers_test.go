package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// TestE14WorkersLeaveTheConsumer: workers stop and are killed, down to the
// last one. The stream consumer stays, because the others read through it.
func TestE14WorkersLeaveTheConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(4))
		fanOut := func(c *scheduler.Config) { c.RetrievalMode = scheduler.EFO }
		stops, dies, stays := r.worker("a", fanOut).start(), r.worker("b", fanOut).start(), r.worker("c", fanOut).start()
		r.eventually(2*time.Minute, "all shards are read", func() bool { return r.owned() == 4 })
		require.NoError(t, stops.stop())
		dies.kill()
		r.eventually(2*time.Minute, "one worker has all shards", func() bool { return r.owned() == 4 })
		r.put(keys(50)...)
		r.finished(time.Minute)
		require.NoError(t, stays.stop())
		require.Zero(t, r.srv.Calls("DeregisterStreamConsumer"))
	})
}

// TestE15TwoApplicationsOneConsumerName: the second one is told at its start.
func TestE15TwoApplicationsOneConsumerName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		fanOut := func(c *scheduler.Config) {
			c.RetrievalMode = scheduler.EFO
			c.Streams[0].ConsumerName = "shared"
		}
		first := r.worker("a", fanOut).start()
		r.eventually(time.Minute, "the shard is read", func() bool { return r.owned() == 1 })
		second := r.worker("b", fanOut, func(c *scheduler.Config) { c.Application = "another" })
		began := time.Now()
		require.ErrorIs(t, second.Run(t.Context()), efo.ErrConsumerTaken)
		require.Less(t, time.Since(began), 10*time.Second, "it does not pass by waiting")
		require.NoError(t, first.Healthy())
	})
}

// A ConsumerARN of another stream, which only the service can tell when the stream is given by name.
func TestConsumerOfAnotherStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, streamName, "bills"))
		arn, err := r.srv.RegisterConsumer("bills", "app")
		require.NoError(t, err)
		w := r.worker("a", func(c *scheduler.Config) {
			c.RetrievalMode = scheduler.EFO
			c.Streams[0].ConsumerARN = arn
		})
		began := time.Now()
		err = w.Run(t.Context())
		require.ErrorIs(t, err, kcl.ErrInvalidStream)
		require.ErrorContains(t, err, "is not a consumer of arn:aws:kinesis:us-east-1:000000000000:stream/orders")
		require.Less(t, time.Since(began), 10*time.Second, "it does not pass by waiting")
	})
}

// TestE15ConsumerTakenMeanwhile: the consumer is deleted, and another application registers the name first. The shard is polled.
func TestE15ConsumerTakenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a").start()
		r.produceUntil(time.Minute, "fanned out", func() bool { return r.owned() == 1 && w.reads(scheduler.EFO) })
		forbid := r.srv.Inject(kinesistest.Fault{Operation: "RegisterStreamConsumer", Do: []kinesistest.Action{kinesistest.Fail("LimitExceededException", "no")}})
		require.NoError(t, r.srv.DeleteConsumer(streamName, "app"))
		time.Sleep(10 * time.Second)
		arn, err := r.srv.RegisterConsumer(streamName, "app")
		require.NoError(t, err)
		_, err = r.admin.TagResource(t.Context(), &kinesis.TagResourceInput{ResourceARN: &arn, Tags: map[string]string{"kcl:application": "another"}})
		require.NoError(t, err)
		forbid()
		r.produceUntil(10*time.Minute, "polled", func() bool { return w.reads(scheduler.Polling) })
		for range 30 {
			r.produce(1, time.Minute, keys(3))
		}
		r.finished(time.Minute)
		require.NoError(t, w.Healthy())
		require.True(t, w.reads(scheduler.Polling))
		require.ErrorIs(t, w.shard(r.open()[0]).ModeErr, efo.ErrConsumerTaken)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}
