package coordinator_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// gauges keeps the last value of each series.
type gauges struct {
	mu   sync.Mutex // guards last
	last map[*metrics.Desc]float64
}

type gauge struct {
	of *gauges
	d  *metrics.Desc
}

func (g *gauges) Series(d *metrics.Desc, _ ...string) metrics.Series { return gauge{g, d} }
func (g *gauges) Remove(*metrics.Desc, ...string)                    {}

func (g gauge) Record(v float64) {
	g.of.mu.Lock()
	defer g.of.mu.Unlock()
	g.of.last[g.d] = v
}

func (g *gauges) get(d *metrics.Desc) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last[d]
}

// A former leader resets the metric of unassigned leases. The next leader may find room for them,
// and an alarm would never end.
func TestUnassignedLeasesOfAFormerLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 4)
		f.Is3x()
		seen := &gauges{last: map[*metrics.Desc]float64{}}
		f.Start("a", maxLeases(1), func(c *coordinator.Config) { c.Metrics = metrics.New(seen) })
		time.Sleep(20 * time.Second)
		require.InDelta(t, 3, seen.get(metrics.LeasesUnassigned), 0)

		for f.Leader() == "a" { // a heartbeat may come in between
			lock, err := f.Table.Fleet().Leader(t.Context())
			require.NoError(t, err)
			_ = f.Table.Fleet().AcquireLeader(t.Context(), lock,
				leases.LeaderLock{Owner: "other", Version: "1", Duration: time.Hour})
		}
		time.Sleep(20 * time.Second)
		require.Zero(t, seen.get(metrics.Leader))
		require.Zero(t, seen.get(metrics.LeasesUnassigned))
	})
}

// A row that nobody can write costs the fleet neither its leader nor the leader's other work.
func TestRowThatNoLeaderCanWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, testsize.Pick(4, 9, 9))
		f.Is3x()
		for _, id := range []string{"a", "b", "c"} {
			f.Start(id)
		}
		time.Sleep(time.Minute)
		f.Server.Inject(dynamotest.Fault{Operation: "UpdateItem", Key: "shardId-9", Do: []dynamotest.Action{
			dynamotest.Fail("ValidationException", "Item size to update has exceeded the maximum allowed size"),
		}})
		f.Create("shardId-9")
		leader, changes := f.Leader(), 0
		lasting := testsize.Pick(5*time.Minute, 8*time.Minute, 8*time.Minute)
		for begun := time.Now(); time.Since(begun) < lasting; time.Sleep(time.Second) {
			if now := f.Leader(); now != "" && now != leader {
				leader = now
				changes++
			}
		}
		require.LessOrEqual(t, changes, 3, "each has tried")
		require.Less(t, f.LongestGap(), 10*time.Second)
	})
}

// Reports of many former workers are deleted on a slow table. A new lease does not wait for the end
// of that.
func TestChoresOnASlowTable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const former = 60
		f := fleettest.NewKCL3(t, 2)
		f.Is3x()
		for i := range former {
			require.NoError(t, f.Table.Fleet().ReportWorker(t.Context(), leases.WorkerMetrics{
				Worker: fmt.Sprintf("former-%02d", i), Updated: time.Now().Add(-240 * time.Hour),
			}))
		}
		f.Server.Inject(dynamotest.Fault{Operation: "DeleteItem", Do: []dynamotest.Action{dynamotest.Delay(2 * time.Second)}})
		f.Start("a")
		time.Sleep(20 * time.Second)
		left := func() int { return len(f.Reports()) - 1 }
		for i := range testsize.Pick(10, 25, 25) {
			key := fmt.Sprintf("shardId-9%d", i)
			f.Create(key)
			begun := time.Now()
			for f.Readers()[key] == "" {
				time.Sleep(100 * time.Millisecond)
				require.Less(t, time.Since(begun), 20*time.Second)
			}
			time.Sleep(5 * time.Second)
		}
		require.Less(t, left(), former, "the chores go on")
		require.Less(t, f.LongestGap(), 10*time.Second)
	})
}
