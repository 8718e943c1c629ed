package scheduler_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/scheduler"
)

// Ten workers that start together on 200 shards: all are read within three
// failover times, nobody has more than a fair share, nothing is lost.
func TestTenWorkersAnd200Shards(t *testing.T) {
	t.Parallel()
	shards, workers := testsize.Pick(60, 200, 200), testsize.Pick(6, 10, 10)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(shards))
		r.put(keys(1000)...)
		start := time.Now()
		for i := range workers {
			r.worker(fmt.Sprintf("w%d", i)).start()
		}
		r.eventually(3*scheduler.DefaultFailoverTime, "all shards are read", func() bool { return r.owned() == shards })
		t.Logf("all shards are read after %s", time.Since(start))
		r.put(keys(1000)...)
		r.finished(time.Minute)
		r.eventually(time.Minute, "balanced within one", func() bool {
			for _, w := range r.workers {
				if n := held(w); n < shards/workers-1 || n > shards/workers+1 {
					return false
				}
			}
			return true
		})
		r.workers[3].kill()
		r.put(keys(1000)...)
		r.finished(30 * time.Second)
		for i, w := range r.workers {
			if i != 3 {
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
			}
		}
		r.audit.check(1000 / workers * 2)
	})
}
