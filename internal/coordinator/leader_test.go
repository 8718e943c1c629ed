package coordinator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
)

// An owner of the KCL renews for ever, and never completes a hand-over. After 40 s the leader
// assigns the lease.
func TestHandOverIsForcedByTheLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 4)
		f.Is3x()
		f.Start("a")
		time.Sleep(5 * time.Second)
		j := f.Java("java", func(j *fleettest.JavaWorker) { j.Finishing = 10 * time.Hour })
		time.Sleep(2 * time.Minute)
		f.RequireBalance("a", "java")
		f.Start("b")
		f.Start("c")
		asked := time.Time{}
		for time.Sleep(time.Second); asked.IsZero(); time.Sleep(250 * time.Millisecond) {
			for _, row := range f.Rows() {
				if row.CheckpointOwner == "java" {
					asked = time.Now()
				}
			}
		}
		pending := func() (n int) {
			for _, row := range f.Rows() {
				if row.CheckpointOwner == "java" {
					n++
				}
			}
			return n
		}
		for pending() > 0 {
			time.Sleep(250 * time.Millisecond)
		}
		took := time.Since(asked)
		require.Greater(t, took, 38*time.Second)
		require.Less(t, took, 46*time.Second)
		time.Sleep(5 * time.Second)
		require.Equal(t, 1, f.Load()["java"], "it noticed, and keeps the other one")
		require.Len(t, f.Load(), 4)
		j.Stop()
	})
}

// An owner may hand over for as long as its ShutdownTimeout, whatever the leader's is.
func TestHandOverTakesAsLongAsItsOwnerMay(t *testing.T) {
	t.Parallel()
	for name, ofLeader := range testsize.Some(1, map[string]time.Duration{
		"all the same":   3 * time.Minute,
		"not the leader": 10 * time.Second,
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.NewKCL3(t, 4)
				f.Is3x()
				var cut, done atomic.Int64
				long := func(c *coordinator.Config) {
					c.ShutdownTimeout = 3 * time.Minute
					c.Consume = func(ctx context.Context, h *holder.Holder) {
						h.Delivered(0)
						select {
						case <-h.Stopping():
						case <-ctx.Done():
							return
						}
						select {
						case <-time.After(90 * time.Second): // a long batch
							done.Add(1)
						case <-ctx.Done():
							cut.Add(1)
						}
					}
				}
				l := f.Start("leader", maxLeases(1), func(c *coordinator.Config) { c.ShutdownTimeout = ofLeader })
				time.Sleep(10 * time.Second)
				a := f.Start("a", long)
				time.Sleep(2 * time.Minute)
				b := f.Start("b", long)
				time.Sleep(8 * time.Minute)
				require.Equal(t, "leader", f.Leader())
				require.Zero(t, cut.Load())
				require.Positive(t, done.Load(), "%v", f.Load())
				require.NotEmpty(t, f.Load()["b"])
				for _, w := range []*fleettest.Worker{l, a, b} {
					w.Cancel()
				}
			})
		})
	}
}

// A dead worker whose last report still counts gets no lease.
func TestDeadWorkerGetsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, testsize.Pick(6, 12, 12))
		f.Is3x()
		f.Start("a")
		f.Java("java")
		j := f.Java("dead")
		time.Sleep(3 * time.Minute)
		f.RequireBalance("a", "dead", "java")
		j.Kill()
		time.Sleep(12 * time.Second)
		for begun := time.Now(); time.Since(begun) < 3*time.Minute; time.Sleep(time.Second) {
			if n := f.Load()["dead"]; time.Since(begun) > 5*time.Second {
				require.Zero(t, n, "after %s", time.Since(begun))
			}
		}
		f.RequireBalance("a", "java")
	})
}

// Every second answer to a write of the lock gets lost, and the write took effect. The leader
// notices that, and stays the leader.
func TestLeaderWhoseAnswersGetLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 2)
		rng := rand.New(rand.NewPCG(1, 0))
		f.Server.Inject(dynamotest.Fault{Key: "Leader", When: func(c dynamotest.Call) bool {
			return c.Operation != "GetItem" && rng.IntN(2) == 0
		}, Do: []dynamotest.Action{dynamotest.LoseAnswer()}})
		f.Start("a", kcl3)
		f.Start("b", kcl3)
		time.Sleep(10 * time.Second)
		leader := f.Leader()
		require.NotEmpty(t, leader)
		for range 60 {
			time.Sleep(5 * time.Second)
			require.Equal(t, leader, f.Leader())
		}
	})
}

// A worker is stopped while it waits for the answer to its write of the lock, which has succeeded.
// It leaves no lock behind.
func TestStopWhileTheLockIsAcquired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 1)
		f.Server.Inject(dynamotest.Fault{
			Operation: "PutItem", Key: "Leader",
			Do: []dynamotest.Action{dynamotest.DelayAnswer(2 * time.Second)},
		})
		a := f.Start("a", kcl3)
		for f.Leader() == "" {
			time.Sleep(100 * time.Millisecond)
		}
		a.Stop()
		require.Empty(t, f.Leader())
	})
}

// The table cannot be reached for a while. No worker loses a lease that had not expired. The first
// worker that reaches the table again takes no lease from the others.
func TestFleetOfKCL3SurvivesAnOutage(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{5 * time.Second, testsize.Pick(2*time.Minute, 10*time.Minute, time.Hour)} {
		t.Run(outage.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.NewKCL3(t, testsize.Pick(6, 12, 12))
				for _, id := range []string{"a", "b", "c"} {
					f.Start(id, kcl3)
				}
				time.Sleep(3 * time.Minute)
				f.RequireBalance("a", "b", "c")
				before := f.Rows()
				repair := f.Server.Inject(dynamotest.Fault{Do: []dynamotest.Action{dynamotest.Silence()}})
				time.Sleep(outage)
				repair()
				time.Sleep(time.Minute)
				moved := 0
				for key, row := range f.Rows() {
					if row.Owner != before[key].Owner {
						moved++
					}
				}
				require.Zero(t, moved)
				require.NotEmpty(t, f.Leader())
				f.Reset()
				time.Sleep(testsize.Pick(2*time.Minute, 5*time.Minute, 5*time.Minute))
				require.Zero(t, f.Moves())
				require.Less(t, f.LongestGap(), 3*time.Second)
			})
		})
	}
}

// Without the right to create or query the index, the table is listed.
func TestFleetOfKCL3WithoutIndex(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"UpdateTable", "Query"} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.NewKCL3(t, 6)
				f.Server.Inject(dynamotest.Fault{Operation: operation, Do: []dynamotest.Action{dynamotest.Deny()}})
				f.Start("a", kcl3)
				time.Sleep(5 * time.Second)
				f.Start("b", kcl3)
				time.Sleep(2 * time.Minute)
				f.RequireBalance("a", "b")
				require.Zero(t, f.Repeats())
				f.Workers["b"].Stop()
				time.Sleep(6 * time.Second)
				require.Equal(t, map[string]int{"a": 6}, f.Load())
			})
		})
	}
}

// A shard that one worker cannot read goes to another one, and not back at once.
func TestLeaderTakesAwayWhatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 4)
		failing := func(c *coordinator.Config) {
			kcl3(c)
			consume := c.Consume
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				if h.Lease().Key != first {
					consume(ctx, h)
				}
			}
		}
		f.Start("a", failing)
		time.Sleep(5 * time.Second)
		f.Start("b", kcl3)
		time.Sleep(time.Minute)
		require.Equal(t, "b", f.Rows()[first].Owner)
		f.Reset()
		time.Sleep(5 * time.Minute)
		require.Equal(t, "b", f.Rows()[first].Owner)
	})
}

// A child that waits for a parent of another worker notices the parent's end at once, before the
// next listing of the table.
func TestFollowerSeesTheEndOfAParent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 1)
		f.Is3x()
		f.Java("java", func(j *fleettest.JavaWorker) { j.Lead = true })
		time.Sleep(time.Minute)
		require.Equal(t, "java", f.Rows()[first].Owner)
		const child = "shardId-000000000001"
		require.NoError(t, f.Table.Create(t.Context(), leases.Lease{
			Key: child, ShardID: child, ThroughputKBps: -1, Parents: []string{first}, Checkpoint: f.Rows()[first].Checkpoint,
		}))
		waits := func(c *coordinator.Config) {
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				select {
				case <-h.Stopping():
				case <-ctx.Done():
				}
			}
		}
		a := f.Start("a", waits)
		time.Sleep(2 * time.Minute)
		require.Equal(t, "a", f.Rows()[child].Owner)
		for range 5 {
			row := f.Rows()[first]
			to := row
			to.Checkpoint = shardEnd
			require.NoError(t, f.Table.Update(t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrCheckpoint}))
			time.Sleep(3 * time.Second)
			seen, ok := a.Coordinator.Lookup(first)
			require.True(t, ok)
			require.True(t, seen.Finished())
			to.Checkpoint = row.Checkpoint // once more
			require.NoError(t, f.Table.Update(t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrCheckpoint}))
			time.Sleep(15 * time.Second)
		}
	})
}

func TestLeaderKeepsToMaxLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 10)
		for _, id := range []string{"a", "b"} {
			f.Start(id, kcl3, maxLeases(3))
		}
		time.Sleep(2 * time.Minute)
		require.Equal(t, map[string]int{"a": 3, "b": 3, "": 4}, f.Load())
		before := f.Server.AllCalls()["Scan"]
		time.Sleep(time.Minute)
		require.LessOrEqual(t, f.Server.AllCalls()["Scan"]-before, 3*35,
			"the leader lists, and reads reports; the other one does so no more often than else")
		f.Start("c", kcl3, maxLeases(3))
		f.Start("d", kcl3, maxLeases(3))
		time.Sleep(15 * time.Second)
		require.NotContains(t, f.Load(), "")
	})
}

// TestCostOfKCL3 measures what a quiet fleet costs where a leader assigns: one
// worker lists the table, the others ask the index.
func TestCostOfKCL3(t *testing.T) {
	t.Parallel()
	const workers = 4
	shards, minutes := testsize.Pick(4, 12, 12), testsize.Pick(2, 3, 3)
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, shards)
		f.Period = time.Hour
		for i := range workers {
			f.Start(fmt.Sprintf("w%d", i), kcl3)
		}
		time.Sleep(2 * time.Minute)
		before := f.Server.AllCalls()
		time.Sleep(time.Duration(minutes) * time.Minute)
		after := f.Server.AllCalls()
		per := func(operation string) float64 {
			return float64(after[operation]-before[operation]) / float64(workers*minutes*60)
		}
		t.Logf("a worker-second: %.3f scans, %.3f queries, %.3f gets, %.3f describes", per("Scan"), per("Query"),
			per("GetItem"), per("DescribeTable"))
		require.LessOrEqual(t, per("Scan"), 0.30)
		require.LessOrEqual(t, per("Query"), 0.45)
		require.LessOrEqual(t, per("GetItem"), 0.25)
		require.LessOrEqual(t, per("DescribeTable"), 0.1)
	})
}

// TestChaosOfKCL3 lets workers of both libraries come, go and die, the mode
// flip, and calls fail. The fleet checks all the while what no worker may do.
func TestChaosOfKCL3(t *testing.T) {
	t.Parallel()
	eachSeed(t, testsize.Pick[uint64](1, 1, 8), chaosOfKCL3)
}

func chaosOfKCL3(t *testing.T, rng *rand.Rand) {
	f := fleettest.NewKCL3(t, 8)
	f.Is3x()
	type member struct {
		id   string
		ours *fleettest.Worker
		java *fleettest.JavaWorker
	}
	var alive []member
	var repair func()
	modes := []string{
		leases.ClientVersion3x, leases.ClientVersion3xRollback, leases.ClientVersion3x,
		leases.ClientVersion2x,
	}
	native := false
	for i := range testsize.Pick(10, 40, 40) {
		switch n := rng.IntN(12); {
		case len(alive) < 2 || (len(alive) < 5 && n < 4):
			m := member{id: fmt.Sprintf("w%d", i)}
			if !native && n == 0 {
				m.java = f.Java(m.id, func(j *fleettest.JavaWorker) { j.Lead = rng.IntN(2) == 0 })
			} else {
				m.ours = f.Start(m.id)
			}
			alive = append(alive, m)
		case n < 7:
			at := rng.IntN(len(alive))
			switch m := alive[at]; {
			case m.java != nil && n == 4:
				m.java.Kill()
			case m.java != nil:
				m.java.Stop()
			case n == 4:
				m.ours.Kill()
			default:
				m.ours.Stop()
			}
			alive = slices.Delete(alive, at, at+1)
		case n < 9:
			if repair != nil {
				repair()
			}
			host := alive[rng.IntN(len(alive))].id
			actions := []dynamotest.Action{
				dynamotest.LoseAnswer(), dynamotest.LoseRequest(), dynamotest.Throttle(),
				dynamotest.Silence(), dynamotest.Delay(2 * time.Second), dynamotest.Late(3 * time.Second),
			}
			// Calls come from many goroutines of one process, in an order of their own.
			action := actions[rng.IntN(len(actions))]
			repair = f.Server.Inject(dynamotest.Fault{
				Client: host, When: func(dynamotest.Call) bool { return rand.IntN(3) > 0 },
				Do: []dynamotest.Action{action},
			})
		case n == 9 && !slices.ContainsFunc(alive, func(m member) bool { return m.java != nil }):
			status := modes[rng.IntN(len(modes))]
			f.SetClientVersion(status)
			native = status == leases.ClientVersion2x
		}
		time.Sleep(time.Duration(rng.Int64N(int64(25 * time.Second))))
	}
	if repair != nil {
		repair()
	}
	f.SetClientVersion(leases.ClientVersion3x)
	for _, m := range alive {
		if m.java != nil {
			m.java.Stop()
		}
	}
	f.Start("last")
	time.Sleep(6 * time.Minute)
	load := f.Load()
	require.NotContains(t, load, "")
	require.Contains(t, load, "last")
	for id := range load {
		require.True(t, id == "last" ||
			slices.ContainsFunc(alive, func(m member) bool { return m.id == id && m.ours != nil }), "%v", load)
	}
	f.Reset()
	time.Sleep(2 * time.Minute)
	require.Zero(t, f.Moves())
	require.Less(t, f.LongestGap(), 3*time.Second)
}

// TestL24LeaderIsKilledAtAnyMoment kills leader after leader. Each time another one assigns leases
// within the bound: the lock's duration, a read every 5 s, and a scan.
func TestL24LeaderIsKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	for seed := range testsize.Pick[uint64](1, 1, 4) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			f := fleettest.NewKCL3(t, 8)
			f.Is3x()
			for _, id := range []string{"a", "b", "c"} {
				f.Start(id)
			}
			time.Sleep(20 * time.Second)
			for i := range testsize.Pick(4, 8, 25) {
				time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Second))))
				leader := f.Leader()
				f.Workers[leader].Kill()
				f.Start(fmt.Sprintf("w%d", i))
				time.Sleep(28 * time.Second)
				require.NotEqual(t, leader, f.Leader())
				require.NotContains(t, f.Load(), leader)
				require.Less(t, f.LongestGap(), 33*time.Second)
				f.Reset()
			}
		})
	}
}

// TestL25ZombieLeader has a leader that keeps its lock and cannot do its work. It resigns, or
// others take its leases, within a bound.
func TestL25ZombieLeader(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault dynamotest.Fault
		leads bool // still
	}{
		{"cannot list", dynamotest.Fault{
			Operation: "Scan",
			Do:        []dynamotest.Action{dynamotest.Fail("InternalServerError", "")},
		}, false},
		{"list hangs", dynamotest.Fault{Operation: "Scan", Do: []dynamotest.Action{dynamotest.Silence()}}, false},
		{"cannot assign", dynamotest.Fault{Operation: "UpdateItem", When: func(c dynamotest.Call) bool {
			return c.Key == "shardId-000000000009"
		}, Do: []dynamotest.Action{dynamotest.Deny()}}, false},
	}[testsize.Pick(2, 0, 0):] {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.NewKCL3(t, 4)
				f.Is3x()
				f.Start("a")
				time.Sleep(3 * time.Second)
				f.Start("b")
				f.Start("c")
				time.Sleep(time.Minute)
				require.Equal(t, "a", f.Leader())
				tt.fault.Client = "a"
				f.Server.Inject(tt.fault)
				f.Create("shardId-000000000009")
				begun := time.Now()
				for f.Rows()["shardId-000000000009"].Owner == "" {
					time.Sleep(time.Second)
				}
				t.Logf("assigned after %s, led by %q", time.Since(begun), f.Leader())
				require.Less(t, time.Since(begun), 50*time.Second)
				time.Sleep(time.Minute)
				require.Less(t, f.LongestGap(), 10*time.Second, "hand-overs to even out the load")
			})
		})
	}
}

// TestL08ClocksOfKCL3 sets the clocks of workers ten minutes apart. The age of a report counts from
// when it was first seen.
func TestL08ClocksOfKCL3(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 6)
		f.Is3x()
		for id, offset := range map[string]time.Duration{"a": -10 * time.Minute, "b": 10 * time.Minute, "c": 0} {
			w := f.Prepare(id)
			w.Coordinator.SetWallClock(func() time.Duration { return offset })
			w.Run()
		}
		time.Sleep(2 * time.Minute)
		f.RequireBalance("a", "b", "c")
		f.Workers["b"].Kill()
		time.Sleep(45 * time.Second)
		require.NotContains(t, f.Load(), "b")
		f.Reset()
		time.Sleep(testsize.Pick(2*time.Minute, 5*time.Minute, 5*time.Minute))
		require.NotContains(t, f.Load(), "b")
		require.LessOrEqual(t, f.Moves(), 1)
	})
}

func TestTenWorkersOfKCL3(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, testsize.Pick(50, 150, 200))
		f.Period = 20 * time.Second
		begun := time.Now()
		var ids []string
		for i := range 10 {
			ids = append(ids, fmt.Sprintf("w%d", i))
			f.Start(ids[i], kcl3)
			time.Sleep(500 * time.Millisecond)
		}
		require.NotContains(t, f.Load(), "")
		for len(f.Load()) < 10 {
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Second)
		require.Less(t, time.Since(begun), 30*time.Second)
		f.RequireBalance(ids...)
	})
}

// The leader takes an owner for dead, and assigns its lease. The owner's renewal comes first, so
// the lease stays.
func TestLeaderIsLaterThanARenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 3)
		f.Is3x()
		renew := func() {
			row := f.Rows()[first]
			to := row
			to.Owner = "java"
			to.Counter++
			require.NoError(t, f.Table.Update(t.Context(),
				leases.Update{Read: row, Expect: leases.AttrCounter, To: to, Set: leases.AttrOwner | leases.AttrCounter}))
		}
		renew()
		f.Start("b") // leads, and is to assign the lease to the other one
		time.Sleep(500 * time.Millisecond)
		f.Start("a")
		var late atomic.Bool
		f.Server.Inject(dynamotest.Fault{Client: "b", Key: first, Operation: "UpdateItem", When: func(dynamotest.Call) bool {
			return !late.Swap(true)
		}, Do: []dynamotest.Action{dynamotest.Delay(time.Second)}})
		require.Equal(t, "b", f.Leader())
		for !late.Load() { // it does not renew until the leader has written
			time.Sleep(10 * time.Millisecond)
		}
		renew()
		for range 10 {
			time.Sleep(3 * time.Second)
			require.Equal(t, "java", f.Rows()[first].Owner)
			renew()
		}
	})
}

// A lease that is assigned to a stopping worker is given back at the end.
func TestWorkerIsGivenALeaseWhileItStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 1)
		w := f.Start("a", kcl3, takesLong(10*time.Second, make(chan error, 1)))
		time.Sleep(5 * time.Second)
		go w.Stop() // ends after ten seconds
		time.Sleep(5 * time.Second)
		const late = "shardId-000000000001"
		f.Create(late)
		row := f.Rows()[late]
		to := row
		to.Owner = "a"
		require.NoError(t, f.Table.Update(t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrOwner}))
		<-w.Done
		require.NoError(t, w.Err)
		require.Equal(t, map[string]int{"": 2}, f.Load())
	})
}
