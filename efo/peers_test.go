package efo_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/efo"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
)

// The tests of this file are for what other libraries get wrong and no test of scenarios_test.go
// has.

// The subscribe after the five minutes is refused a few times: the shard is kept, and its position.
func TestPE02RenewalRefused(t *testing.T) {
	for _, code := range []string{
		"ResourceInUseException", "LimitExceededException", "InternalFailure",
		"ServiceUnavailable",
	}[:testsize.Pick(2, 4, 4)] {
		t.Run(code, func(t *testing.T) {
			inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
				calls := w.subscribes()
				fault := onSubscribe(4, kinesistest.Fail(code, "no"))
				fault.Skip = 2 // the first, and its early renewal
				w.srv.Inject(fault)
				r := w.start(w.config(), shard0, kcl.Position{})
				for range 720 {
					w.write(1)
					time.Sleep(time.Second)
				}
				time.Sleep(30 * time.Second)
				require.NoError(t, r.now().err)
				require.Equal(t, numbers(0, 720), r.wait().data)
				all := calls()
				require.GreaterOrEqual(t, len(all), 7)
				for i := 1; i < len(all); i++ {
					require.GreaterOrEqual(t, all[i].at.Sub(all[i-1].at), time.Second, "the floor")
				}
			})
		})
	}
}

// Subscriptions that end before their first event are opened again at the same position. The waits
// grow and are never shorter than a second.
func TestPE03AndPE07EndedBeforeAnyEvent(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		calls := w.subscribes()
		remove := w.srv.Inject(onSubscribe(0, kinesistest.EndStream(kinesistest.AfterEvents(0))))
		w.write(1)
		cfg := w.config()
		r := w.start(cfg, shard0, kcl.Position{})
		time.Sleep(10 * time.Minute)
		all := calls()
		require.Less(t, len(all), 60)
		require.Greater(t, len(all), 15)
		for i, c := range all {
			require.Contains(t, c.body, "TRIM_HORIZON")
			if i > 0 {
				require.GreaterOrEqual(t, c.at.Sub(all[i-1].at), time.Second, "the floor")
			}
		}
		require.Greater(t, all[len(all)-1].at.Sub(all[len(all)-6].at), 5*efo.DefaultCallTimeout/4, "it has grown")
		remove()
		time.Sleep(time.Minute)
		require.Equal(t, numbers(0, 1), r.wait().data)
	})
}

// However often a fleet starts, it has one consumer.
func TestPE17RestartsRegisterNothingNew(t *testing.T) {
	inBubble(t, kinesistest.Config{}, func(t *testing.T, w *world) {
		for range 40 {
			arn, err := w.register("app")
			require.NoError(t, err)
			require.Equal(t, w.consumer, arn)
		}
		out, err := w.client.ListStreamConsumers(t.Context(), &kinesis.ListStreamConsumersInput{StreamARN: &w.stream})
		require.NoError(t, err)
		require.Len(t, out.Consumers, 1)
		require.Equal(t, 1, w.srv.Calls("RegisterStreamConsumer"))
	})
}

// Stopped while events are waiting: the batch in hand is the last one.
func TestPE18StopInABusyStream(t *testing.T) {
	inBubble(t, kinesistest.Config{DisableLimits: true}, func(t *testing.T, w *world) {
		for stop := 1; stop <= 20; stop++ {
			require.Equal(t, stop, w.readUntilLost(t, stop))
			time.Sleep(6 * time.Second)
		}
	})
}

// readUntilLost reads while records come every 10 ms, loses its lease inside
// the n-th batch and returns how many batches it got.
func (w *world) readUntilLost(t *testing.T, n int) (batches int) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() { // ends after its records
		for i := range 60 {
			w.writeData(fmt.Sprint(i))
			time.Sleep(10 * time.Millisecond)
		}
	})
	for b, err := range efo.NewSubscriber(w.config()).Batches(ctx, shard0, kcl.Position{}) {
		if err != nil {
			require.Equal(t, kcl.ErrLeaseLost, err)
			break
		}
		if len(b.Records) == 0 {
			continue
		}
		if batches++; batches == n {
			time.Sleep(100 * time.Millisecond) // ten more have come
			cancel(kcl.ErrLeaseLost)
		}
	}
	return batches
}
