package scheduler_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/scheduler"
)

var (
	seed  = flag.Uint64("seed", 0, "run the random histories from this seed on; 0 picks one")
	seeds = flag.Int("seeds", 6, "how many random histories to run")
)

// random splits and merges under load, with processors of random speed,
// workers that come, stop and are killed. Nothing is lost, the order of no key
// is broken, and only kills make duplicates.
func TestR01RandomHistories(t *testing.T) {
	t.Parallel()
	first := *seed
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	for i := range testsize.Pick(uint64(*seeds+2)/3, uint64(*seeds), uint64(*seeds)) {
		t.Run(fmt.Sprintf("seed %d", first+i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { randomHistory(t, first+i) })
		})
	}
}

func randomHistory(t *testing.T, seed uint64) {
	t.Logf("repeat with -run TestR01RandomHistories -seed %d -seeds 1", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	r := newRig(t, oneStream(1+rnd.IntN(3)))
	ks := keys(20)
	mode := scheduler.RetrievalMode(rnd.IntN(2))
	slowest := time.Duration(rnd.IntN(3000)) * time.Millisecond
	born, kills := 0, 0
	start := func() *worker {
		w := r.worker(fmt.Sprintf("w%d", born), func(c *scheduler.Config) { c.RetrievalMode = mode })
		born++
		pace := rand.New(rand.NewPCG(seed, uint64(born)))
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			r.mu.Lock()
			delay := time.Duration(pace.Int64N(int64(slowest) + 1))
			r.mu.Unlock()
			time.Sleep(delay)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		return w.start()
	}
	live := []*worker{start(), start()}
	for range 25 {
		switch n := rnd.IntN(10); {
		case n < 3:
			open := r.open()
			if len(open) < 6 {
				r.split(open[rnd.IntN(len(open))])
			}
		case n < 6:
			if open := r.open(); len(open) > 1 {
				at := rnd.IntN(len(open) - 1)
				r.merge(open[at], open[at+1])
			}
		case n == 6 && len(live) < 4:
			live = append(live, start())
		case n == 7 && len(live) > 1:
			at := rnd.IntN(len(live))
			require.NoError(t, live[at].stop())
			live = append(live[:at], live[at+1:]...)
		case n == 8 && len(live) > 1:
			at := rnd.IntN(len(live))
			live[at].kill()
			kills++
			live = append(live[:at], live[at+1:]...)
		}
		r.produce(rnd.IntN(3), time.Duration(rnd.IntN(2000))*time.Millisecond, ks)
	}
	r.finished(15 * time.Minute)
	time.Sleep(10 * time.Second) // for a worker that was started last
	for _, w := range live {
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
	}
	r.audit.check(kills * 1000)
}
