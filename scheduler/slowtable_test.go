package scheduler_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

// A lease table that is too slow for FailoverTime turns health red at once, and not
// only when a worker has died whose leases nobody takes.
func TestSlowLeaseTableIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		w := r.worker("a")
		slow := leasefault.Slow(8 * time.Second)
		w.faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "list" {
				return slow(ctx, call, apply)
			}
			return apply()
		})
		w.start()
		r.eventually(time.Minute, "all shards are read", func() bool { return r.owned() == 2 })
		require.ErrorContains(t, w.Healthy(), "takes 8s to list")
		w.faults.SetFault(nil)
		time.Sleep(30 * time.Second)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
	})
}

// A FailoverTime of a second cannot work with a table that takes 400 ms for each
// call, although both are allowed: the first rounds say so.
func TestFailoverTimeTooShortForTheTableIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		w := r.worker("a", func(c *scheduler.Config) { c.FailoverTime = time.Second })
		w.faults.SetFault(leasefault.Slow(400 * time.Millisecond))
		w.start()
		r.eventually(time.Minute, "ready", func() bool { return w.Status().Phase == "running" })
		time.Sleep(5 * time.Second)
		require.ErrorContains(t, w.Healthy(), "FailoverTime 1s")
		require.ErrorContains(t, w.Healthy(), "raise FailoverTime in all workers")
		require.NoError(t, w.stop())
	})
}

// By default a stop ends before Kubernetes kills the process, which it does after 30 s:
// whatever the processor does, and however slow the table is.
func TestStopEndsWithinTheGracePeriod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		w := r.worker("a")
		blocked := make(chan struct{})
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			p.take(in)
			<-ctx.Done()
			<-blocked
			return nil
		}
		r.put(keys(20)...)
		w.start()
		r.eventually(time.Minute, "a batch is in hand", func() bool { return r.audit.count() > 0 })
		w.faults.SetFault(leasefault.Slow(3 * time.Second))
		begun := time.Now()
		err := w.stop()
		require.Less(t, time.Since(begun), 28*time.Second)
		_, abandoned := errors.AsType[*leases.AbandonedError](err)
		require.True(t, abandoned, "%v", err)
		close(blocked)
	})
}

// A shard that nobody reads is told although most listings of the table fail.
func TestUnreadShardIsToldBetweenFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		w := r.worker("a", func(c *scheduler.Config) { c.MaxLeasesForWorker = 1 }).start()
		r.eventually(time.Minute, "one shard is read", func() bool { return r.owned() == 1 })
		var mu sync.Mutex // guards last
		var last time.Time
		w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "list" {
				mu.Lock()
				defer mu.Unlock() // apply waits for nothing
				if time.Since(last) < 11*time.Second {
					return errors.New("throttled")
				}
				last = time.Now()
			}
			return apply()
		})
		// The watchdog can miss each listing that succeeds, for two minutes: it looks at other times.
		time.Sleep(12 * time.Minute)
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
