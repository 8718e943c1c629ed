package scheduler_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/scheduler"
)

// A lease table that is too slow for FailoverTime turns health red at once, and not
// only when a worker has died whose leases nobody takes.
func TestSlowLeaseTableIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		w := r.worker("a")
		slow := memory.Slow(8 * time.Second)
		w.store.SetFault(func(ctx context.Context, call memory.Call, apply func() error) error {
			if call.Op == "list" {
				return slow(ctx, call, apply)
			}
			return apply()
		})
		w.start()
		r.eventually(time.Minute, "all shards are read", func() bool { return r.owned() == 2 })
		require.ErrorContains(t, w.Healthy(), "takes 8s to list")
		w.store.SetFault(nil)
		time.Sleep(30 * time.Second)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
	})
}

// A shard that nobody reads is told although most listings of the table fail.
func TestUnreadShardIsToldBetweenFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		w := r.worker("a", func(c *scheduler.Config) { c.MaxLeasesForWorker = 1 }).start()
		r.eventually(time.Minute, "one shard is read", func() bool { return r.owned() == 1 })
		var last time.Time
		w.store.SetFault(func(_ context.Context, call memory.Call, apply func() error) error {
			if call.Op == "list" {
				if time.Since(last) < 11*time.Second {
					return errors.New("throttled")
				}
				last = time.Now()
			}
			return apply()
		})
		time.Sleep(6 * time.Minute)
		require.Len(t, w.stalls(), 1)
		require.Equal(t, scheduler.LayerLease, w.stalls()[0].Layer)
		require.NoError(t, w.stop())
	})
}

// With a long FailoverTime leases are renewed seldom, and that is no stall.
func TestLongFailoverTimeIsHealthy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(4))
		long := func(c *scheduler.Config) { c.FailoverTime = 15 * time.Minute }
		workers := []*worker{r.worker("a", long).start(), r.worker("b", long).start()}
		time.Sleep(15 * time.Minute)
		for range 60 {
			time.Sleep(time.Minute)
			for _, w := range workers {
				require.NoError(t, w.Healthy())
			}
		}
		for _, w := range workers {
			require.NoError(t, w.stop())
		}
	})
}
