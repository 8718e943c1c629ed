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
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
)

// cpuOf is a sensor that shows the value of load.
func cpuOf(load *atomic.Int64) func(*coordinator.Config) {
	return func(c *coordinator.Config) {
		c.CPU = func() (float64, bool) { return float64(load.Load()), true }
	}
}

// stats is what a worker has reported of its CPU.
func (f *kcl3Fleet) stats(id string) leases.WorkerMetrics {
	workers, _, err := f.table.Fleet().Workers(f.t.Context())
	require.NoError(f.t, err)
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
		f := newKCL3Fleet(t, testsize.Pick(12, 18, 18))
		f.is3x()
		f.start("go")
		var busy, idle atomic.Int64
		busy.Store(50)
		idle.Store(50)
		f.java("busy", func(j *javaWorker) { j.cpu = &busy })
		f.java("idle", func(j *javaWorker) { j.cpu = &idle })
		time.Sleep(15 * time.Minute)
		require.Equal(t, "go", f.leader())
		before := f.load()
		f.requireBalance("busy", "go", "idle")

		busy.Store(95)
		idle.Store(5)
		time.Sleep(20 * time.Minute)
		after := f.load()
		require.LessOrEqual(t, after["busy"], before["busy"]-2, "%v, %v", before, after)
		require.GreaterOrEqual(t, after["idle"], before["idle"]+2, "%v, %v", before, after)
		require.InDelta(t, before["go"], after["go"], 1)
	})
}

// Workers on one machine report the same CPU. A new one gets its share all the same.
func TestNewWorkerOnTheSameMachine(t *testing.T) {
	t.Parallel()
	for _, percent := range []int64{1, 40} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newKCL3Fleet(t, 12)
				f.is3x()
				var machine atomic.Int64
				machine.Store(percent)
				f.start("a", cpuOf(&machine))
				time.Sleep(5 * time.Minute)
				f.start("b", cpuOf(&machine))
				time.Sleep(5 * time.Minute)
				f.requireBalance("a", "b")
			})
		})
	}
}

// A worker reports the last ten values of its CPU, none while its sensor has no value, and its
// limits.
func TestReportOfAWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 1)
		f.is3x()
		var n atomic.Int64
		var fails atomic.Bool
		f.start("a", maxLeases(7), func(c *coordinator.Config) {
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
		f.start("b")
		time.Sleep(10 * time.Second)
		require.Empty(t, f.stats("a").Stats)
		time.Sleep(20 * time.Second)
		a := f.stats("a")
		require.Equal(t, map[string][]float64{"C": {99}}, a.Stats)
		require.Equal(t, map[string][]float64{"C": {100}}, a.Range)
		require.Equal(t, 7, a.MaxLeases)
		require.Equal(t, 92*time.Second, a.Handover)
		require.Equal(t, -1, f.stats("b").MaxLeases)
		require.Empty(t, f.stats("b").Stats)
		time.Sleep(5 * time.Minute)
		require.Len(t, f.stats("a").Stats["C"], 10)
		require.InDelta(t, 100, f.stats("a").Stats["C"][9], 0, "never more")
		fails.Store(true)
		time.Sleep(time.Minute)
		require.Empty(t, f.stats("a").Stats)
	})
}

// LEASE_COUNT_BASED: the number of leases is evened out, whatever the CPUs say.
func TestLeaderByLeaseCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 12)
		f.is3x()
		byCount := func(c *coordinator.Config) { c.AssignmentStrategy = leases.AssignByLeaseCount }
		var busy, idle atomic.Int64
		busy.Store(95)
		idle.Store(5)
		f.start("a", byCount, cpuOf(&busy))
		time.Sleep(2 * time.Minute)
		f.start("b", byCount, cpuOf(&idle))
		time.Sleep(20 * time.Minute)
		require.Equal(t, map[string]int{"a": 6, "b": 6}, f.load())
	})
}

// A worker whose leases deliver more than MaxThroughputKBps gets no more.
func TestLeaderKeepsMaxThroughput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 0)
		f.is3x()
		for i := range 8 {
			l := leases.Lease{Key: fmt.Sprintf("shardId-%012d", i), ThroughputKBps: 100}
			l.Checkpoint.SequenceNumber = kcl.SentinelTrimHorizon
			l.ShardID = l.Key
			require.NoError(t, f.table.Create(t.Context(), l))
		}
		f.start("a", func(c *coordinator.Config) { c.MaxThroughputKBps = 250 })
		time.Sleep(20 * time.Second)
		require.Equal(t, map[string]int{"a": 3, "": 5}, f.load(), "two make 200, which is less")
	})
}

// Each worker reports its own limit of leases. The leader's limit is not for all.
func TestLeaderHeedsTheLimitOfEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 12)
		f.is3x()
		f.start("a", maxLeases(2))
		time.Sleep(5 * time.Second)
		require.Equal(t, "a", f.leader())
		f.start("b", maxLeases(3))
		f.start("c")
		time.Sleep(3 * time.Minute)
		require.Equal(t, map[string]int{"a": 2, "b": 3, "c": 7}, f.load())
	})
}
