package coordinator_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

// failover is the time within which the shards of a dead worker are read again, with the defaults.
const failover = 17500 * time.Millisecond

func TestColdStartTakesEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		f.start("a")
		time.Sleep(time.Second)
		f.requireBalance("a")
	})
}

func TestColdStartOfSeveralWorkersBalances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		for _, id := range []string{"a", "b", "c"} {
			f.start(id)
		}
		time.Sleep(15 * time.Second)
		f.requireBalance("a", "b", "c")
		f.reset()
		time.Sleep(5 * time.Minute)
		f.requireBalance("a", "b", "c")
		require.Zero(t, f.moves())
		require.Less(t, f.longestGap(), time.Second)
	})
}

func TestL01BalancedFleetIsQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		f.period = 10 * time.Second
		f.start("a")
		f.start("b")
		f.start("c")
		time.Sleep(time.Minute)
		f.reset()
		f.warned.take()
		time.Sleep(testsize.Pick(10*time.Minute, time.Hour, 24*time.Hour))
		f.requireBalance("a", "b", "c")
		require.Zero(t, f.moves())
		require.Zero(t, f.repeats())
		require.Empty(t, f.warned.take())
	})
}

func TestJoiningWorkerGetsItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		f.start("a")
		f.start("b")
		time.Sleep(time.Minute)
		f.reset()
		f.start("c")
		// Three scans, and the time in which an owner notices that it was asked.
		time.Sleep(3*2500*time.Millisecond + 2500*time.Millisecond + 500*time.Millisecond)
		f.requireBalance("a", "b", "c")
		require.LessOrEqual(t, f.moves(), 7)
		require.Zero(t, f.repeats(), "a graceful hand-over repeats nothing")
		require.Less(t, f.longestGap(), 4*time.Second)
	})
}

func TestLeavingWorkerReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 12)
		f.start("a")
		b := f.start("b")
		time.Sleep(time.Minute)
		f.requireBalance("a", "b")
		f.reset()
		begun := time.Now()
		b.stop()
		require.NoError(t, b.err)
		require.Less(t, time.Since(begun), time.Second)
		time.Sleep(3 * time.Second)
		f.requireBalance("a")
		require.Zero(t, f.repeats())
		require.Less(t, f.longestGap(), 3*time.Second)
	})
}

func TestKilledWorkerIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		f.start("a")
		b := f.start("b")
		f.start("c")
		time.Sleep(time.Minute)
		f.reset()
		b.kill()
		time.Sleep(failover)
		f.requireBalance("a", "c")
		require.LessOrEqual(t, f.longestGap(), failover)
		moved := f.moves()
		time.Sleep(10 * time.Minute)
		require.Equal(t, moved, f.moves(), "and then there is quiet")
	})
}

func TestL05AnyWorkerMayDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 21)
		ids := []string{"a", "b", "c", "d", "e", "f"}
		for _, id := range ids {
			f.start(id)
		}
		time.Sleep(time.Minute)
		// One after the other, each at another moment of the renewals.
		for i, id := range ids[:5] {
			f.reset()
			f.workers[id].kill()
			time.Sleep(failover + time.Duration(i)*700*time.Millisecond)
			require.LessOrEqual(t, f.longestGap(), failover, "after %s", id)
		}
		f.requireBalance("f")
	})
}

func TestSeveralKilledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 20)
		for _, id := range []string{"a", "b", "c", "d"} {
			f.start(id)
		}
		time.Sleep(time.Minute)
		f.reset()
		f.workers["a"].kill()
		time.Sleep(3 * time.Second)
		f.workers["b"].kill()
		time.Sleep(failover)
		f.requireBalance("c", "d")
		require.LessOrEqual(t, f.longestGap(), failover)
	})
}

// TestScansFollowFailoverTime shows that a larger FailoverTime means fewer listings, and a longer
// wait for the shards of a dead worker.
func TestScansFollowFailoverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 12)
		f.period = 5 * time.Second
		var lists atomic.Int32
		for _, id := range []string{"a", "b", "c"} {
			f.start(id, func(c *coordinator.Config) { c.FailoverTime = time.Minute }).faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
				if call.Op == "list" {
					lists.Add(1)
				}
				return apply()
			})
		}
		time.Sleep(5 * time.Minute)
		f.requireBalance("a", "b", "c")
		f.reset()
		lists.Store(0)
		time.Sleep(10 * time.Minute)
		require.InDelta(t, 3*10*4.5, lists.Load(), 3*10*0.6, "one in 12 to 15 seconds")
		require.Zero(t, f.moves())
		f.workers["a"].kill()
		time.Sleep(6 * failover)
		f.requireBalance("b", "c")
		require.LessOrEqual(t, f.longestGap(), 6*failover)
	})
}

func TestMaxLeasesForWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 10)
		f.start("a", maxLeases(4))
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a": 4, "": 6}, f.load())
		f.start("b", maxLeases(4))
		f.start("c", maxLeases(4))
		time.Sleep(time.Minute)
		f.requireBalance("a", "b", "c")
	})
}

func TestFinishedLeasesAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 6)
		for _, key := range []string{"shardId-000000000000", "shardId-000000000001"} {
			row, err := f.store.Get(t.Context(), key)
			require.NoError(t, err)
			f.finish(row)
		}
		f.start("a")
		f.start("b")
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a": 2, "b": 2, "": 2}, f.load())
	})
}

// Accept and the log may ask the coordinator: it holds no lock while it calls them.
func TestAcceptMayAskTheCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		var a *worker
		a = f.prepare("a", func(c *coordinator.Config) {
			c.Accept = func(l leases.Lease) bool {
				_, _ = a.coord.Lookup(l.Key)
				return a.coord.Err() == nil || len(a.coord.Leases()) > 0
			}
			c.Logger = slog.New(asks{c.Logger.Handler(), func() { _ = a.coord.Err() }})
		})
		a.run()
		time.Sleep(5 * time.Second)
		f.requireBalance("a")
		a.faults.SetFault(leasefault.Failing(errStore))
		time.Sleep(5 * time.Second)
		a.faults.SetFault(nil)
		time.Sleep(20 * time.Second)
		require.NoError(t, a.coord.Err())
	})
}

// asks is a handler of logs that calls a function for each line.
type asks struct {
	slog.Handler
	ask func()
}

func (a asks) Enabled(context.Context, slog.Level) bool { return true }

func (a asks) Handle(ctx context.Context, r slog.Record) error {
	a.ask()
	return a.Handler.Handle(ctx, r)
}

func (a asks) WithAttrs(attrs []slog.Attr) slog.Handler {
	return asks{a.Handler.WithAttrs(attrs), a.ask}
}
