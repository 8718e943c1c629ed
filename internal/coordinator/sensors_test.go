package coordinator_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
)

// cpuOf is a sensor that shows the value of load.
func cpuOf(load *atomic.Int64) func(*coordinator.Config) {
	return func(c *coordinator.Config) {
		c.CPU = func() (float64, bool) { return float64(load.Load()), true }
	}
}

// statsOf returns the report of a worker.
func statsOf(f *fleettest.KCL3Fleet, id string) leases.WorkerMetrics {
	workers, _, err := f.Table.Fleet().Workers(f.T.Context())
	require.NoError(f.T, err)
	for _, w := range workers {
		if w.Worker == id {
			return w
		}
	}
	return leases.WorkerMetrics{}
}

// One of two Java workers is all but overloaded. The leader, a worker of this library, does not
// know its own CPU.
func TestLeaderWithoutASensorHeedsTheCPUOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, testsize.Pick(12, 12, 18))
		f.Period = testsize.Pick(time.Minute, 2*time.Second, 2*time.Second)
		f.Is3x()
		f.Start("go")
		var busy, idle atomic.Int64
		busy.Store(50)
		idle.Store(50)
		f.Java("busy", func(j *fleettest.JavaWorker) { j.CPU = &busy })
		f.Java("idle", func(j *fleettest.JavaWorker) { j.CPU = &idle })
		time.Sleep(15 * time.Minute)
		require.Equal(t, "go", f.Leader())
		before := f.Load()
		f.RequireBalance("busy", "go", "idle")

		busy.Store(95)
		idle.Store(5)
		time.Sleep(20 * time.Minute)
		after := f.Load()
		require.LessOrEqual(t, after["busy"], before["busy"]-2, "%v, %v", before, after)
		require.GreaterOrEqual(t, after["idle"], before["idle"]+2, "%v, %v", before, after)
		require.InDelta(t, before["go"], after["go"], 1)
	})
}

// Workers on one machine report the same CPU. A new one gets its share all the same.
func TestNewWorkerOnTheSameMachine(t *testing.T) {
	t.Parallel()
	for _, percent := range []int64{1, 40} {
		if testing.Short() && percent == 40 {
			continue
		}
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.NewKCL3(t, testsize.Pick(6, 12, 12))
				f.Is3x()
				var machine atomic.Int64
				machine.Store(percent)
				f.Start("a", cpuOf(&machine))
				time.Sleep(5 * time.Minute)
				f.Start("b", cpuOf(&machine))
				time.Sleep(5 * time.Minute)
				f.RequireBalance("a", "b")
			})
		})
	}
}

// A worker reports the last ten values of its CPU, none while its sensor has no value, and its
// limits.
func TestReportOfAWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 1)
		f.Is3x()
		var n atomic.Int64
		var fails atomic.Bool
		f.Start("a", maxLeases(7), func(c *coordinator.Config) {
			c.ShutdownTimeout = 90*time.Second + time.Millisecond
			c.CPU = func() (float64, bool) {
				switch i := n.Add(1); {
				case fails.Load():
					panic("no such file")
				case i == 1:
					return 0, false // since when?
				default:
					return float64(100 + i - 3), true
				}
			}
		})
		f.Start("b")
		time.Sleep(10 * time.Second)
		require.Empty(t, statsOf(f, "a").Stats)
		time.Sleep(20 * time.Second)
		a := statsOf(f, "a")
		require.Equal(t, map[string][]float64{"C": {99}}, a.Stats)
		require.Equal(t, map[string][]float64{"C": {100}}, a.Range)
		require.Equal(t, 7, a.MaxLeases)
		require.Equal(t, 92*time.Second, a.Handover)
		require.Equal(t, -1, statsOf(f, "b").MaxLeases)
		require.Empty(t, statsOf(f, "b").Stats)
		time.Sleep(5 * time.Minute)
		require.Len(t, statsOf(f, "a").Stats["C"], 10)
		require.InDelta(t, 100, statsOf(f, "a").Stats["C"][9], 0, "never more")
		fails.Store(true)
		time.Sleep(time.Minute)
		require.Empty(t, statsOf(f, "a").Stats)
	})
}

// LEASE_COUNT_BASED: the number of leases is evened out, whatever the CPUs say.
func TestLeaderByLeaseCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 6)
		f.Is3x()
		byCount := func(c *coordinator.Config) { c.AssignmentStrategy = leases.AssignByLeaseCount }
		var busy, idle atomic.Int64
		busy.Store(95)
		idle.Store(5)
		f.Start("a", byCount, cpuOf(&busy))
		time.Sleep(2 * time.Minute)
		f.Start("b", byCount, cpuOf(&idle))
		time.Sleep(time.Duration(testsize.Pick(6, 15, 20)) * time.Minute)
		require.Equal(t, map[string]int{"a": 3, "b": 3}, f.Load())
	})
}

// A worker whose leases deliver more than MaxThroughputKBps gets no more.
func TestLeaderKeepsMaxThroughput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 0)
		f.Is3x()
		for i := range 8 {
			l := leases.Lease{Key: fmt.Sprintf("shardId-%012d", i), ThroughputKBps: 100}
			l.Checkpoint.SequenceNumber = kcl.SentinelTrimHorizon
			l.ShardID = l.Key
			require.NoError(t, f.Table.Create(t.Context(), l))
		}
		f.Start("a", func(c *coordinator.Config) { c.MaxThroughputKBps = 250 })
		time.Sleep(20 * time.Second)
		require.Equal(t, map[string]int{"a": 3, "": 5}, f.Load(), "two make 200, which is less")
	})
}

// Each worker reports its own limit of leases. The leader's limit is not for all.
func TestLeaderHeedsTheLimitOfEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 12)
		f.Is3x()
		f.Start("a", maxLeases(2))
		time.Sleep(5 * time.Second)
		require.Equal(t, "a", f.Leader())
		f.Start("b", maxLeases(3))
		f.Start("c")
		time.Sleep(3 * time.Minute)
		require.Equal(t, map[string]int{"a": 2, "b": 3, "c": 7}, f.Load())
	})
}
