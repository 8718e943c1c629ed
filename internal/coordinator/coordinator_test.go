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
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

// failover is the time within which the shards of a dead worker are read again, with the defaults.
const failover = 17500 * time.Millisecond

func TestColdStartTakesEverythingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 20)
		f.Start("a")
		time.Sleep(time.Second)
		f.RequireBalance("a")
	})
}

func TestColdStartOfSeveralWorkersBalances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 20)
		for _, id := range []string{"a", "b", "c"} {
			f.Start(id)
		}
		time.Sleep(15 * time.Second)
		f.RequireBalance("a", "b", "c")
		f.Reset()
		time.Sleep(5 * time.Minute)
		f.RequireBalance("a", "b", "c")
		require.Zero(t, f.Moves())
		require.Less(t, f.LongestGap(), time.Second)
	})
}

func TestL01BalancedFleetIsQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 20)
		f.Period = 10 * time.Second
		f.Start("a")
		f.Start("b")
		f.Start("c")
		time.Sleep(time.Minute)
		f.Reset()
		f.Warned.Take()
		time.Sleep(testsize.Pick(10*time.Minute, time.Hour, 24*time.Hour))
		f.RequireBalance("a", "b", "c")
		require.Zero(t, f.Moves())
		require.Zero(t, f.Repeats())
		require.Empty(t, f.Warned.Take())
	})
}

func TestJoiningWorkerGetsItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 20)
		f.Start("a")
		f.Start("b")
		time.Sleep(time.Minute)
		f.Reset()
		f.Start("c")
		// Three scans, and the time in which an owner notices that it was asked.
		time.Sleep(3*2500*time.Millisecond + 2500*time.Millisecond + 500*time.Millisecond)
		f.RequireBalance("a", "b", "c")
		require.LessOrEqual(t, f.Moves(), 7)
		require.Zero(t, f.Repeats(), "a graceful hand-over repeats nothing")
		require.Less(t, f.LongestGap(), 4*time.Second)
	})
}

func TestLeavingWorkerReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 12)
		f.Start("a")
		b := f.Start("b")
		time.Sleep(time.Minute)
		f.RequireBalance("a", "b")
		f.Reset()
		begun := time.Now()
		b.Stop()
		require.NoError(t, b.Err)
		require.Less(t, time.Since(begun), time.Second)
		time.Sleep(3 * time.Second)
		f.RequireBalance("a")
		require.Zero(t, f.Repeats())
		require.Less(t, f.LongestGap(), 3*time.Second)
	})
}

func TestKilledWorkerIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 20)
		f.Start("a")
		b := f.Start("b")
		f.Start("c")
		time.Sleep(time.Minute)
		f.Reset()
		b.Kill()
		time.Sleep(failover)
		f.RequireBalance("a", "c")
		require.LessOrEqual(t, f.LongestGap(), failover)
		moved := f.Moves()
		time.Sleep(testsize.Pick(2*time.Minute, 10*time.Minute, 10*time.Minute))
		require.Equal(t, moved, f.Moves(), "and then there is quiet")
	})
}

func TestL05AnyWorkerMayDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 21)
		ids := []string{"a", "b", "c", "d", "e", "f"}
		for _, id := range ids {
			f.Start(id)
		}
		time.Sleep(time.Minute)
		// One after the other, each at another moment of the renewals.
		for i, id := range ids[:5] {
			f.Reset()
			f.Workers[id].Kill()
			time.Sleep(failover + time.Duration(i)*700*time.Millisecond)
			require.LessOrEqual(t, f.LongestGap(), failover, "after %s", id)
		}
		f.RequireBalance("f")
	})
}

func TestSeveralKilledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 20)
		for _, id := range []string{"a", "b", "c", "d"} {
			f.Start(id)
		}
		time.Sleep(time.Minute)
		f.Reset()
		f.Workers["a"].Kill()
		time.Sleep(3 * time.Second)
		f.Workers["b"].Kill()
		time.Sleep(failover)
		f.RequireBalance("c", "d")
		require.LessOrEqual(t, f.LongestGap(), failover)
	})
}

// TestScansFollowFailoverTime shows that a larger FailoverTime means fewer listings, and a longer
// wait for the shards of a dead worker.
func TestScansFollowFailoverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 12)
		f.Period = 5 * time.Second
		var lists atomic.Int32
		for _, id := range []string{"a", "b", "c"} {
			w := f.Start(id, func(c *coordinator.Config) { c.FailoverTime = time.Minute })
			w.Faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
				if call.Op == "list" {
					lists.Add(1)
				}
				return apply()
			})
		}
		time.Sleep(5 * time.Minute)
		f.RequireBalance("a", "b", "c")
		f.Reset()
		lists.Store(0)
		time.Sleep(10 * time.Minute)
		require.InDelta(t, 3*10*4.5, lists.Load(), 3*10*0.6, "one in 12 to 15 seconds")
		require.Zero(t, f.Moves())
		f.Workers["a"].Kill()
		time.Sleep(6 * failover)
		f.RequireBalance("b", "c")
		require.LessOrEqual(t, f.LongestGap(), 6*failover)
	})
}

func TestMaxLeasesForWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 10)
		f.Start("a", maxLeases(4))
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a": 4, "": 6}, f.Load())
		f.Start("b", maxLeases(4))
		f.Start("c", maxLeases(4))
		time.Sleep(time.Minute)
		f.RequireBalance("a", "b", "c")
	})
}

func TestFinishedLeasesAreLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 6)
		for _, key := range []string{"shardId-000000000000", "shardId-000000000001"} {
			row, err := f.Store.Get(t.Context(), key)
			require.NoError(t, err)
			finish(f, row)
		}
		f.Start("a")
		f.Start("b")
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"a": 2, "b": 2, "": 2}, f.Load())
	})
}

// Accept and the log may ask the coordinator: it holds no lock while it calls them.
func TestAcceptMayAskTheCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 3)
		var a *fleettest.Worker
		a = f.Prepare("a", func(c *coordinator.Config) {
			c.Accept = func(l leases.Lease) bool {
				_, _ = a.Coordinator.Lookup(l.Key)
				return a.Coordinator.Err() == nil || len(a.Coordinator.Leases()) > 0
			}
			c.Logger = slog.New(asks{c.Logger.Handler(), func() { _ = a.Coordinator.Err() }})
		})
		a.Run()
		time.Sleep(5 * time.Second)
		f.RequireBalance("a")
		a.Faults.SetFault(leasefault.Failing(errStore))
		time.Sleep(5 * time.Second)
		a.Faults.SetFault(nil)
		time.Sleep(20 * time.Second)
		require.NoError(t, a.Coordinator.Err())
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
