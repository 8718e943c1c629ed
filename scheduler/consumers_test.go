package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/memory"
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
		second := r.worker("b", fanOut, func(c *scheduler.Config) { c.Application, c.Leases = "another", memory.New() })
		began := time.Now()
		require.ErrorIs(t, second.Run(t.Context()), efo.ErrConsumerTaken)
		require.Less(t, time.Since(began), 10*time.Second, "it does not pass by waiting")
		require.NoError(t, first.Healthy())
	})
}

// A ConsumerARN of another stream, which only the service can tell when the stream is given by
// name.
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
		require.ErrorContains(t, err, "is no consumer of arn:aws:kinesis:us-east-1:000000000000:stream/orders")
		require.Less(t, time.Since(began), 10*time.Second, "it does not pass by waiting")
	})
}

// TestE15ConsumerTakenMeanwhile: the consumer is deleted, and another application registers the
// name first. The shard is polled.
func TestE15ConsumerTakenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a").start()
		r.produceUntil(time.Minute, "fanned out", func() bool { return r.owned() == 1 && w.reads(scheduler.EFO) })
		forbid := r.srv.Inject(kinesistest.Fault{
			Operation: "RegisterStreamConsumer",
			Do:        []kinesistest.Action{kinesistest.Fail("LimitExceededException", "no")},
		})
		require.NoError(t, r.srv.DeleteConsumer(streamName, "app"))
		time.Sleep(10 * time.Second)
		arn, err := r.srv.RegisterConsumer(streamName, "app")
		require.NoError(t, err)
		_, err = r.admin.TagResource(t.Context(), &kinesis.TagResourceInput{
			ResourceARN: &arn,
			Tags:        map[string]string{"kcl:application": "another"},
		})
		require.NoError(t, err)
		forbid()
		r.produceUntil(10*time.Minute, "polled", func() bool { return w.reads(scheduler.Polling) })
		for range testsize.Pick(12, 30, 30) {
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

// TestE13E26ManyShardsAskOnce: the consumer is deleted under the shards of two workers, and later
// none of them can subscribe for minutes. One shard of a worker asks for all what became of the
// consumer, and one registers it again: not a call for each shard, as the service answers 20
// descriptions a second for a whole account.
func TestE13E26ManyShardsAskOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const minutes = 2
		shards := testsize.Pick(4, 12, 60)
		r := newRig(t, oneStream(shards))
		a, b := r.worker("a").start(), r.worker("b").start()
		time.Sleep(2 * time.Minute)
		require.True(t, r.owned() == shards && a.reads(scheduler.EFO) && b.reads(scheduler.EFO))
		ks := keys(testsize.Pick(20, 200, 200))
		r.produce(10, time.Second, ks)

		asked := func() int { return r.srv.Calls("DescribeStreamConsumer") + r.srv.Calls("DescribeStreamSummary") }
		before, registered := asked(), r.srv.Calls("RegisterStreamConsumer")
		require.NoError(t, r.srv.DeleteConsumer(streamName, "app"))
		r.produce(60, time.Second, ks)
		require.True(t, a.reads(scheduler.EFO) && b.reads(scheduler.EFO), "through a new consumer")
		require.LessOrEqual(t, asked()-before, 2*10)
		require.LessOrEqual(t, r.srv.Calls("RegisterStreamConsumer")-registered, 2*2)
		out, err := r.admin.ListStreamConsumers(t.Context(),
			&kinesis.ListStreamConsumersInput{StreamARN: aws.String(r.srv.StreamARN(streamName))})
		require.NoError(t, err)
		require.Len(t, out.Consumers, 1)

		before = asked()
		repair := subscribeFails(kinesistest.Fail("InternalFailureException", "boom"))(r)
		r.srv.ResetConnections()
		time.Sleep(time.Second) // for the producer to notice
		r.produce(minutes*60/5, 5*time.Second, ks)
		require.LessOrEqual(t, asked()-before, 2*minutes*60/5, "once in five seconds and worker at most")
		repair()
		r.produceUntil(20*time.Minute, "fanned out", func() bool { return a.reads(scheduler.EFO) && b.reads(scheduler.EFO) })
		r.finished(time.Minute)
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
		r.audit.check(0)
	})
}

// TestE28StopWhileRegisteringAgain: the consumer is gone, and registering another is limited for
// minutes; a stop does not wait for that.
func TestE28StopWhileRegisteringAgain(t *testing.T) {
	t.Parallel()
	for _, fallback := range []scheduler.Fallback{scheduler.FallbackPolling, scheduler.FallbackOff} {
		t.Run(map[scheduler.Fallback]string{scheduler.FallbackOff: "off", scheduler.FallbackPolling: "polling"}[fallback],
			func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, oneStream(3))
					w := r.worker("a", func(c *scheduler.Config) { c.Fallback = fallback }).start()
					r.eventually(time.Minute, "fanned out", func() bool { return r.owned() == 3 && w.reads(scheduler.EFO) })
					r.srv.Inject(kinesistest.Fault{
						Operation: "RegisterStreamConsumer",
						Do:        []kinesistest.Action{kinesistest.Fail("LimitExceededException", "no")},
					})
					require.NoError(t, r.srv.DeleteConsumer(streamName, "app"))
					time.Sleep(20 * time.Second)
					began := time.Now()
					require.NoError(t, w.stop())
					require.Less(t, time.Since(began), 5*time.Second)
				})
			})
	}
}
