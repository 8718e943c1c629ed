package efo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/kinesistest"
)

func (w *world) register(name string) (string, error) {
	return efo.Register(context.Background(), w.client,
		efo.RegisterConfig{StreamARN: w.stream, ConsumerName: name, Logger: w.log})
}

// Many workers start at once: one consumer, one ARN, whatever the limits say.
func TestE11RegisterByManyWorkers(t *testing.T) {
	inBubble(t, kinesistest.Config{StateDelay: 5 * time.Second}, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		arns := make([]string, 30)
		for i := range arns {
			wg.Go(func() { // ends with Register
				arn, err := w.register("many")
				if err != nil {
					t.Error(err)
				}
				arns[i] = arn
			})
		}
		wg.Wait()
		for _, arn := range arns {
			require.NotEmpty(t, arn)
			require.Equal(t, arns[0], arn)
		}
	})
}

func TestE11LimitExceededPasses(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		remove := w.srv.Inject(kinesistest.Fault{
			Operation: "RegisterStreamConsumer",
			Do:        []kinesistest.Action{kinesistest.Fail("LimitExceededException", "five are being created")},
		})
		time.AfterFunc(3*time.Minute, remove)
		begin := time.Now()
		arn, err := w.register("late")
		require.NoError(t, err)
		require.Contains(t, arn, "/consumer/late:")
		require.InDelta(t, 185, time.Since(begin).Seconds(), 10)
	})
}

func TestE11LimitExceededForEver(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.srv.Inject(kinesistest.Fault{
			Operation: "RegisterStreamConsumer",
			Do:        []kinesistest.Action{kinesistest.Fail("LimitExceededException", "five are being created")},
		})
		begin := time.Now()
		_, err := w.register("never")
		require.ErrorContains(t, err, "five are being created")
		require.InDelta(t, 305, time.Since(begin).Seconds(), 10)
	})
}

// Who stops waiting is told what for.
func TestE11LimitExceededAndGivenUp(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		w.srv.Inject(kinesistest.Fault{
			Operation: "RegisterStreamConsumer",
			Do:        []kinesistest.Action{kinesistest.Fail("LimitExceededException", "five are being created")},
		})
		cause := errors.New("no more time")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, cause)
		defer cancel()
		_, err := efo.Register(ctx, w.client, efo.RegisterConfig{StreamARN: w.stream, ConsumerName: "never"})
		require.ErrorIs(t, err, cause)
		require.ErrorContains(t, err, "five are being created")
	})
}

// The stream has all the consumers that it may have: the error lists them.
func TestE11TooManyConsumers(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		for i := range 19 { // and app
			_, err := w.register(fmt.Sprintf("app-%02d", i))
			require.NoError(t, err)
		}
		begin := time.Now()
		_, err := w.register("one-more")
		require.ErrorIs(t, err, efo.ErrTooManyConsumers)
		require.ErrorContains(t, err, "has 20: app, app-00, app-01")
		require.ErrorContains(t, err, "app-18")
		require.Less(t, time.Since(begin), time.Minute)
	})
}

// Whatever the consumer's state is at the start, it is ACTIVE in the end.
func TestE12AndE27ConsumerStates(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(t *testing.T, w *world)
		sameARN bool
	}{
		"absent": {prepare: func(t *testing.T, w *world) {
			require.NoError(t, efo.Deregister(t.Context(), w.client, w.consumer))
			time.Sleep(time.Minute)
		}},
		"active": {prepare: func(*testing.T, *world) {}, sameARN: true},
		"deleting": {prepare: func(t *testing.T, w *world) {
			require.NoError(t,
				efo.Deregister(t.Context(), w.client, w.consumer))
		}},
		"creating": {prepare: func(t *testing.T, w *world) {
			require.NoError(t, efo.Deregister(t.Context(), w.client, w.consumer))
			time.Sleep(time.Minute)
			_, err := w.client.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{
				StreamARN:    &w.stream,
				ConsumerName: aws.String("app"),
			})
			require.NoError(t, err)
		}},
		"calls fail now and then": {sameARN: true, prepare: func(_ *testing.T, w *world) {
			w.srv.Inject(kinesistest.Fault{
				Operation: "DescribeStreamConsumer", Times: 1,
				Do: []kinesistest.Action{kinesistest.Fail("InternalFailure", "no")},
			})
			w.srv.Inject(kinesistest.Fault{
				Operation: "DescribeStreamConsumer", Times: 2,
				Do: []kinesistest.Action{kinesistest.Silence()},
			})
			w.srv.Inject(kinesistest.Fault{
				Operation: "DescribeStreamConsumer", Times: 3,
				Do: []kinesistest.Action{kinesistest.LoseAnswer()},
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, kinesistest.Config{StateDelay: 20 * time.Second}, func(t *testing.T, w *world) {
				time.Sleep(time.Second) // an ARN ends with the second of its registration
				test.prepare(t, w)
				arn, err := w.register("app")
				require.NoError(t, err)
				require.Equal(t, test.sameARN, arn == w.consumer)
				out, err := w.client.DescribeStreamConsumer(t.Context(), &kinesis.DescribeStreamConsumerInput{ConsumerARN: &arn})
				require.NoError(t, err)
				require.EqualValues(t, "ACTIVE", out.ConsumerDescription.ConsumerStatus)
			})
		})
	}
}

func TestE12NeverActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, kinesistest.Config{})
		w.srv.Inject(
			kinesistest.Fault{
				Operation: "RegisterStreamConsumer",
				Do:        []kinesistest.Action{kinesistest.Fail("ResourceInUseException", "the stream is UPDATING")},
			},
		)
		begin := time.Now()
		_, err := w.register("other")
		require.ErrorIs(t, err, efo.ErrConsumerNotReady)
		require.ErrorContains(t, err, "other")
		require.InDelta(t, efo.DefaultRegisterTimeout.Seconds(), time.Since(begin).Seconds(), 15)
	})
}

// Readers and registrations come and go. Only efo.Deregister removes the consumer.
func TestE14NobodyDeregisters(t *testing.T) {
	cfg := kinesistest.Config{Streams: []kinesistest.StreamConfig{{Name: "orders", Shards: 2}}}
	inBubble(t, cfg, func(t *testing.T, w *world) {
		w.srv.Inject(
			kinesistest.Fault{
				Operation: "SubscribeToShard",
				Shard:     shardID(0),
				Skip:      1,
				Do:        []kinesistest.Action{kinesistest.Fail("ResourceInUseException", "no")},
			},
		)
		leaver, stayer := w.start(w.config(), shardID(0), kcl.Position{}), w.start(w.config(), shardID(1), kcl.Position{})
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		_, err := efo.Register(ctx, w.client,
			efo.RegisterConfig{StreamARN: w.stream, ConsumerName: "given-up", Logger: w.log})
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, leaver.wait().err, context.Canceled)
		_, err = w.srv.PutToShard("orders", shardID(1), "k", []byte("x"))
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		require.Equal(t, []string{"x"}, stayer.wait().data)
		require.Zero(t, w.srv.Calls("DeregisterStreamConsumer"))
		arn, err := w.register("app")
		require.NoError(t, err)
		require.Equal(t, w.consumer, arn)
	})
}

// Register notices at the start that another application made a consumer of the same name. It needs
// the permissions to write and read tags.
func TestE15ConsumerOfAnotherApplication(t *testing.T) {
	for name, test := range map[string]struct {
		deny  []string
		fault kinesistest.Fault
		taken bool
	}{
		"told": {taken: true},
		"throttled": {taken: true, fault: kinesistest.Fault{
			Operation: "ListTagsForResource", Times: 3,
			Do: []kinesistest.Action{kinesistest.Fail("LimitExceededException", "no")},
		}},
		"never answered": {fault: kinesistest.Fault{
			Operation: "ListTagsForResource",
			Do:        []kinesistest.Action{kinesistest.Silence()},
		}},
		"always throttled": {fault: kinesistest.Fault{
			Operation: "ListTagsForResource",
			Do:        []kinesistest.Action{kinesistest.Fail("LimitExceededException", "no")},
		}},
		"tags not written": {deny: []string{"TagResource"}},
		"tags not read":    {deny: []string{"ListTagsForResource"}},
		"tags not known": {fault: kinesistest.Fault{
			Operation: "ListTagsForResource",
			Do:        []kinesistest.Action{kinesistest.Fail("UnknownOperationException", "no")},
		}},
		"parameter refused": {fault: kinesistest.Fault{
			Operation: "RegisterStreamConsumer", Times: 1,
			Do: []kinesistest.Action{kinesistest.Fail("ValidationException", "no")},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			deny := func(op, _ string) bool { return slices.Contains(test.deny, op) }
			inBubble(t, kinesistest.Config{Deny: deny}, func(t *testing.T, w *world) {
				if test.fault.Operation != "" {
					w.srv.Inject(test.fault)
				}
				as := func(application string) (string, error) {
					return efo.Register(t.Context(), w.client, efo.RegisterConfig{
						StreamARN: w.stream, ConsumerName: "shared", Application: application, Logger: w.log,
					})
				}
				first, err := as("billing")
				require.NoError(t, err)
				again, err := as("billing")
				require.NoError(t, err)
				require.Equal(t, first, again)
				arn, err := as("shipping")
				if !test.taken {
					require.NoError(t, err)
					require.Equal(t, first, arn)
					return
				}
				require.ErrorIs(t, err, efo.ErrConsumerTaken)
				require.ErrorContains(t, err, first)
				require.ErrorContains(t, err, `"billing"`)
				require.ErrorContains(t, err, "kcl:application")

				// A consumer that nobody has marked is anybody's.
				_, err = efo.Register(t.Context(), w.client,
					efo.RegisterConfig{StreamARN: w.stream, ConsumerName: "app", Application: "shipping", Logger: w.log})
				require.NoError(t, err)
			})
		})
	}
}

func TestRegisterErrors(t *testing.T) {
	for name, test := range map[string]struct {
		deny   string
		stream string
		name   string
		is     error
		says   []string
	}{
		"describe denied": {
			deny: "DescribeStreamConsumer", name: "x", is: kcl.ErrAccessDenied,
			says: []string{"kinesis:DescribeStreamConsumer"},
		},
		"register denied": {
			deny: "RegisterStreamConsumer", name: "x", is: kcl.ErrAccessDenied,
			says: []string{"kinesis:RegisterStreamConsumer"},
		},
		"stream missing": {
			stream: "arn:aws:kinesis:us-east-1:000000000000:stream/nothing", name: "x",
			is: kcl.ErrStreamNotFound, says: []string{"stream/nothing"},
		},
		"everything amiss": {
			stream: "orders", name: "a b", is: kcl.ErrInvalidStream,
			says: []string{"RegisterConfig.StreamARN", "RegisterConfig.ConsumerName"},
		},
		"deregister denied": {
			deny: "DeregisterStreamConsumer", is: kcl.ErrAccessDenied,
			says: []string{"kinesis:DeregisterStreamConsumer"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			denied := false
			cfg := kinesistest.Config{Deny: func(op, _ string) bool { return denied && op == test.deny }}
			inBubble(t, cfg, func(t *testing.T, w *world) {
				denied = true
				if test.stream != "" {
					w.stream = test.stream
				}
				var err error
				if test.name == "" {
					err = efo.Deregister(t.Context(), w.client, w.consumer)
				} else {
					_, err = w.register(test.name)
				}
				require.ErrorIs(t, err, test.is)
				for _, s := range test.says {
					require.ErrorContains(t, err, s)
				}
			})
		})
	}
}

func TestRegisterEndsWithItsContext(t *testing.T) {
	inBubble(t, kinesistest.Config{StateDelay: time.Minute}, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(kcl.ErrShutdownTimeout) })
		_, err := efo.Register(ctx, w.client, efo.RegisterConfig{StreamARN: w.stream, ConsumerName: "slow", Logger: w.log})
		require.ErrorIs(t, err, kcl.ErrShutdownTimeout)
	})
}
