package kcl3

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
)

func TestAssign(t *testing.T) {
	t.Parallel()
	limit := func(n int) func(*View) { return func(v *View) { v.Config.MaxLeases = n } }
	tests := []struct {
		name  string
		fleet []string
		set   func(*View)
		want  string
		spill int
	}{
		{
			"not towards a worker with an expired lease",
			[]string{"w dead", "w a", "w b", "1 dead 10 expired", "2 a 10", "3 a 10", "4 a 10", "5 -"},
			nil, "5>b 1>b", 0,
		},
		{"one worker has an expired lease", []string{"w a", "w b", "1 a 10 expired", "2 -"}, nil, "2>b 1>b", 0},
		{"all workers have expired leases", []string{"w a", "w b", "1 a 10 expired", "2 b 10 expired", "3 -"}, nil, "3>a", 0},
		{"a new worker", append([]string{"w a", "w b"}, many(8, "%d a 100")...), nil, "0>>b 1>>b 2>>b", 0},
		{"a new worker, idle leases", append([]string{"w a", "w b"}, many(8, "%d a 0.01")...), nil, "0>>b 1>>b 2>>b", 0},
		{"more workers than leases", []string{"w a", "w b", "w c", "1 a 10", "2 a 10"}, nil, "1>>b", 0},
		{"a record now and then", []string{"w a", "w b", "1 a 0.9", "2 b 0"}, nil, "", 0},
		{"idle CPUs", []string{"w a 0.1/80", "w b 0.9/80", "1 a 1", "2 b 1", "3 b 1"}, nil, "", 0},
		{
			"nothing is known yet", append([]string{"w a", "w b", "w c"}, many(6, "%d -")...), nil,
			"0>a 1>b 2>c 3>a 4>b 5>c", 0,
		},
		{"CPUs are not known", append([]string{"w a 0/80", "w b 0/80"}, many(4, "%d -")...), nil, "0>a 1>b 2>a 3>b", 0},
		{"a parent before its child", []string{"w a", "0 - (1)", "1 -"}, limit(1), "1>a", 0},
		{"a parent before its child, where there is room", []string{"w a", "0 - (1)", "1 -"}, limit(2), "1>a", 0},
		{"a child whose parent is being read", []string{"w a", "w b", "0 - (1)", "1 b", "2 -"}, limit(1), "2>a", 0},
		{"a finished parent", []string{"w a", "0 - (1)", "1 - end", "2 -"}, limit(1), "0>a", 1},
		{
			"who waited longest",
			[]string{"w a", "1 x 1 expired since9", "2 x 1 expired since3", "3 x 1 expired since5"},
			limit(2), "2>a 3>a", 1,
		},
		{"handed over to one that is full", []string{"w a", "w b", "1 b", "2 b<x expired"}, limit(1), "2>a", 0},
		{
			"handed over to one that waits",
			[]string{"w a", "w b", "1 b", "2 b<x expired"},
			func(v *View) { v.Balance = false }, "2>b", 0,
		},
		{"counts for the next owner", append([]string{"w a", "w b"}, "1 b<a 10", "2 b<a 10", "3 a 10", "4 a 10"), nil, "", 0},
		{
			"finished leases do not count",
			[]string{"w a", "w b", "1 a 10 end", "2 a 10 end", "3 a 10 end", "4 a 10", "5 b 10"},
			nil, "", 0,
		},
		{"finished leases are not assigned", []string{"w a", "1 - end", "2 x end expired"}, nil, "", 0},
		{"a parent that is itself", []string{"w a", "0 - (0)"}, nil, "0>a", 0},
		{"not now", append([]string{"w a", "w b"}, many(8, "%d a 100")...), func(v *View) { v.Balance = false }, "", 0},
		{"abrupt", []string{"w a", "w b", "1 a 10", "2 a 10"}, func(v *View) { v.Config.abrupt = true }, "1>b", 0},
		{
			"max throughput",
			[]string{"w a", "w b", "1 a 100", "2 b 9", "3 - 1", "4 - 1"},
			func(v *View) { v.Config.MaxThroughput = 10; v.Balance = false }, "3>b 4>b", 0,
		},
		{"some workers have no sensor", []string{
			"w a", "w b 1/80", "1 a 10", "2 a 10", "3 b 10", "4 b 10", "5 b 10",
			"6 b 10",
		}, nil, "3>>a", 0},
		{"the receiver is at its limit", []string{"w a 10/15", "w b 50/80", "1 b 10", "2 b 10"}, nil, "", 0},
		{"CPU counts beside workers without a sensor", []string{
			"w a 95/100", "w b 5/100", "w c", "1 a 10", "2 a 10",
			"3 a 10", "4 b 10", "5 b 10", "6 c 10", "7 c 10",
		}, nil, "1>>b", 0},
		{"who has a sensor counts with the others' average", append([]string{"w a 50/100", "w b 50/100", "w c"}, "1 a 10",
			"2 a 10", "3 a 10", "4 b 10", "5 c 10", "6 c 10"), nil, "", 0},
		{"a new worker without a sensor", append([]string{"w a 50/100", "w b 50/100", "w c"}, "1 a 10", "2 a 10", "3 a 10",
			"4 b 10", "5 b 10", "6 b 10"), nil, "1>>c 4>>c", 0},
		{
			"a new worker on the same machine", append([]string{"w a 40/100", "w b 40/100"}, many(4, "%d a 10")...),
			nil, "0>>b", 0,
		},
		{
			"the machine of a new worker is busy", append([]string{"w a 40/100", "w b 90/100"}, many(4, "%d a 10")...),
			nil, "", 0,
		},
		{"CPU that may be chance", []string{
			"w a 90,10,90,10,90/100", "w b 10,90,10,90,10/100", "1 a 10", "2 a 10", "3 b 10",
			"4 b 10",
		}, func(v *View) { v.Config.Certain = true }, "", 0},
		{"CPU that is none", []string{
			"w a 90,90,90,90,90/100", "w b 10,11,10,10,10/100", "1 a 10", "2 a 10", "3 b 10",
			"4 b 10",
		}, func(v *View) { v.Config.Certain = true }, "1>>b", 0},
		{"CPU that is not known for long enough", []string{
			"w a 90,90,90,90/100", "w b 10,10,10,10/100", "1 a 10", "2 a 10",
			"3 b 10", "4 b 10",
		}, func(v *View) { v.Config.Certain = true }, "", 0},
		{
			"another receiver than the most idle",
			[]string{"w a 10/11", "w b 90/95", "w c 20/95", "1 b 10", "2 b 10", "3 b 10"},
			nil, "1>>c", 0,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := fleetOf(t, tt.fleet...)
			if tt.set != nil {
				tt.set(&v)
			}
			moves, spill := Assign(v)
			require.Equal(t, tt.want, told(moves))
			require.Equal(t, tt.spill, spill)
		})
	}
}

func TestCadence(t *testing.T) {
	t.Parallel()
	var c Cadence
	var got []int
	for run := 1; run <= 10; run++ { // every 5 s
		if c.MayBalance(time.Duration(run)*5*sec, 10500*time.Millisecond) {
			got = append(got, run)
		}
	}
	require.Equal(t, []int{3, 6, 9}, got, "the first three have not seen enough")
}

func TestHandoverWatch(t *testing.T) {
	t.Parallel()
	to := func(owner, from string) []leases.Lease {
		return []leases.Lease{{Key: "0", Owner: owner, CheckpointOwner: from}}
	}
	var w HandoverWatch
	note := func(at time.Duration, rows []leases.Lease) map[string]bool {
		w.Observe(at, rows)
		limits := map[string]time.Duration{"a": 40 * sec, "c": 90 * sec}
		return w.Overdue(at, func(owner string) time.Duration { return limits[owner] })
	}
	require.Empty(t, note(0, to("b", "a")))
	require.Empty(t, note(40*sec, to("b", "a")))
	require.Equal(t, map[string]bool{"0": true}, note(40*sec+1, to("b", "a")))
	require.Empty(t, note(41*sec, to("c", "a")), "another hand-over")
	require.Empty(t, note(80*sec, to("c", "")), "done")
	require.Empty(t, note(90*sec, to("b", "c")))
	require.Empty(t, note(100*sec, nil))
	require.Empty(t, note(140*sec, to("b", "c")), "the row was gone")
	require.Empty(t, note(230*sec, to("b", "c")), "this owner may take longer")
	require.Equal(t, map[string]bool{"0": true}, note(231*sec, to("b", "c")))
}

// TestBurstsOfCPU has a CPU that bursts, which moves no lease, with and without a worker that has
// no sensor. A CPU that is busier for good moves leases.
func TestBurstsOfCPU(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]string{"all have sensors": "w c 10/100", "one has none": "w c"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(5, 5))
			v := fleetOf(t, slices.Concat([]string{"w a 10/100", "w b 10/100", last}, many(6, "%d a 10"), many(6, "1%d b 10"),
				many(6, "2%d c 10"))...)
			v.Config = DefaultConfig()
			v.Config.Certain = true
			minute := func() []Move {
				for _, w := range v.Workers {
					if !sensorless(w) {
						for range 3 {
							w.Stats["C"] = append(w.Stats["C"], 10+60*float64(rng.IntN(4)/3))
						}
						w.Stats["C"] = w.Stats["C"][max(0, len(w.Stats["C"])-10):]
					}
				}
				moves, _ := Assign(v)
				return moves
			}
			moves := 0
			for range testsize.Pick(6, 24, 24) * 60 {
				moves += len(minute())
			}
			require.LessOrEqual(t, moves, 4, "in a day")
			v.Workers[0].Stats["C"], v.Workers[1].Stats["C"] = []float64{5, 6, 5, 6, 5}, []float64{95, 94, 95, 94, 95}
			after, _ := Assign(v)
			require.NotEmpty(t, after)
		})
	}
}

// drawFleet makes a fleet as some leader may see it.
func drawFleet(t *rapid.T) View {
	ids := []string{"a", "b", "c", "d", "e"}
	v := View{Balance: rapid.Bool().Draw(t, "balance"), Config: DefaultConfig()}
	v.Config.ByCount = rapid.Bool().Draw(t, "count")
	v.Config.MaxLeases = rapid.IntRange(0, 8).Draw(t, "max")
	v.Config.exact, v.Config.abrupt = rapid.Bool().Draw(t, "exact"), rapid.Bool().Draw(t, "abrupt")
	v.Config.MaxThroughput = rapid.SampledFrom([]float64{0, 0, 0, 500}).Draw(t, "max throughput")
	v.Rand = rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	sensors := rapid.SampledFrom([]string{"none", "all", "some"}).Draw(t, "sensors")
	for _, id := range ids[:rapid.IntRange(0, 5).Draw(t, "workers")] {
		m := leases.WorkerMetrics{Worker: id, Updated: time.Unix(1_700_000_000, 0)}
		if sensors == "all" || (sensors == "some" && rapid.Bool().Draw(t, "sensor")) {
			m.Stats = map[string][]float64{"C": {rapid.Float64Range(0, 100).Draw(t, "cpu")}}
			m.Range = map[string][]float64{"C": {rapid.Float64Range(1, 100).Draw(t, "limit")}}
		}
		v.Workers = append(v.Workers, m)
	}
	owners := append([]string{"", "gone"}, ids...)
	for i := range rapid.IntRange(0, 30).Draw(t, "leases") {
		l := Row{Since: time.Duration(rapid.IntRange(0, 9).Draw(t, "since"))}
		l.Key = fmt.Sprintf("%03d", i)
		l.ShardID = l.Key
		checkpoints := rapid.SampledFrom([]string{"17", "17", "17", kcl.SentinelShardEnd})
		l.Checkpoint.SequenceNumber = checkpoints.Draw(t, "checkpoint")
		l.ThroughputKBps = rapid.SampledFrom([]float64{-1, 0, 0.1, 10, 10, 200, 1e6}).Draw(t, "throughput")
		l.Owner = rapid.SampledFrom(owners).Draw(t, "owner")
		l.Expired = l.Owner != "" && rapid.IntRange(0, 4).Draw(t, "expired") == 0
		if i > 0 && rapid.IntRange(0, 4).Draw(t, "child") == 0 {
			l.Parents = []string{fmt.Sprintf("%03d", rapid.IntRange(0, i-1).Draw(t, "parent"))}
		}
		if from := rapid.SampledFrom(owners).Draw(t, "from"); l.Owner != "" && from != l.Owner &&
			rapid.IntRange(0, 5).Draw(t, "handed over") == 0 {
			l.CheckpointOwner = from
			l.Overdue = from != "" && rapid.Bool().Draw(t, "overdue")
		}
		v.Leases = append(v.Leases, l)
	}
	return v
}

// after returns the table after the moves. done says that the hand-overs are complete too.
func after(v View, moves []Move, done bool) View {
	v.Leases = slices.Clone(v.Leases)
	for _, m := range moves {
		i := slices.IndexFunc(v.Leases, func(l Row) bool { return l.Key == m.Lease.Key })
		l := &v.Leases[i]
		l.CheckpointOwner = ""
		if m.Graceful {
			l.CheckpointOwner = l.Owner
		}
		l.Owner, l.Expired, l.Overdue = m.To, false, false
	}
	for i := range v.Leases {
		if done {
			v.Leases[i].CheckpointOwner = ""
		}
	}
	return v
}

func TestAssignProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawFleet(t)
		before := fmt.Sprintf("%+v %+v", v.Leases, v.Workers)
		moves, spill := Assign(v)
		require.Equal(t, before, fmt.Sprintf("%+v %+v", v.Leases, v.Workers), "pure")

		alive, doubtful, count := map[string]bool{}, map[string]bool{}, map[string]int{}
		for _, m := range v.Workers {
			alive[m.Worker] = true
		}
		rows := map[string]Row{}
		idle, waiting := 0, map[string]bool{}
		for _, l := range v.Leases {
			rows[l.Key] = l
			if l.Finished() {
				continue
			}
			if l.Expired {
				doubtful[l.ActualOwner()] = true
			}
			if l.ActualOwner() == "" || l.Expired || l.Overdue {
				idle++
			} else {
				count[l.Owner]++
			}
		}
		for _, l := range v.Leases {
			for _, p := range l.Parents {
				waiting[l.Key] = waiting[l.Key] || (!l.Finished() && !rows[p].Finished())
			}
		}
		sure := slices.ContainsFunc(v.Workers, func(m leases.WorkerMetrics) bool { return !doubtful[m.Worker] })
		seen := map[string]bool{}
		placed, left := map[string]bool{}, 0
		for _, m := range moves {
			r, known := rows[m.Lease.Key]
			require.True(t, known)
			require.False(t, seen[r.Key], "one move for each lease")
			seen[r.Key] = true
			require.Equal(t, r.Lease, m.Lease, "as it was read")
			require.False(t, r.Finished())
			require.True(t, alive[m.To], "to one that lives")
			require.True(t, r.Owner != m.To || r.CheckpointOwner != "", "it has it already")
			if m.Reason == "balance" {
				require.True(t, v.Balance)
				require.False(t, doubtful[m.To], "not to one with an expired lease")
				require.True(t, alive[r.Owner])
				require.False(t, r.Expired || r.Overdue || r.CheckpointOwner != "" || r.Owner == "")
				require.Equal(t, !v.Config.abrupt, m.Graceful)
				count[r.Owner]--
			} else {
				require.False(t, m.Graceful)
				require.True(t, r.ActualOwner() == "" || r.Expired || r.Overdue)
				require.True(t, !doubtful[m.To] || v.Config.MaxLeases > 0 || v.Config.MaxThroughput > 0 || !sure,
					"others could take it")
				placed[r.Key] = true
			}
			count[m.To]++
			require.True(t, v.Config.MaxLeases == 0 || count[m.To] <= v.Config.MaxLeases, "never beyond the limit")
		}
		for _, r := range rows {
			if r.Finished() || (r.ActualOwner() != "" && !r.Expired && !r.Overdue) || placed[r.Key] {
				continue
			}
			left++
			require.True(t, v.Config.MaxLeases > 0 || v.Config.MaxThroughput > 0 || len(v.Workers) == 0 || r.Owner != "",
				"a free lease and a free worker")
		}
		require.GreaterOrEqual(t, left, spill)
		if spill > 0 {
			// What found no place stands behind what did: parents first.
			require.True(t, len(v.Workers) == 0 || v.Config.MaxLeases > 0 || v.Config.MaxThroughput > 0)
			ready := 0
			for key := range placed {
				if !waiting[key] {
					ready++
				}
			}
			if ready < len(placed) && v.Config.MaxThroughput == 0 { // a child has a place
				for _, r := range rows {
					lost := !r.Finished() && !waiting[r.Key] && r.ActualOwner() == "" && !placed[r.Key]
					require.False(t, lost, "%s was ready", r.Key)
				}
			}
		}
	})
}

// TestAssignSettles keeps the loads as they are. The moves end, with counts within one of each
// other, and no worker moves more than that needs.
func TestAssignSettles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawFleet(t)
		for i := range v.Workers { // the CPU of a worker does not follow its leases here
			v.Workers[i].Stats, v.Workers[i].Range = nil, nil
		}
		v.Balance, v.Config.MaxLeases, v.Config.MaxThroughput = true, 0, 0
		moves, _ := Assign(v)
		total := 0
		for len(moves) > 0 {
			total += len(moves)
			require.LessOrEqual(t, total, 2*len(v.Leases), "%s", told(moves))
			v = after(v, moves, true)
			moves, _ = Assign(v)
		}
		count, expired := map[string]int{}, false
		for _, m := range v.Workers {
			count[m.Worker] = 0
		}
		for _, l := range v.Leases {
			if l.Finished() {
				continue
			}
			expired = expired || l.Expired
			if _, ok := count[l.Owner]; ok {
				count[l.Owner]++
			}
		}
		if !v.Config.ByCount || expired || len(count) == 0 {
			return
		}
		least, most := 1<<30, 0
		for _, n := range count {
			least, most = min(least, n), max(most, n)
		}
		require.LessOrEqual(t, most-least, 1, "%v", count)
	})
}

// TestAssignEvensOutLoad has leases of one throughput. No worker keeps two more than another one,
// except within the threshold.
func TestAssignEvensOutLoad(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawFleet(t)
		for i := range v.Workers {
			v.Workers[i].Stats, v.Workers[i].Range = nil, nil
		}
		v.Balance = true
		v.Config = Config{threshold: v.Config.threshold, Dampening: v.Config.Dampening}
		for i := range v.Leases {
			v.Leases[i].ThroughputKBps, v.Leases[i].Expired, v.Leases[i].CheckpointOwner = 10, false, ""
			v.Leases[i].Overdue = false
		}
		for moves, _ := Assign(v); len(moves) > 0; moves, _ = Assign(v) {
			v = after(v, moves, true)
		}
		count := map[string]float64{}
		for _, m := range v.Workers {
			count[m.Worker] = 0
		}
		total := 0.0
		for _, l := range v.Leases {
			if _, ok := count[l.Owner]; ok && !l.Finished() {
				count[l.Owner]++
				total++
			}
		}
		average := total / float64(len(count))
		for _, most := range count {
			for _, least := range count {
				near := most <= average*(1+v.Config.threshold)*rounding && least*rounding >= average*(1-v.Config.threshold)
				require.True(t, most-least < 2 || near, "%v", count)
			}
		}
	})
}

// TestAssignIsCalm leaves leases alone while their hand-overs are under way.
func TestAssignIsCalm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawFleet(t)
		for i := range v.Workers {
			v.Workers[i].Stats, v.Workers[i].Range = nil, nil
		}
		v.Config.ByCount, v.Config.MaxLeases, v.Config.MaxThroughput, v.Config.abrupt = true, 0, 0, false
		v.Balance = true
		for i := range v.Leases {
			v.Leases[i].Expired, v.Leases[i].Overdue = false, false
		}
		moves, _ := Assign(v)
		again, _ := Assign(after(v, moves, false))
		require.Empty(t, again, "%s", told(moves))
	})
}
