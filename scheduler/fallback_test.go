package scheduler_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
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
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/scheduler"
)

const (
	fellBack = "the shard is read by polling"
	returned = "enhanced fan-out works again"
)

// reads tells whether the worker reads every open shard that it processes in a mode.
func (w *worker) reads(mode scheduler.RetrievalMode) bool {
	n := 0
	streams := w.Status().Streams
	if len(streams) == 0 {
		return false
	}
	for _, sh := range streams[0].Shards {
		if sh.State != scheduler.StateProcessing {
			continue
		}
		if n++; sh.Mode != mode {
			return false
		}
	}
	return n > 0
}

// produceUntil produces until cond holds.
func (r *rig) produceUntil(within time.Duration, what string, cond func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(within); !cond(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("after %s still not: %s\n%s", within, what, r.dump())
		}
		r.produce(1, 2*time.Second, keys(6))
	}
}

func subscribeFails(do ...kinesistest.Action) func(*rig) func() {
	return func(r *rig) func() {
		return r.srv.Inject(kinesistest.Fault{Operation: "SubscribeToShard", Do: do})
	}
}

// denies has the service deny an operation to everybody.
func denies(operation string) func(*rig) func() {
	return func(r *rig) func() {
		return r.srv.Inject(kinesistest.Fault{
			Operation: operation,
			Do:        []kinesistest.Action{kinesistest.Fail("AccessDeniedException", "no")},
		})
	}
}

// Every reason that polling avoids: the shard is polled within the bound, goes
// back to fan-out once that works, and is told each time; no record is lost,
// and none comes twice.
func TestFallback(t *testing.T) {
	t.Parallel()
	const atOnce, bounded = 20 * time.Second, scheduler.DefaultFallbackAfter + 40*time.Second
	for name, tc := range testsize.Some(2, map[string]struct {
		breaks func(*rig) func()
		within time.Duration
	}{
		"SubscribeToShard is denied":     {denies("SubscribeToShard"), atOnce},
		"there is no SubscribeToShard":   {subscribeFails(kinesistest.Fail("UnknownOperationException", "")), atOnce},
		"the shard is in use":            {subscribeFails(kinesistest.Fail("ResourceInUseException", "another")), bounded},
		"the service fails":              {subscribeFails(kinesistest.Fail("InternalFailureException", "boom")), bounded},
		"subscribing is never answered":  {subscribeFails(kinesistest.Silence()), bounded},
		"subscribing is cut":             {subscribeFails(kinesistest.LoseRequest()), bounded},
		"streams are silent":             {subscribeFails(kinesistest.StallStream(kinesistest.AfterEvents(0))), bounded},
		"streams die before an event":    {subscribeFails(kinesistest.ResetStream(kinesistest.AfterBytes(40))), bounded},
		"streams end before an event":    {subscribeFails(kinesistest.EndStream(kinesistest.AfterEvents(0))), bounded},
		"streams end after an empty one": {subscribeFails(kinesistest.EndStream(kinesistest.AfterEvents(1))), bounded},
		"the consumer is gone, and no other may be registered": {func(r *rig) func() {
			allow := denies("RegisterStreamConsumer")(r)
			require.NoError(r.t, r.srv.DeleteConsumer(streamName, "app"))
			return allow
		}, atOnce},
		"another application has the consumer": {func(r *rig) func() {
			arn := r.workers[0].Status().Streams[0].ConsumerARN
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			for _, shard := range r.open() {
				wg.Go(func() { // ends with ctx
					sub := efo.NewSubscriber(efo.Config{Client: r.admin, StreamARN: r.srv.StreamARN(streamName), ConsumerARN: arn})
					for range sub.Batches(ctx, shard, kcl.Position{Kind: kcl.Latest}) {
						continue
					}
				})
			}
			return func() { cancel(); wg.Wait() }
		}, 5 * time.Minute},
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(2))
				log := r.capture()
				sink := newSeries()
				w := r.worker("a", func(c *scheduler.Config) { c.Metrics = metrics.New(sink) }).start()
				r.produce(5, 700*time.Millisecond, keys(6))
				require.True(t, w.reads(scheduler.EFO))

				repair := tc.breaks(r)
				r.srv.ResetConnections()
				time.Sleep(time.Second) // for the producer to notice
				began := time.Now()
				r.produceUntil(tc.within, "both shards are polled", func() bool { return w.reads(scheduler.Polling) })
				if tc.within == bounded {
					require.Greater(t, time.Since(began), 20*time.Second, "not at once: a hiccup is no reason")
				}
				r.produce(30, 700*time.Millisecond, keys(6))
				r.finished(5 * time.Second)
				require.NoError(t, w.Healthy())
				for _, id := range r.open() {
					sh := w.shard(id)
					require.Error(t, sh.ModeErr)
					require.NoError(t, sh.Err)
					require.Zero(t, sink.value(metrics.RetrievalMode, w.seriesStream(), id))
				}
				require.Equal(t, 2, log.count(fellBack), "once per shard")

				repair()
				r.produceUntil(20*time.Minute, "both shards are back", func() bool { return w.reads(scheduler.EFO) })
				r.produce(20, 700*time.Millisecond, keys(6))
				r.finished(5 * time.Second)
				require.NoError(t, w.Healthy())
				for _, id := range r.open() {
					require.NoError(t, w.shard(id).ModeErr)
					require.InDelta(t, 1, sink.value(metrics.RetrievalMode, w.seriesStream(), id), 0)
					require.InDelta(t, 1, sink.value(metrics.ModeChanges, w.seriesStream(), id, "polling"), 0)
					require.InDelta(t, 1, sink.value(metrics.ModeChanges, w.seriesStream(), id, "efo"), 0)
				}
				require.Equal(t, 2, log.count(fellBack))
				require.Equal(t, 2, log.count(returned))
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// At the start no consumer can be had: the stream is polled, and fanned out
// when one can be registered; with the fallback off, Run fails.
func TestFallbackOfRegistration(t *testing.T) {
	t.Parallel()
	for name, tc := range testsize.Some(2, map[string]struct {
		breaks func(*rig) func()
		want   error // with the fallback off; nil: it waits
	}{
		"RegisterStreamConsumer is denied": {denies("RegisterStreamConsumer"), kcl.ErrAccessDenied},
		"DescribeStreamConsumer is denied": {denies("DescribeStreamConsumer"), kcl.ErrAccessDenied},
		"the stream has all its consumers": {func(r *rig) func() {
			for i := range 20 {
				_, err := r.srv.RegisterConsumer(streamName, fmt.Sprint("other", i))
				require.NoError(r.t, err)
			}
			return func() { require.NoError(r.t, r.srv.DeleteConsumer(streamName, "other7")) }
		}, efo.ErrTooManyConsumers},
		"registering is never answered": {func(r *rig) func() {
			return r.srv.Inject(kinesistest.Fault{
				Operation: "RegisterStreamConsumer",
				Do:        []kinesistest.Action{kinesistest.Silence()},
			})
		}, nil},
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(2))
				log := r.capture()
				repair := tc.breaks(r)
				off := r.worker("off", func(c *scheduler.Config) { c.Fallback = scheduler.FallbackOff }).start()
				w := r.worker("a").start()
				r.eventually(2*time.Minute, "the worker is running", func() bool { return w.Status().Phase == "running" })
				r.produceUntil(30*time.Second, "both shards are polled", func() bool { return w.reads(scheduler.Polling) })
				require.Error(t, w.shard(r.open()[0]).ModeErr)
				require.Empty(t, w.Status().Streams[0].ConsumerARN)
				r.finished(5 * time.Second)
				require.NoError(t, w.Healthy())
				if tc.want != nil {
					require.ErrorIs(t, w.shard(r.open()[0]).ModeErr, tc.want)
					<-off.done
					require.ErrorIs(t, off.err, tc.want)
				} else {
					require.Equal(t, "starting", off.Status().Phase)
					require.NoError(t, off.stop())
				}

				repair()
				r.produceUntil(25*time.Minute, "both shards are fanned out", func() bool { return w.reads(scheduler.EFO) })
				r.produce(10, 700*time.Millisecond, keys(6))
				r.finished(5 * time.Second)
				require.NotEmpty(t, w.Status().Streams[0].ConsumerARN)
				require.Equal(t, 2, log.count(fellBack))
				require.Equal(t, 2, log.count(returned))
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// What polling does not avoid changes nothing: an outage, a disabled key, and
// polling that is denied too, which is an error that names both permissions.
func TestNoFallback(t *testing.T) {
	t.Parallel()
	all := func(r *rig, action kinesistest.Action) func() {
		return r.srv.Inject(kinesistest.Fault{When: func(c *kinesistest.Call) bool {
			return c.Client == "a" && (c.Operation == "SubscribeToShard" || c.Operation == "GetShardIterator" ||
				c.Operation == "GetRecords")
		}, Do: []kinesistest.Action{action}})
	}
	for name, tc := range map[string]struct {
		breaks func(*rig) func()
		err    error
	}{
		"outage": {func(r *rig) func() { return r.srv.Partition("a") }, nil},
		"all reading fails": {
			func(r *rig) func() { return all(r, kinesistest.Fail("InternalFailureException", "boom")) },
			nil,
		},
		"key disabled": {subscribeFails(kinesistest.Fail("KMSDisabledException", "no key")), nil},
		"all denied": {
			func(r *rig) func() { return all(r, kinesistest.Fail("AccessDeniedException", "no")) },
			kcl.ErrAccessDenied,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				log := r.capture()
				w := r.worker("a").start()
				r.produce(5, time.Second, keys(3))
				repair := tc.breaks(r)
				r.srv.ResetConnections()
				time.Sleep(time.Second)
				r.produce(10, time.Minute, keys(3))
				err := w.Healthy()
				require.Error(t, err)
				if tc.err != nil {
					require.ErrorIs(t, err, tc.err)
					require.ErrorContains(t, err, "allow kinesis:SubscribeToShard on ")
					require.ErrorContains(t, err, "allow kinesis:GetShardIterator on ")
				}
				require.True(t, w.reads(scheduler.EFO))
				require.Zero(t, log.count(fellBack))
				repair()
				r.finished(2 * time.Minute)
				time.Sleep(2 * time.Minute)
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// While its shards are polled, a worker splits, hands over and dies as ever.
func TestFallbackThroughReshardAndHandover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		denies("SubscribeToShard")(r)
		a := r.worker("a").start()
		r.produceUntil(time.Minute, "polled", func() bool { return a.reads(scheduler.Polling) && r.owned() == 2 })
		parent := r.open()[0]
		left, right := r.split(parent)
		r.produceUntil(time.Minute, "the children are polled", func() bool {
			return r.row(parent).Finished() && a.shard(left).Mode == scheduler.Polling &&
				a.shard(right).Mode == scheduler.Polling
		})
		b := r.worker("b").start()
		r.produceUntil(2*time.Minute, "b polls some", func() bool { return b.reads(scheduler.Polling) && r.owned() == 3 })
		r.finished(5 * time.Second)
		require.NoError(t, a.stop())
		r.produceUntil(time.Minute, "b polls all", func() bool { return r.owned() == 3 && b.reads(scheduler.Polling) })
		r.finished(5 * time.Second)
		r.audit.check(0)
		b.kill()
		c := r.worker("c").start()
		r.produceUntil(2*time.Minute, "c polls all", func() bool { return r.owned() == 3 && c.reads(scheduler.Polling) })
		r.finished(10 * time.Second)
		require.NoError(t, c.stop())
		r.audit.check(20) // of the batch that b died in
	})
}

// Whatever fan-out does in six hours, a shard changes its mode 25 times at most:
// it returns 4 times in the first 75 minutes, once an hour then, and anew only
// after fan-out has held for an hour.
func TestFallbackDoesNotFlap(t *testing.T) {
	t.Parallel()
	const bound = 25
	for name, holds := range testsize.Some(1, map[string]func() time.Duration{
		// How long fan-out works after each return.
		"a few seconds": func() time.Duration { return 2 * time.Second },
		"at random":     func() time.Duration { return rand.N(2 * time.Hour) },
		"an hour":       func() time.Duration { return time.Hour + time.Minute },
		"five hours":    func() time.Duration { return 5 * time.Hour },
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				log := r.capture()
				var broken atomic.Bool
				r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
					if c.Operation == "SubscribeToShard" && broken.Load() {
						return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Fail("AccessDeniedException", "no")}}
					}
					return nil
				})
				w := r.worker("a").start()
				r.produceUntil(time.Minute, "fanned out", func() bool { return r.owned() == 1 })
				lasts := testsize.Pick(30*time.Minute, time.Hour, 6*time.Hour)
				switch name {
				case "at random":
					lasts = max(lasts, 3*time.Hour) // the first of two changes comes within two hours
				case "five hours", "an hour":
					lasts = 6 * time.Hour
				}
				for end := time.Now().Add(lasts); time.Now().Before(end); {
					time.Sleep(min(holds(), time.Until(end)))
					broken.Store(true)
					r.srv.ResetConnections()
					time.Sleep(time.Second)
					r.produceUntil(time.Minute, "polled", func() bool { return w.reads(scheduler.Polling) })
					broken.Store(false)
					for w.reads(scheduler.Polling) && time.Now().Before(end) {
						r.produce(1, 20*time.Second, keys(2))
					}
				}
				changes := log.count(fellBack) + log.count(returned)
				t.Logf("%d changes", changes)
				require.Greater(t, changes, 1)
				require.LessOrEqual(t, changes, bound)
				r.finished(time.Minute)
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// A consumer whose ARN was given is not registered again: the shard is polled.
func TestFallbackFromAGivenConsumer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		arn, err := r.srv.RegisterConsumer(streamName, "given")
		require.NoError(t, err)
		w := r.worker("a", func(c *scheduler.Config) { c.Streams[0].ConsumerARN = arn }).start()
		r.produce(5, time.Second, keys(3))
		require.True(t, w.reads(scheduler.EFO))
		_, err = r.admin.DeregisterStreamConsumer(t.Context(),
			&kinesis.DeregisterStreamConsumerInput{ConsumerARN: aws.String(arn)})
		require.NoError(t, err)
		r.produceUntil(time.Minute, "polled", func() bool { return w.reads(scheduler.Polling) })
		require.ErrorIs(t, w.shard(r.open()[0]).ModeErr, efo.ErrConsumerNotFound)
		r.produce(600, time.Second, keys(3)) // over two probes
		r.finished(5 * time.Second)
		require.True(t, w.reads(scheduler.Polling))
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// While a shard is polled, polling breaks and fan-out works again: the shard does not wait for its
// next try of fan-out, which may be an hour away.
func TestFallbackEndsWhenPollingFails(t *testing.T) {
	t.Parallel()
	for name, action := range testsize.Some(1, map[string]kinesistest.Action{
		"is denied": kinesistest.Fail("AccessDeniedException", "no"),
		"fails":     kinesistest.Fail("InternalFailureException", "boom"),
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				shards := testsize.Pick(1, 2, 2)
				r := newRig(t, oneStream(shards))
				log := r.capture()
				fanOut := denies("SubscribeToShard")(r)
				w := r.worker("a").start()
				r.produceUntil(time.Minute, "polled", func() bool { return r.owned() == shards && w.reads(scheduler.Polling) })
				r.produce(45, time.Minute, keys(4)) // three failed tries: the next is half an hour away
				require.True(t, w.reads(scheduler.Polling))

				polls := r.srv.Inject(kinesistest.Fault{Operation: "GetRecords", Do: []kinesistest.Action{action}})
				r.produce(20, 15*time.Second, keys(4))
				require.True(t, w.reads(scheduler.Polling), "neither works")
				require.Error(t, w.Healthy())
				fanOut()
				r.produceUntil(scheduler.DefaultFallbackAfter+time.Minute, "fanned out",
					func() bool { return w.reads(scheduler.EFO) })
				r.finished(10 * time.Second)
				require.NoError(t, w.Healthy())
				require.Equal(t, shards, log.count(fellBack))
				require.Equal(t, shards, log.count(returned))
				polls()
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}
