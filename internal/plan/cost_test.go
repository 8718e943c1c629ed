package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl/leases"
)

// The fast plan gives the same result as the naive plan, which reads every row at each step. So
// workers of two releases compute the same distribution.
func TestPlanIsTheNaiveOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := View{
			Me: "a", Rows: drawRows(t), Max: rapid.IntRange(0, 10).Draw(t, "max"), Asks: rapid.IntRange(-1, 2).Draw(t, "asks"),
			NoForce: rapid.Bool().Draw(t, "gentle"),
		}
		require.Equal(t, naivePlan(v), Native(v))
	})
}

func TestPlanByThroughputIsTheNaiveOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := View{
			Me: "a", Rows: drawRows(t), Max: rapid.IntRange(0, 10).Draw(t, "max"), Asks: rapid.IntRange(-1, 2).Draw(t, "asks"),
			By: leases.BalanceThroughput, Calm: rapid.Bool().Draw(t, "calm"),
		}
		few := rapid.Bool().Draw(t, "often nothing else to do")
		for i := range v.Rows {
			r := &v.Rows[i]
			r.KBps = float64(rapid.IntRange(-1, 40).Draw(t, "kbps")) / 4
			r.Variance = float64(rapid.IntRange(0, 3).Draw(t, "doubt")) / 8
			r.Settling, r.Restless = rapid.IntRange(0, 9).Draw(t, "settling") == 0, rapid.IntRange(0, 9).Draw(t, "restless") == 0
			if few && r.Owner == "" {
				r.Owner, r.NativeOwner = "b", "b"
			}
			if few {
				r.Expired, r.CheckpointOwner, r.Busy = false, "", true
			}
			r.Busy = r.Busy && r.Owner == v.Me
		}
		require.Equal(t, naivePlan(v), Native(v))
	})
}

// manyRows are leases with the owners that owner names.
func manyRows(n int, owner func(i int) string) []Row {
	rows := make([]Row, n)
	for i := range rows {
		key := fmt.Sprintf("shardId-%012d", i)
		l := leases.Lease{Key: key, ShardID: key, Counter: 5, Owner: owner(i), ThroughputKBps: 10}
		l.NativeOwner = l.Owner
		l.Checkpoint.SequenceNumber = "17"
		rows[i] = Row{Lease: l, KBps: 10 + float64(i%7), Busy: l.Owner == "me"}
	}
	return rows
}

// scenes are views of n leases with many actions to plan.
func scenes(n int) map[string]View {
	others := func(workers int) func(i int) string {
		return func(i int) string { return fmt.Sprintf("w%03d", i%min(n, workers)) }
	}
	join := func(i int) string {
		if i == 0 {
			return "me"
		}
		return "w000"
	}
	nobody := func(i int) string {
		if i < min(n, 100) {
			return fmt.Sprintf("w%03d", i)
		}
		return ""
	}
	return map[string]View{
		"second worker": {Me: "me", Asks: -1, Rows: manyRows(n, join)},
		"second worker by throughput": {
			Me: "me", Asks: -1, Rows: manyRows(n, join),
			By: leases.BalanceThroughput, Calm: true,
		},
		"cold start": {Me: "w001", Asks: -1, Rows: manyRows(n, nobody)},
		"balanced":   {Me: "w001", Asks: -1, Rows: manyRows(n, others(100))},
	}
}

// A plan for many leases takes a small part of the time of the naive plan. Both run under the same
// load of the machine, and the best of several runs counts.
func TestPlanOfManyLeasesTakesLittleTime(t *testing.T) {
	for _, name := range []string{"second worker", "second worker by throughput"} {
		v := scenes(3000)[name]
		// The least of several runs is the one that other processes disturbed least.
		took := func(plan func(View) []Action, runs int) time.Duration {
			least := time.Hour
			for range runs {
				begun := time.Now()
				plan(v)
				least = min(least, time.Since(begun))
			}
			return least
		}
		naive, quick := took(naivePlan, 2), took(Native, 30)
		t.Logf("%-30s %v, looking at everything %v", name, quick, naive)
		require.Less(t, 10*quick, naive, name)
	}
}

func BenchmarkPlan(b *testing.B) {
	for name := range scenes(1) {
		for _, n := range []int{10, 100, 1000, 10000} {
			v := scenes(n)[name]
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Native(v)
				}
			})
		}
	}
}
