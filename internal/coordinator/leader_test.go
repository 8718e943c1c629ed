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
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
)

// An owner of the KCL renews for ever, and never completes a hand-over. After 40 s the leader
// assigns the lease.
func TestHandOverIsForcedByTheLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 4)
		f.is3x()
		f.start("a")
		time.Sleep(5 * time.Second)
		j := f.java("java", func(j *javaWorker) { j.finishing = 10 * time.Hour })
		time.Sleep(2 * time.Minute)
		f.requireBalance("a", "java")
		f.start("b")
		f.start("c")
		asked := time.Time{}
		for time.Sleep(time.Second); asked.IsZero(); time.Sleep(250 * time.Millisecond) {
			for _, row := range f.rows() {
				if row.CheckpointOwner == "java" {
					asked = time.Now()
				}
			}
		}
		pending := func() (n int) {
			for _, row := range f.rows() {
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
		require.Equal(t, 1, f.load()["java"], "it noticed, and keeps the other one")
		require.Len(t, f.load(), 4)
		j.stop()
	})
}

// An owner may hand over for as long as its ShutdownTimeout, whatever the leader's is.
func TestHandOverTakesAsLongAsItsOwnerMay(t *testing.T) {
	t.Parallel()
	for name, ofLeader := range map[string]time.Duration{"all the same": 3 * time.Minute, "not the leader": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newKCL3Fleet(t, 4)
				f.is3x()
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
				l := f.start("leader", maxLeases(1), func(c *coordinator.Config) { c.ShutdownTimeout = ofLeader })
				time.Sleep(10 * time.Second)
				a := f.start("a", long)
				time.Sleep(2 * time.Minute)
				b := f.start("b", long)
				time.Sleep(8 * time.Minute)
				require.Equal(t, "leader", f.leader())
				require.Zero(t, cut.Load())
				require.Positive(t, done.Load(), "%v", f.load())
				require.NotEmpty(t, f.load()["b"])
				for _, w := range []*worker{l, a, b} {
					w.cancel()
				}
			})
		})
	}
}

// A dead worker whose last report still counts gets no lease.
func TestDeadWorkerGetsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 12)
		f.is3x()
		f.start("a")
		f.java("java")
		j := f.java("dead")
		time.Sleep(3 * time.Minute)
		f.requireBalance("a", "dead", "java")
		j.kill()
		time.Sleep(12 * time.Second)
		for begun := time.Now(); time.Since(begun) < 3*time.Minute; time.Sleep(time.Second) {
			if n := f.load()["dead"]; time.Since(begun) > 5*time.Second {
				require.Zero(t, n, "after %s", time.Since(begun))
			}
		}
		f.requireBalance("a", "java")
	})
}

// Every second answer to a write of the lock gets lost, and the write took effect. The leader
// notices that, and stays the leader.
func TestLeaderWhoseAnswersGetLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 2)
		rng := rand.New(rand.NewPCG(1, 0))
		f.srv.Inject(dynamotest.Fault{Key: "Leader", When: func(c dynamotest.Call) bool {
			return c.Operation != "GetItem" && rng.IntN(2) == 0
		}, Do: []dynamotest.Action{dynamotest.LoseAnswer()}})
		f.start("a", kcl3)
		f.start("b", kcl3)
		time.Sleep(10 * time.Second)
		leader := f.leader()
		require.NotEmpty(t, leader)
		for range 60 {
			time.Sleep(5 * time.Second)
			require.Equal(t, leader, f.leader())
		}
	})
}

// A worker is stopped while it waits for the answer to its write of the lock, which has succeeded.
// It leaves no lock behind.
func TestStopWhileTheLockIsAcquired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 1)
		f.srv.Inject(dynamotest.Fault{Operation: "PutItem", Key: "Leader", Do: []dynamotest.Action{dynamotest.DelayAnswer(2 * time.Second)}})
		a := f.start("a", kcl3)
		for f.leader() == "" {
			time.Sleep(100 * time.Millisecond)
		}
		a.stop()
		require.Empty(t, f.leader())
	})
}

// The table cannot be reached for a while. No worker loses a lease that had not expired. The first
// worker that reaches the table again takes no lease from the others.
func TestFleetOfKCL3SurvivesAnOutage(t *testing.T) {
	t.Parallel()
	for _, outage := range []time.Duration{5 * time.Second, testsize.Pick(10*time.Minute, 20*time.Minute, time.Hour)} {
		t.Run(outage.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newKCL3Fleet(t, 12)
				for _, id := range []string{"a", "b", "c"} {
					f.start(id, kcl3)
				}
				time.Sleep(3 * time.Minute)
				f.requireBalance("a", "b", "c")
				before := f.rows()
				repair := f.srv.Inject(dynamotest.Fault{Do: []dynamotest.Action{dynamotest.Silence()}})
				time.Sleep(outage)
				repair()
				time.Sleep(time.Minute)
				moved := 0
				for key, row := range f.rows() {
					if row.Owner != before[key].Owner {
						moved++
					}
				}
				require.Zero(t, moved)
				require.NotEmpty(t, f.leader())
				f.reset()
				time.Sleep(5 * time.Minute)
				require.Zero(t, f.moves())
				require.Less(t, f.longestGap(), 3*time.Second)
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
				f := newKCL3Fleet(t, 6)
				f.srv.Inject(dynamotest.Fault{Operation: operation, Do: []dynamotest.Action{dynamotest.Deny()}})
				f.start("a", kcl3)
				time.Sleep(5 * time.Second)
				f.start("b", kcl3)
				time.Sleep(2 * time.Minute)
				f.requireBalance("a", "b")
				require.Zero(t, f.repeats())
				f.workers["b"].stop()
				time.Sleep(6 * time.Second)
				require.Equal(t, map[string]int{"a": 6}, f.load())
			})
		})
	}
}

// A shard that one worker cannot read goes to another one, and not back at once.
func TestLeaderTakesAwayWhatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 4)
		failing := func(c *coordinator.Config) {
			kcl3(c)
			consume := c.Consume
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				if h.Lease().Key != first {
					consume(ctx, h)
				}
			}
		}
		f.start("a", failing)
		time.Sleep(5 * time.Second)
		f.start("b", kcl3)
		time.Sleep(time.Minute)
		require.Equal(t, "b", f.rows()[first].Owner)
		f.reset()
		time.Sleep(5 * time.Minute)
		require.Equal(t, "b", f.rows()[first].Owner)
	})
}

// A child that waits for a parent of another worker notices the parent's end at once, before the
// next listing of the table.
func TestFollowerSeesTheEndOfAParent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 1)
		f.is3x()
		f.java("java", func(j *javaWorker) { j.lead = true })
		time.Sleep(time.Minute)
		require.Equal(t, "java", f.rows()[first].Owner)
		const child = "shardId-000000000001"
		require.NoError(t, f.table.Create(t.Context(), leases.Lease{
			Key: child, ShardID: child, ThroughputKBps: -1, Parents: []string{first}, Checkpoint: f.rows()[first].Checkpoint,
		}))
		waits := func(c *coordinator.Config) {
			c.Consume = func(ctx context.Context, h *holder.Holder) {
				select {
				case <-h.Stopping():
				case <-ctx.Done():
				}
			}
		}
		a := f.start("a", waits)
		time.Sleep(2 * time.Minute)
		require.Equal(t, "a", f.rows()[child].Owner)
		for range 5 {
			row := f.rows()[first]
			to := row
			to.Checkpoint = shardEnd
			require.NoError(t, f.table.Update(t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrCheckpoint}))
			time.Sleep(3 * time.Second)
			seen, ok := a.coord.Lookup(first)
			require.True(t, ok)
			require.True(t, seen.Finished())
			to.Checkpoint = row.Checkpoint // once more
			require.NoError(t, f.table.Update(t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrCheckpoint}))
			time.Sleep(15 * time.Second)
		}
	})
}

func TestLeaderKeepsToMaxLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 10)
		for _, id := range []string{"a", "b"} {
			f.start(id, kcl3, maxLeases(3))
		}
		time.Sleep(2 * time.Minute)
		require.Equal(t, map[string]int{"a": 3, "b": 3, "": 4}, f.load())
		before := f.srv.AllCalls()["Scan"]
		time.Sleep(time.Minute)
		require.LessOrEqual(t, f.srv.AllCalls()["Scan"]-before, 3*35, "the leader lists, and reads reports; the other one does so no more often than else")
		f.start("c", kcl3, maxLeases(3))
		f.start("d", kcl3, maxLeases(3))
		time.Sleep(15 * time.Second)
		require.NotContains(t, f.load(), "")
	})
}

// TestCostOfKCL3 measures what a quiet fleet costs where a leader assigns: one
// worker lists the table, the others ask the index.
func TestCostOfKCL3(t *testing.T) {
	t.Parallel()
	const workers, shards, minutes = 4, 12, 3
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, shards)
		f.period = time.Hour
		for i := range workers {
			f.start(fmt.Sprintf("w%d", i), kcl3)
		}
		time.Sleep(2 * time.Minute)
		before := f.srv.AllCalls()
		time.Sleep(minutes * time.Minute)
		after := f.srv.AllCalls()
		per := func(operation string) float64 {
			return float64(after[operation]-before[operation]) / workers / (minutes * 60)
		}
		t.Logf("a worker-second: %.3f scans, %.3f queries, %.3f gets, %.3f describes", per("Scan"), per("Query"), per("GetItem"), per("DescribeTable"))
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
	eachSeed(t, testsize.Pick[uint64](1, 2, 8), chaosOfKCL3)
}

func chaosOfKCL3(t *testing.T, rng *rand.Rand) {
	f := newKCL3Fleet(t, 8)
	f.is3x()
	type member struct {
		id   string
		ours *worker
		java *javaWorker
	}
	var alive []member
	var repair func()
	modes := []string{leases.ClientVersion3x, leases.ClientVersion3xRollback, leases.ClientVersion3x, leases.ClientVersion2x}
	native := false
	for i := range 40 {
		switch n := rng.IntN(12); {
		case len(alive) < 2 || (len(alive) < 5 && n < 4):
			m := member{id: fmt.Sprintf("w%d", i)}
			if !native && n == 0 {
				m.java = f.java(m.id, func(j *javaWorker) { j.lead = rng.IntN(2) == 0 })
			} else {
				m.ours = f.start(m.id)
			}
			alive = append(alive, m)
		case n < 7:
			at := rng.IntN(len(alive))
			switch m := alive[at]; {
			case m.java != nil && n == 4:
				m.java.kill()
			case m.java != nil:
				m.java.stop()
			case n == 4:
				f.kill(m.ours)
			default:
				m.ours.stop()
			}
			alive = slices.Delete(alive, at, at+1)
		case n < 9:
			if repair != nil {
				repair()
			}
			host := alive[rng.IntN(len(alive))].id
			actions := []dynamotest.Action{dynamotest.LoseAnswer(), dynamotest.LoseRequest(), dynamotest.Throttle(), dynamotest.Silence(), dynamotest.Delay(2 * time.Second), dynamotest.Late(3 * time.Second)}
			// Calls come from many goroutines of one process, in an order of their own.
			action := actions[rng.IntN(len(actions))]
			repair = f.srv.Inject(dynamotest.Fault{Client: host, When: func(dynamotest.Call) bool { return rand.IntN(3) > 0 }, Do: []dynamotest.Action{action}})
		case n == 9 && !slices.ContainsFunc(alive, func(m member) bool { return m.java != nil }):
			status := modes[rng.IntN(len(modes))]
			f.clientVersion(status)
			native = status == leases.ClientVersion2x
		}
		time.Sleep(time.Duration(rng.Int64N(int64(25 * time.Second))))
	}
	if repair != nil {
		repair()
	}
	f.clientVersion(leases.ClientVersion3x)
	for _, m := range alive {
		if m.java != nil {
			m.java.stop()
		}
	}
	f.start("last")
	time.Sleep(6 * time.Minute)
	load := f.load()
	require.NotContains(t, load, "")
	require.Contains(t, load, "last")
	for id := range load {
		require.True(t, id == "last" || slices.ContainsFunc(alive, func(m member) bool { return m.id == id && m.ours != nil }), "%v", load)
	}
	f.reset()
	time.Sleep(2 * time.Minute)
	require.Zero(t, f.moves())
	require.Less(t, f.longestGap(), 3*time.Second)
}

// TestL24LeaderIsKilledAtAnyMoment kills leader after leader. Each time another one assigns leases
// within the bound: the lock's duration, a read every 5 s, and a scan.
func TestL24LeaderIsKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	for seed := range testsize.Pick[uint64](1, 1, 4) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			f := newKCL3Fleet(t, 8)
			f.is3x()
			for _, id := range []string{"a", "b", "c"} {
				f.start(id)
			}
			time.Sleep(20 * time.Second)
			for i := range testsize.Pick(4, 8, 25) {
				time.Sleep(time.Duration(rng.Int64N(int64(20 * time.Second))))
				leader := f.leader()
				f.kill(f.workers[leader])
				f.start(fmt.Sprintf("w%d", i))
				time.Sleep(28 * time.Second)
				require.NotEqual(t, leader, f.leader())
				require.NotContains(t, f.load(), leader)
				require.Less(t, f.longestGap(), 33*time.Second)
				f.reset()
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
		{"cannot list", dynamotest.Fault{Operation: "Scan", Do: []dynamotest.Action{dynamotest.Fail("InternalServerError", "")}}, false},
		{"list hangs", dynamotest.Fault{Operation: "Scan", Do: []dynamotest.Action{dynamotest.Silence()}}, false},
		{"cannot assign", dynamotest.Fault{Operation: "UpdateItem", When: func(c dynamotest.Call) bool {
			return c.Key == "shardId-000000000009"
		}, Do: []dynamotest.Action{dynamotest.Deny()}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newKCL3Fleet(t, 4)
				f.is3x()
				f.start("a")
				time.Sleep(3 * time.Second)
				f.start("b")
				f.start("c")
				time.Sleep(time.Minute)
				require.Equal(t, "a", f.leader())
				tt.fault.Client = "a"
				f.srv.Inject(tt.fault)
				f.create("shardId-000000000009")
				begun := time.Now()
				for f.rows()["shardId-000000000009"].Owner == "" {
					time.Sleep(time.Second)
				}
				t.Logf("assigned after %s, led by %q", time.Since(begun), f.leader())
				require.Less(t, time.Since(begun), 50*time.Second)
				time.Sleep(time.Minute)
				require.Less(t, f.longestGap(), 10*time.Second, "hand-overs to even out the load")
			})
		})
	}
}

// TestL08ClocksOfKCL3 sets the clocks of workers ten minutes apart. The age of a report counts from
// when it was first seen.
func TestL08ClocksOfKCL3(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 6)
		f.is3x()
		for id, offset := range map[string]time.Duration{"a": -10 * time.Minute, "b": 10 * time.Minute, "c": 0} {
			w := f.prepare(id)
			w.coord.SetWallClock(func() time.Duration { return offset })
			w.run()
		}
		time.Sleep(2 * time.Minute)
		f.requireBalance("a", "b", "c")
		f.kill(f.workers["b"])
		time.Sleep(45 * time.Second)
		require.NotContains(t, f.load(), "b")
		f.reset()
		time.Sleep(5 * time.Minute)
		require.NotContains(t, f.load(), "b")
		require.LessOrEqual(t, f.moves(), 1)
	})
}

func TestTenWorkersOfKCL3(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 200)
		f.period = 20 * time.Second
		begun := time.Now()
		var ids []string
		for i := range 10 {
			ids = append(ids, fmt.Sprintf("w%d", i))
			f.start(ids[i], kcl3)
			time.Sleep(500 * time.Millisecond)
		}
		require.NotContains(t, f.load(), "")
		for len(f.load()) < 10 {
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Second)
		require.Less(t, time.Since(begun), 30*time.Second)
		f.requireBalance(ids...)
	})
}

// The leader takes an owner for dead, and assigns its lease. The owner's renewal comes first, so
// the lease stays.
func TestLeaderIsLaterThanARenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 3)
		f.is3x()
		renew := func() {
			row := f.rows()[first]
			to := row
			to.Owner = "java"
			to.Counter++
			require.NoError(t, f.table.Update(t.Context(), leases.Update{Read: row, Expect: leases.AttrCounter, To: to, Set: leases.AttrOwner | leases.AttrCounter}))
		}
		renew()
		f.start("b") // leads, and is to assign the lease to the other one
		time.Sleep(500 * time.Millisecond)
		f.start("a")
		var late atomic.Bool
		f.srv.Inject(dynamotest.Fault{Client: "b", Key: first, Operation: "UpdateItem", When: func(dynamotest.Call) bool {
			return !late.Swap(true)
		}, Do: []dynamotest.Action{dynamotest.Delay(time.Second)}})
		require.Equal(t, "b", f.leader())
		for !late.Load() { // it does not renew until the leader has written
			time.Sleep(10 * time.Millisecond)
		}
		renew()
		for range 10 {
			time.Sleep(3 * time.Second)
			require.Equal(t, "java", f.rows()[first].Owner)
			renew()
		}
	})
}

// A lease that is assigned to a stopping worker is given back at the end.
func TestWorkerIsGivenALeaseWhileItStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 1)
		w := f.start("a", kcl3, takesLong(10*time.Second, make(chan error, 1)))
		time.Sleep(5 * time.Second)
		go w.stop() // ends after ten seconds
		time.Sleep(5 * time.Second)
		const late = "shardId-000000000001"
		f.create(late)
		row := f.rows()[late]
		to := row
		to.Owner = "a"
		require.NoError(t, f.table.Update(t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrOwner}))
		<-w.done
		require.NoError(t, w.err)
		require.Equal(t, map[string]int{"": 2}, f.load())
	})
}
