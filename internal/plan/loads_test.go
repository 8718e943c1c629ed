package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
)

// failover is FailoverTime of these fleets.
const failover = 10 * time.Second

// loads is a fleet without a table. Workers see the leases at different moments, and carry out
// their plans at once. The throughput of the leases is given by rate.
type loads struct {
	workers []string
	rows    []leases.Lease
	rate    func(i int, now time.Duration) float64 // KB/s
	moved   func(i int, now time.Duration)
}

func newLoads(workers, count int, rate func(i int, now time.Duration) float64) *loads {
	f := &loads{rate: rate, rows: make([]leases.Lease, count)}
	for i := range workers {
		f.workers = append(f.workers, fmt.Sprintf("w%02d", i))
	}
	for i := range f.rows {
		w := f.workers[i%workers]
		f.rows[i] = heldLease(fmt.Sprintf("shard-%03d", i), w)
		f.rows[i].ThroughputKBps = -1
		f.rows[i].Checkpoint.SequenceNumber = "17"
	}
	return f
}

// run lets time pass. Every lease is renewed each three seconds, and every worker scans each ten
// seconds.
func (f *loads) run(d time.Duration) {
	scales := make([]Scale, len(f.workers))
	f.pass(d, func(tick int, now time.Duration) {
		for k, w := range f.workers {
			if (tick+k)%10 != 0 {
				continue
			}
			v := f.look(&scales[k], w, now+time.Duration(k)*time.Millisecond)
			for _, a := range Native(v) {
				f.move(a.Row.Key, w, now)
			}
		}
	})
}

// lead lets time pass while a leader evens out the load each minute.
func (f *loads) lead(d time.Duration) {
	var s Scale
	var workers []leases.WorkerMetrics
	for _, w := range f.workers {
		workers = append(workers, leases.WorkerMetrics{Worker: w, MaxLeases: -1})
	}
	f.pass(d, func(tick int, now time.Duration) {
		if tick%3 != 0 {
			return
		}
		v := f.look(&s, "leader", now)
		if tick%60 != 0 {
			return
		}
		fleet := kcl3.View{
			Workers: workers, Balance: v.Calm, Config: kcl3.DefaultConfig(),
			Rand: rand.New(rand.NewPCG(uint64(tick), 0)), Throughputs: map[string]float64{}, Variances: map[string]float64{},
		}
		fleet.Config.Certain = true
		for _, r := range v.Rows {
			fleet.Leases = append(fleet.Leases, kcl3.Row{Lease: r.Lease})
			fleet.Throughputs[r.Key], fleet.Variances[r.Key] = r.KBps, r.Variance
		}
		moves, _ := kcl3.Assign(fleet)
		for _, m := range moves {
			f.move(m.Lease.Key, m.To, now)
		}
	})
}

// pass lets time pass, second by second.
func (f *loads) pass(d time.Duration, second func(tick int, now time.Duration)) {
	meters := make([]meter, len(f.rows))
	for tick := range int(d / time.Second) {
		now := time.Duration(tick) * time.Second
		for i := range f.rows {
			meters[i].bytes += int64(1024 * f.rate(i, now))
			if (tick+i)%3 == 0 {
				f.rows[i].ThroughputKBps = meters[i].sample(now + time.Second)
			}
		}
		second(tick, now)
	}
}

// meter measures the bytes delivered from one shard between two renewals, as the holder does.
type meter struct {
	bytes   int64
	average kcl3.Throughput
	since   time.Duration
}

func (m *meter) sample(now time.Duration) float64 {
	m.average.Add(m.bytes, now-m.since)
	m.bytes, m.since = 0, now
	return m.average.Value()
}

func (f *loads) look(s *Scale, me string, now time.Duration) View {
	v := View{Me: me, Asks: -1, By: leases.BalanceThroughput, Rows: make([]Row, len(f.rows))}
	for i, l := range f.rows {
		v.Rows[i] = Row{Lease: l, Busy: l.Owner == me}
	}
	s.AddThroughput(failover, &v, now)
	return v
}

func (f *loads) move(key, to string, now time.Duration) {
	i := slices.IndexFunc(f.rows, func(l leases.Lease) bool { return l.Key == key })
	f.rows[i].Owner, f.rows[i].NativeOwner = to, to
	f.moved(i, now)
}

// spread is the difference between the workers as a part of the average.
func (f *loads) spread(rate func(i int) float64) float64 {
	load, total := map[string]float64{}, 0.0
	for i, l := range f.rows {
		load[l.Owner] += rate(i)
		total += rate(i)
	}
	low, high := math.Inf(1), 0.0
	for _, w := range f.workers {
		low, high = min(low, load[w]), max(high, load[w])
	}
	return (high - low) / total * float64(len(f.workers))
}

// bursts returns loads that are usual, but times as much for a while at random moments.
func bursts(rng *rand.Rand, usual []float64, times float64, long, every time.Duration,
) func(i int, now time.Duration) float64 {
	wait := func() time.Duration { return time.Duration(rng.ExpFloat64() * float64(every-long)) }
	begin := make([]time.Duration, len(usual))
	for i := range begin {
		begin[i] = wait()
	}
	return func(i int, now time.Duration) float64 {
		if now >= begin[i]+long {
			begin[i] = now + wait()
		}
		if now >= begin[i] {
			return usual[i] * times
		}
		return usual[i]
	}
}

// TestThroughputThatVaries counts moves while the throughput of every lease varies.
func TestThroughputThatVaries(t *testing.T) {
	t.Parallel()
	hours := testsize.Pick(3, 4, 13)
	const minute = time.Minute
	same := func(n int, kbps float64) []float64 { return slices.Repeat([]float64{kbps}, n) }
	for _, tt := range []struct {
		name            string
		workers, leases int
		rate            func(rng *rand.Rand, usual []float64) func(i int, now time.Duration) float64
		first, most     float64 // moves of a lease, in the first hour and then per day
	}{
		{"steady", 3, 24, func(_ *rand.Rand, usual []float64) func(int, time.Duration) float64 {
			return func(i int, _ time.Duration) float64 { return usual[i] }
		}, 1, 0},
		{"half as much or half as much again", 3, 24, func(rng *rand.Rand, usual []float64) func(int, time.Duration) float64 {
			return func(i int, _ time.Duration) float64 { return usual[i] * (0.5 + rng.Float64()) }
		}, 1, 0},
		{"nothing, then everything", 3, 24, func(rng *rand.Rand, usual []float64) func(int, time.Duration) float64 {
			return func(i int, _ time.Duration) float64 { return usual[i] * 5 * float64(rng.IntN(5)/4) }
		}, 1, 0.5},
		{"day and night", 3, 24, func(_ *rand.Rand, usual []float64) func(int, time.Duration) float64 {
			return func(i int, now time.Duration) float64 { return usual[i] * (1 + 0.9*math.Sin(now.Hours()/4)) }
		}, 1, 0},
		{"a burst each minute", 5, 50, func(rng *rand.Rand, _ []float64) func(int, time.Duration) float64 {
			return bursts(rng, same(50, 10), 30, 10*time.Second, minute)
		}, 1, 0.5},
		{"a burst each five minutes", 5, 50, func(rng *rand.Rand, _ []float64) func(int, time.Duration) float64 {
			return bursts(rng, same(50, 10), 30, 10*time.Second, 5*minute)
		}, 1, 0.5},
		{"a burst each half hour", 5, 50, func(rng *rand.Rand, _ []float64) func(int, time.Duration) float64 {
			return bursts(rng, same(50, 10), 30, 10*time.Second, 30*minute)
		}, 1, 0.5},
		{
			"bursts of leases that differ, few for each worker", 10, 50,
			func(rng *rand.Rand, usual []float64) func(int, time.Duration) float64 {
				return bursts(rng, usual, 30, 10*time.Second, 5*minute)
			}, 2, 1,
		},
		{"huge bursts", 5, 30, func(rng *rand.Rand, usual []float64) func(int, time.Duration) float64 {
			return bursts(rng, usual, 1000, 10*time.Second, 15*minute)
		}, 2, 1},
		{"bursts of a minute", 5, 50, func(rng *rand.Rand, _ []float64) func(int, time.Duration) float64 {
			return bursts(rng, same(50, 10), 30, minute, 10*minute)
		}, 2, 1},
		{"all new each quarter of an hour", 3, 24, func(rng *rand.Rand, usual []float64) func(int, time.Duration) float64 {
			return func(i int, now time.Duration) float64 {
				if now%(15*minute) == 0 {
					usual[i] = 100 * rng.Float64()
				}
				return usual[i]
			}
		}, 3, 20},
		{"bursts of ten minutes", 5, 30, func(rng *rand.Rand, _ []float64) func(int, time.Duration) float64 {
			return bursts(rng, same(30, 10), 30, 10*minute, 120*minute)
		}, 3, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(7, 7))
			usual := make([]float64, tt.leases)
			for i := range usual {
				usual[i] = 10 + 90*rng.Float64()
			}
			f := newLoads(tt.workers, tt.leases, tt.rate(rng, usual))
			first, later := 0, 0
			last := make([]time.Duration, tt.leases)
			each := make([]int, tt.leases)
			f.moved = func(i int, now time.Duration) {
				require.True(t, each[i] == 0 || last[i] < time.Minute || now-last[i] >= 5*time.Minute,
					"shard %d moves too often", i)
				last[i] = now
				if each[i]++; now < time.Hour {
					first++
				} else {
					later++
				}
			}
			f.run(time.Duration(hours) * time.Hour)
			n := float64(tt.leases)
			t.Logf("moves of a lease: %.2f in the first hour, then %.2f a day", float64(first)/n,
				float64(later)/n/float64(hours-1)*24)
			require.LessOrEqual(t, float64(first), tt.first*n)
			require.LessOrEqual(t, float64(later), max(tt.most*n*float64(hours-1)/24, math.Ceil(tt.most)*2), "%v", each)
			require.LessOrEqual(t, slices.Max(each), 12)
		})
	}
}

// TestThroughputThatShifts raises the throughput of the leases of half of the workers to five times
// as much, for good.
func TestThroughputThatShifts(t *testing.T) {
	t.Parallel()
	const settled = 2 * time.Hour
	for _, tt := range []struct {
		name            string
		workers, leases int
		times           float64 // of what is usual, in a burst
		quarter, half   float64 // the spread after a quarter of an hour and after half an hour
	}{
		{"steady", 4, 40, 1, 0.4, 0.25},
		{"steady, many workers", 10, 50, 1, 0.7, 0.6},
		{"in bursts", 4, 40, 30, 1, 0.7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rate := bursts(rand.New(rand.NewPCG(7, 7)), slices.Repeat([]float64{10}, tt.leases), tt.times,
				10*time.Second, 5*time.Minute)
			shifted := make([]float64, tt.leases)
			var f *loads
			var at []float64
			f = newLoads(tt.workers, tt.leases, func(i int, now time.Duration) float64 {
				if now == settled {
					shifted[i] = 1
					if slices.Index(f.workers, f.rows[i].Owner) < tt.workers/2 {
						shifted[i] = 5
					}
				}
				if i == 0 && now > settled && (now-settled)%(15*time.Minute) == 0 {
					at = append(at, f.spread(func(i int) float64 { return shifted[i] }))
				}
				return rate(i, now) * max(1, shifted[i])
			})
			before, after := 0, 0
			f.moved = func(_ int, now time.Duration) {
				if now < settled {
					before++
				} else {
					after++
				}
			}
			f.run(settled + 75*time.Minute)
			t.Logf("%d moves before, %d after the shift; spread each quarter of an hour: %.2f", before, after, at)
			require.LessOrEqual(t, at[0], tt.quarter)
			require.LessOrEqual(t, at[1], tt.half)
			require.LessOrEqual(t, after, tt.leases/2)
		})
	}
}

// TestLeaderLeavesChanceAlone has a leader, which decides as the KCL does. Varying loads move
// hardly any lease. Differences that last are evened out.
func TestLeaderLeavesChanceAlone(t *testing.T) {
	t.Parallel()
	hours := testsize.Pick(2, 4, 8)
	const workers, leases = 5, 50
	settled, quarter := time.Duration(hours)*time.Hour, 15*time.Minute
	rng := func() *rand.Rand { return rand.New(rand.NewPCG(7, 7)) }
	usual := slices.Repeat([]float64{10}, leases)
	noise, five := rng(), rng()
	for _, tt := range []struct {
		name        string
		rate        func(i int, now time.Duration) float64
		first, most int     // moves in the first hour, and then in each
		spread      float64 // a quarter of an hour after the shift
	}{
		{
			"half as much or half as much again", func(int, time.Duration) float64 { return 10 * (0.5 + noise.Float64()) },
			0, 0, 0.5,
		},
		{"nothing, then everything", func(int, time.Duration) float64 { return 50 * float64(five.IntN(5)/4) }, 25, 1, 0.6},
		{"bursts", bursts(rng(), usual, 30, 10*time.Second, 5*time.Minute), 50, 4, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			shifted := slices.Repeat([]float64{1}, leases)
			var f *loads
			f = newLoads(workers, leases, func(i int, now time.Duration) float64 {
				if now == settled && slices.Index(f.workers, f.rows[i].Owner) < workers/2 {
					shifted[i] = 5
				}
				return tt.rate(i, now) * shifted[i]
			})
			moves := make([]int, hours+1)
			f.moved = func(_ int, now time.Duration) { moves[now/time.Hour]++ }
			f.lead(settled + quarter)
			spread := f.spread(func(i int) float64 { return shifted[i] })
			t.Logf("moves in each hour: %v; spread a quarter of an hour after a shift: %.2f", moves, spread)
			require.LessOrEqual(t, moves[0], tt.first)
			require.LessOrEqual(t, slices.Max(moves[1:hours]), tt.most)
			require.LessOrEqual(t, spread, tt.spread)
		})
	}
}

// TestThroughputOfRestlessLeases moves a lease whenever that is allowed, which is seldom.
func TestThroughputOfRestlessLeases(t *testing.T) {
	t.Parallel()
	var s Scale
	owner, days := 0, make([]int, 7)
	for now := time.Duration(0); now < 7*24*time.Hour; now += 10 * time.Second {
		v := View{Me: "a", Rows: []Row{{Lease: leases.Lease{Key: "1", Owner: workerNames[owner%2]}}}}
		s.AddThroughput(failover, &v, now)
		require.True(t, v.Rows[0].Restless || !v.Rows[0].Settling)
		if !v.Rows[0].Restless {
			owner++
			days[now/(24*time.Hour)]++
		}
	}
	require.LessOrEqual(t, days[0], 12, "%v", days)
	require.LessOrEqual(t, slices.Max(days[1:]), 6+1, "%v", days)
}

// TestThroughputThatNobodyWrites lets a worker of KCL 2.x take a busy lease. That worker leaves the
// throughput of the row as it is, and has not measured it.
func TestThroughputThatNobodyWrites(t *testing.T) {
	t.Parallel()
	var s Scale
	row1 := heldLease("0", "a")
	row1.ThroughputKBps = 500
	look := func(at time.Duration) float64 {
		v := View{Me: "b", Rows: []Row{{Lease: row1}}}
		s.AddThroughput(failover, &v, at)
		return v.Rows[0].KBps
	}
	at := time.Duration(0)
	pass := func(d time.Duration, change func()) float64 {
		kbps := 0.0
		for end := at + d; at < end; at += 3 * time.Second {
			row1.Counter++
			change()
			kbps = look(at)
		}
		return kbps
	}
	require.InDelta(t, 500, pass(5*time.Minute, func() {}), 0)
	row1.Owner = "java2"
	require.Negative(t, pass(2*time.Minute, func() {}), "not known")
	row1.Owner = "java3" // writes what it measures
	require.InDelta(t, 40, pass(30*time.Minute, func() { row1.ThroughputKBps = 40 + float64(row1.Counter%2)/10 }), 10)
	row1.Owner, row1.NativeOwner, row1.ThroughputKBps = "b", "b", 40
	require.InDelta(t, 40, pass(30*time.Minute, func() {}), 1)
	row1.Owner, row1.ThroughputKBps = "java2", 0
	require.InDelta(t, 0, pass(time.Hour, func() {}), 1, "idle may be true")
}

// TestEstimate: equal periods have no variance. A burst raises the variance more than the average.
// A change for good soon raises the average more.
func TestEstimate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var e estimate
		look := func(kbps float64) {
			e.add(kbps, 30)
			e.add(-1, 30)
			e.endPeriod(periodsAveraged)
		}
		usual := rapid.Float64Range(0, 1e6).Draw(t, "usual")
		for range rapid.IntRange(2, 100).Draw(t, "looks") {
			look(usual)
		}
		kbps, doubt := e.value(7)
		require.InEpsilon(t, usual+1, kbps+1, 1e-9)
		require.InDelta(t, 0, doubt, 1e-9)

		step := rapid.Float64Range(1, 1e6).Draw(t, "step")
		burst := e
		e.add(usual+step, 60)
		e.endPeriod(periodsAveraged)
		for range 30 {
			kbps, doubt = e.value(7)
			require.Less(t, kbps-usual, certainDeviations*math.Sqrt(doubt), "a burst")
			look(usual)
		}
		e = burst
		for range 5 {
			look(usual + step)
		}
		kbps, doubt = e.value(7)
		require.Greater(t, kbps-usual, certainDeviations*math.Sqrt(doubt), "for good")
		for range 60 {
			look(usual + step)
		}
		kbps, _ = e.value(7)
		require.InEpsilon(t, usual+step, kbps, 0.01)
	})
}

// TestEstimateOfNothing: a lease that nobody has measured stays unknown.
func TestEstimateOfNothing(t *testing.T) {
	t.Parallel()
	var e estimate
	e.add(-1, 60)
	e.add(5, 0)
	e.endPeriod(periodsAveraged)
	kbps, doubt := e.value(-1)
	require.InDelta(t, -1, kbps, 0)
	require.InDelta(t, 0, doubt, 0)
	e.add(5, 1)
	kbps, _ = e.value(3)
	require.InDelta(t, 3, kbps, 0, "what the row says, until a look has ended")
}
