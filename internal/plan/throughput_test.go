package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

var workerNames = []string{"a", "b", "c", "d", "e", "f"}

// drawLoads makes a healthy table of leases with some throughput each.
func drawLoads(t *rapid.T, workers []string) []Row {
	n := rapid.IntRange(0, 60).Draw(t, "leases")
	most := rapid.SampledFrom([]float64{0, 1, 100, 1e6}).Draw(t, "most")
	rows := make([]Row, n)
	for i := range rows {
		o := rapid.SampledFrom(workers).Draw(t, "owner")
		rows[i] = Row{Lease: heldLease(fmt.Sprintf("shard-%03d", i), o)}
		rows[i].Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: "17"}
		rows[i].KBps = rapid.SampledFrom([]float64{-1, 0, most / 100, most / 3, most}).Draw(t, "kbps")
		rows[i].ThroughputKBps = rows[i].KBps
	}
	return rows
}

// evenOut lets every worker carry out its plan, hands over at once, and returns
// the keys of the leases that moved.
func evenOut(truth []Row, workers []string, limit int) (moved []string) {
	listed := slices.Clone(truth)
	for _, w := range workers {
		v := View{Me: w, Rows: slices.Clone(listed), Asks: 1, By: leases.BalanceThroughput, Calm: true, Max: limit}
		for i := range v.Rows {
			v.Rows[i].Busy = v.Rows[i].Owner == w
			if v.Rows[i].Busy {
				v.Asks = -1
			}
		}
		for actions := Native(v); len(actions) > 0; actions = Native(v) {
			for _, a := range actions {
				i := slices.IndexFunc(truth, func(r Row) bool { return r.Key == a.Row.Key })
				if truth[i].Owner == a.Row.Owner { // no conflict
					truth[i].Owner, truth[i].NativeOwner = w, w
					moved = append(moved, a.Row.Key)
					if v.Asks > 0 {
						v.Asks--
					}
				}
				v.Rows[i] = truth[i]
				v.Rows[i].Busy = true
			}
		}
	}
	return moved
}

// TestPlanThroughputEvensOut draws throughputs at random. The moves soon end. The workers differ
// little then, or by less than one lease, and no lease has moved to and fro.
func TestPlanThroughputEvensOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		workers := workerNames[:rapid.IntRange(1, 6).Draw(t, "workers")]
		rows := drawLoads(t, workers[:rapid.IntRange(1, len(workers)).Draw(t, "old")])
		limit := rapid.SampledFrom([]int{0, 0, 100}).Draw(t, "max")
		moves, rounds := 0, 0
		for ; rounds < 10; rounds++ {
			moved := evenOut(rows, workers, limit)
			if len(moved) == 0 {
				break
			}
			moves += len(moved)
		}
		require.Less(t, rounds, 10, "comes to rest")
		require.LessOrEqual(t, moves, 2*len(rows))
		weight, load, least, total := naiveWeights(rows), map[string]float64{}, map[string]float64{}, 0.0
		for _, r := range rows {
			load[r.Owner] += weight[r.Key]
			total += weight[r.Key]
			if l, ok := least[r.Owner]; !ok || weight[r.Key] < l {
				least[r.Owner] = weight[r.Key]
			}
		}
		low := math.Inf(1)
		for _, w := range workers {
			low = min(low, load[w])
		}
		if len(rows) == 0 {
			return
		}
		known := min(len(load)+1, len(workers)) // one without leases is known to itself only
		for _, w := range workers {
			gap := load[w] - low
			require.LessOrEqual(t, gap, max(uneven*total/float64(known), least[w]/heaviestPart)*(1+1e-9),
				"%s of %v: less than its least lease would even out", w, load)
		}
	})
}

func TestPlanThroughputKeepsTheCap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawLoads(t, workerNames[:3])
		limit := rapid.IntRange(1, 30).Draw(t, "max")
		count := func() map[string]int {
			n := map[string]int{}
			for _, r := range rows {
				n[r.Owner]++
			}
			return n
		}
		before := count()
		evenOut(rows, workerNames[:4], limit)
		for w, n := range count() {
			require.LessOrEqual(t, n, max(limit, before[w]))
		}
	})
}

// TestPlanThroughputWithoutData shares out leases without throughput by number.
func TestPlanThroughputWithoutData(t *testing.T) {
	t.Parallel()
	for _, kbps := range []float64{-1, 0, 7} {
		rows := make([]Row, 40)
		for i := range rows {
			rows[i] = Row{Lease: heldLease(fmt.Sprintf("shard-%03d", i), "a"), KBps: kbps}
		}
		for range 3 {
			evenOut(rows, workerNames[:4], 0)
		}
		n := map[string]int{}
		for _, r := range rows {
			n[r.Owner]++
		}
		for _, w := range workerNames[:4] {
			require.InDelta(t, 10, n[w], 1, "%v", n)
		}
	}
}

// TestPlansAreDisjoint: workers that all know of each other and see the same
// rows never want the same lease.
func TestPlansAreDisjoint(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		workers := []string{"a", "b", "c", "d", "e"}
		for i, w := range workers { // each is seen
			l := heldLease(fmt.Sprintf("known-%d", i), w)
			l.Checkpoint.SequenceNumber = "17"
			rows = append([]Row{{Lease: l}}, rows...)
		}
		slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.Key, b.Key) })
		by := rapid.SampledFrom([]leases.Balance{leases.BalanceLeaseCount, leases.BalanceThroughput}).Draw(t, "by")
		limit := rapid.SampledFrom([]int{0, 8}).Draw(t, "max")
		for i := range rows {
			rows[i].KBps = rapid.SampledFrom([]float64{-1, 0, 1, 50}).Draw(t, "kbps")
			rows[i].ScansWaited, rows[i].Busy = 0, false
			if rows[i].Expired { // the holders of a living worker know better
				rows[i].Owner, rows[i].CheckpointOwner = "z", ""
			}
		}
		wanted := map[string]string{}
		for _, w := range workers {
			v := View{Me: w, Rows: slices.Clone(rows), Asks: -1, By: by, Calm: true, Max: limit}
			for i := range v.Rows {
				v.Rows[i].Busy = v.Rows[i].ActualOwner() == w
			}
			for _, a := range Native(v) {
				require.Empty(t, wanted[a.Row.Key], "%s and %s want %s (%s)", wanted[a.Row.Key], w, a.Row.Key, a.Reason)
				wanted[a.Row.Key] = w
			}
		}
	})
}

// TestPlanThroughputLeavesChanceAlone has two workers whose difference may be chance. No lease
// moves.
func TestPlanThroughputLeavesChanceAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawLoads(t, workerNames[:2])
		vary := rapid.SampledFrom([]float64{0, 0.01, 0.1, 1}).Draw(t, "vary")
		weight, load, doubt := naiveWeights(rows), map[string]float64{}, 0.0
		for i, r := range rows {
			rows[i].Variance = math.Pow(vary*weight[r.Key], 2)
			doubt += rows[i].Variance
			load[r.Owner] += weight[r.Key]
		}
		sure := math.Abs(load["a"]-load["b"]) > certainDeviations*math.Sqrt(doubt)
		for _, w := range workerNames[:2] {
			v := View{Me: w, Rows: slices.Clone(rows), Asks: -1, By: leases.BalanceThroughput, Calm: true}
			for i := range v.Rows {
				v.Rows[i].Busy = v.Rows[i].Owner == w
			}
			actions := Native(v)
			require.True(t, sure || len(actions) == 0, "%v of %v", actions, load)
			for i := range v.Rows {
				v.Rows[i].Variance = 0
			}
			require.LessOrEqual(t, len(actions), len(Native(v)))
		}
	})
}

// TestPlanThroughputRestlessLeases keeps leases in place that have moved often, except for a new
// worker.
func TestPlanThroughputRestlessLeases(t *testing.T) {
	t.Parallel()
	rows := make([]Row, 12)
	for i := range rows {
		owner := workerNames[i%3/2] // a has eight, b four
		rows[i] = Row{Lease: heldLease(fmt.Sprintf("shard-%03d", i), owner), KBps: 100, Restless: true}
	}
	require.Empty(t, evenOut(slices.Clone(rows), workerNames[:2], 0))
	require.NotEmpty(t, evenOut(rows, workerNames[:3], 0), "c has none")
}
