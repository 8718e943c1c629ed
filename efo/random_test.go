package efo_test

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
)

var seed = flag.Uint64("seed", 0, "seed of TestRandomFaults; 0 takes a new one")

// Half of all subscribes and streams go wrong in random ways, for ten minutes:
// every record arrives exactly once and in order, and so does the end of the shard.
func TestRandomFaults(t *testing.T) {
	for i := range testsize.Pick(2, 6, 6) {
		s := *seed
		if s == 0 {
			s = rand.Uint64()
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Logf("rerun with -run '%s' -seed %d", t.Name(), s)
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, kinesistest.Config{HTTP1: s%3 == 0})
				var mu sync.Mutex // guards rng
				rng := rand.New(rand.NewPCG(s, 0))
				remove := w.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
					if c.Operation != "SubscribeToShard" {
						return nil
					}
					mu.Lock()
					defer mu.Unlock()
					if rng.IntN(2) == 0 {
						return nil
					}
					n := rng.IntN(40)
					return &kinesistest.Fault{Do: []kinesistest.Action{[]kinesistest.Action{
						kinesistest.Fail("LimitExceededException", "no"),
						kinesistest.Fail("ResourceInUseException", "no"),
						kinesistest.Fail("InternalFailure", "no"),
						kinesistest.Silence(),
						kinesistest.SilentAnswer(),
						kinesistest.LoseRequest(),
						kinesistest.LoseAnswer(),
						kinesistest.DelayAnswer(time.Duration(n) * time.Second),
						kinesistest.SlowStart(time.Duration(n) * time.Second),
						kinesistest.NoInitialResponse(),
						kinesistest.HoldSubscription(time.Duration(n) * time.Second),
						kinesistest.EndStream(kinesistest.AfterEvents(n)),
						kinesistest.EndStream(kinesistest.AfterBytes(200 * n)),
						kinesistest.ResetStream(kinesistest.AfterEvents(n)),
						kinesistest.ResetStream(kinesistest.AfterBytes(200 * n)),
						kinesistest.StallStream(kinesistest.AfterEvents(n)),
						kinesistest.StallStream(kinesistest.AfterBytes(200 * n)),
						kinesistest.SendException(n, "ResourceInUseException", "no"),
						kinesistest.SendException(n, "InternalFailureException", "no"),
						kinesistest.SendException(n, "KMSThrottlingException", "no"),
						kinesistest.SendError(n, "ServiceUnavailable", "no"),
						kinesistest.SendUnknownEvent(n),
						kinesistest.CorruptEvent(n),
						kinesistest.TruncateEvent(n),
						kinesistest.InflateEvent(n, 1<<20),
						kinesistest.SendFalseEnd(n, 0),
						kinesistest.SendFalseEnd(n, 5*time.Second),
					}[rng.IntN(27)]}}
				})
				cfg := w.config()
				cfg.Logger = slog.New(slog.DiscardHandler)
				r := w.start(cfg, shard0, kcl.Position{})
				for range 500 {
					w.write(1)
					time.Sleep(1200 * time.Millisecond)
				}
				w.split()
				remove()
				time.Sleep(3 * time.Minute)
				got := r.now()
				require.NoError(t, got.err)
				require.Equal(t, numbers(0, 500), got.data)
				require.Equal(t, 1, got.ends)
				<-r.done
			})
		})
	}
}
