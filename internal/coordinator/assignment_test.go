package coordinator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

func kcl3(c *coordinator.Config) { c.Assignment = leases.AssignmentKCL3 }

func TestFleetOfKCL3StartsFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 12)
		for _, id := range []string{"a", "b", "c"} {
			f.start(id, kcl3)
		}
		time.Sleep(5 * time.Second)
		f.requireBalance("a", "b", "c")
		require.Equal(t, []string{"a", "b", "c"}, f.reports())
		require.Contains(t, []string{"a", "b", "c"}, f.leader())
		leading := 0
		for _, w := range f.workers {
			s := w.coord.Assignment()
			require.Equal(t, "KCL 3.x", s.Mode)
			if s.Leading {
				leading++
			}
		}
		require.Equal(t, 1, leading)
		f.reset()
		time.Sleep(10 * time.Minute)
		f.requireBalance("a", "b", "c")
		require.Zero(t, f.moves())
		require.Less(t, f.longestGap(), 3*time.Second)
		for _, id := range []string{"a", "b", "c"} {
			require.Equal(t, f.leader(), f.workers[id].coord.Assignment().Leader)
		}
	})
}

// A worker of the KCL is the leader. It assigns leases to workers of this library, asks both
// libraries to hand over to each other, and assigns the leases that a stopped worker releases.
func TestFollowsALeaderOfJava(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 8)
		f.is3x()
		j := f.java("java", func(j *javaWorker) { j.lead = true })
		time.Sleep(30 * time.Second)
		require.Equal(t, map[string]int{"java": 8}, f.load())

		a := f.start("a")
		time.Sleep(3 * time.Minute)
		f.requireBalance("a", "java")
		require.Equal(t, "java", f.leader())
		require.Equal(t, leases.AssignmentState{Mode: "KCL 3.x", Leader: "java"}, a.coord.Assignment())
		require.Zero(t, f.repeats())

		// The other way: b is given leases that a hands over.
		f.start("b")
		time.Sleep(3 * time.Minute)
		require.Len(t, f.load(), 3)
		require.Zero(t, f.repeats(), "a graceful hand-over repeats nothing")

		begun := time.Now()
		a.stop()
		require.NoError(t, a.err)
		require.Less(t, time.Since(begun), time.Second)
		require.Equal(t, []string{"b", "java"}, f.reports())
		time.Sleep(40 * time.Second)
		require.Len(t, f.load(), 2)
		require.NotContains(t, f.load(), "")
		j.stop()
		require.NotEqual(t, "java", f.leader())
	})
}

func TestLeadsWorkersOfJava(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 9)
		f.is3x()
		a := f.start("a")
		time.Sleep(20 * time.Second)
		require.Equal(t, map[string]int{"a": 9}, f.load())
		j := f.java("java")
		f.java("jova")
		time.Sleep(5 * time.Minute)
		f.requireBalance("a", "java", "jova")
		require.Zero(t, f.repeats())
		require.Equal(t, "a", f.leader())

		// Killed, its leases go to the others once they have expired.
		j.kill()
		time.Sleep(20 * time.Second)
		require.NotContains(t, f.load(), "java")
		time.Sleep(10 * time.Minute)
		f.requireBalance("a", "jova")

		a.stop()
		require.NoError(t, a.err)
		require.Empty(t, f.leader(), "the lock is released")
	})
}

// After the leader is killed no shard stands still for 120 s, whichever library the leader is of.
func TestLeaderIsKilled(t *testing.T) {
	t.Parallel()
	for _, java := range []bool{false, true} {
		name := map[bool]string{false: "ours", true: "java"}[java]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newKCL3Fleet(t, 12)
				f.is3x()
				var kill func()
				if java {
					j := f.java("leader", func(j *javaWorker) { j.lead = true })
					time.Sleep(30 * time.Second)
					kill = j.kill
				} else {
					w := f.start("leader")
					kill = func() { f.kill(w) }
					time.Sleep(5 * time.Second)
				}
				f.start("a")
				f.start("b")
				time.Sleep(10 * time.Minute)
				require.Equal(t, "leader", f.leader())
				require.Contains(t, f.load(), "leader")
				kill()
				begun := time.Now()
				took := time.Duration(0)
				for time.Since(begun) < 3*time.Minute {
					time.Sleep(time.Second)
					load := f.load()
					if load["leader"] == 0 && load[""] == 0 && took == 0 {
						took = time.Since(begun)
					}
					if f.leader() != "leader" {
						break
					}
				}
				took = max(took, 0)
				t.Logf("no lease is the dead leader's after %s, another one leads after %s", took, time.Since(begun))
				if java {
					require.Positive(t, took, "leases are rescued before the lock is free")
					require.Less(t, took, 50*time.Second)
					require.Greater(t, time.Since(begun), 90*time.Second, "the lock belongs to the dead for its duration")
					require.Less(t, time.Since(begun), 127*time.Second)
				} else {
					require.Greater(t, time.Since(begun), 15*time.Second)
					require.Less(t, time.Since(begun), 27*time.Second)
					time.Sleep(5 * time.Second)
				}
				require.NotContains(t, f.load(), "leader")
				require.NotContains(t, f.load(), "")
			})
		})
	}
}

// Nobody takes the lock of a live leader. Nobody takes the lock of a dead leader before its
// duration has passed, counted from when its last heartbeat was first seen.
func TestOnlyOneLeads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 4)
		f.is3x()
		ids := []string{"a", "b", "c", "d"}
		for _, id := range ids {
			f.start(id)
		}
		leading := func() (who []string) {
			for _, id := range ids {
				if f.workers[id].coord.Assignment().Leading {
					who = append(who, id)
				}
			}
			return who
		}
		// Partitions, one of them of the leader, as long as its lock lasts or longer.
		var terms int
		for last := ""; terms < 4; {
			time.Sleep(7 * time.Second)
			who := leading()
			require.LessOrEqual(t, len(who), 1)
			if len(who) == 0 || who[0] == last {
				continue
			}
			last = who[0]
			terms++
			link := f.srv.Network().Link(last, f.addr())
			link.Hold()
			for range 60 {
				time.Sleep(500 * time.Millisecond)
				require.LessOrEqual(t, len(leading()), 1)
			}
			link.Release()
		}
	})
}

func TestModeIsFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 9)
		f.clientVersion(leases.ClientVersionUpgradeFrom2x)
		for _, id := range []string{"a", "b", "c"} {
			f.start(id)
		}
		time.Sleep(time.Minute)
		f.requireBalance("a", "b", "c")
		require.Equal(t, "native (upgrade from KCL 2.x)", f.workers["a"].coord.Assignment().Mode)
		require.Equal(t, []string{"a", "b", "c"}, f.reports(), "so that the leader can see when all are ready")
		require.Empty(t, f.leader())
		f.reset()

		f.clientVersion(leases.ClientVersion3xRollback)
		time.Sleep(90 * time.Second)
		require.Equal(t, "KCL 3.x", f.workers["a"].coord.Assignment().Mode)
		require.NotEmpty(t, f.leader())
		f.requireBalance("a", "b", "c")

		f.clientVersion(leases.ClientVersion2x)
		time.Sleep(90 * time.Second)
		require.Equal(t, "native", f.workers["a"].coord.Assignment().Mode)
		require.Empty(t, f.leader())
		require.Empty(t, f.reports())
		time.Sleep(time.Minute)
		f.requireBalance("a", "b", "c")
		require.Zero(t, f.moves())
		require.Less(t, f.longestGap(), 5*time.Second)
	})
}

// A table without the state of KCL 3.x is assigned natively. Nothing is added to it that workers of
// KCL 2.x cannot read.
func TestTableOfKCL2StaysAsItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 4)
		f.start("a")
		f.start("b")
		time.Sleep(5 * time.Minute)
		f.requireBalance("a", "b")
		require.Equal(t, "native", f.workers["a"].coord.Assignment().Mode)
		require.Len(t, f.srv.Items("app"), 4)
		calls := f.srv.AllCalls()
		require.Zero(t, calls["Query"])
		require.Zero(t, calls["UpdateTable"])
		require.LessOrEqual(t, calls["GetItem"], 2*2*7)
	})
}

func TestMixedAssignment(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		assignment leases.Assignment
		prepare    func(f *kcl3Fleet)
		says       string
	}{
		{"native beside kcl 3", leases.AssignmentNative, func(f *kcl3Fleet) {
			f.is3x()
			f.java("java")
			time.Sleep(time.Second)
		}, "worker java of KCL 3.x"},
		{"kcl 3 beside kcl 2", leases.AssignmentKCL3, func(f *kcl3Fleet) {
			go f.kcl2("old") // ends while the test waits
			time.Sleep(5 * time.Second)
		}, "worker old of KCL 1.x or 2.x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newKCL3Fleet(t, 4)
				tt.prepare(f)
				before := f.load()
				w := f.start("a", func(c *coordinator.Config) { c.Assignment = tt.assignment })
				begun := time.Now()
				<-w.done
				require.Less(t, time.Since(begun), 15*time.Second)
				require.ErrorIs(t, w.err, leases.ErrMixedAssignment)
				require.ErrorContains(t, w.err, tt.says)
				require.Equal(t, before, f.load())
				require.NotContains(t, f.reports(), "a")
				time.Sleep(25 * time.Second) // until the old worker has ended
			})
		})
	}
	t.Run("store without a leader", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 1)
			w := f.start("a", kcl3)
			<-w.done
			require.ErrorIs(t, w.err, leases.ErrMixedAssignment)
		})
	})
}

// Rows that former owners left behind do not keep a worker from starting.
func TestKCL3AfterKCL2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 4)
		for key, row := range f.rows() {
			to := row
			to.Owner, to.Counter = "old", 7
			require.NoError(t, f.table.Update(t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrOwner | leases.AttrCounter}), key)
		}
		f.start("a", kcl3)
		time.Sleep(30 * time.Second)
		require.Equal(t, map[string]int{"a": 4}, f.load())
	})
}

// A worker that leaves removes its report, its leases and its lock.
func TestFleetOfKCL3StopsCleanly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 6)
		a := f.start("a", kcl3)
		time.Sleep(5 * time.Second)
		b := f.start("b", kcl3)
		time.Sleep(2 * time.Minute)
		require.Len(t, f.load(), 2)
		f.reset()
		a.stop()
		require.NoError(t, a.err)
		require.Equal(t, []string{"b"}, f.reports())
		time.Sleep(8 * time.Second)
		require.Equal(t, map[string]int{"b": 6}, f.load())
		require.Equal(t, "b", f.leader())
		require.Less(t, f.longestGap(), 10*time.Second)
		require.Zero(t, f.repeats())
		b.stop()
		require.Equal(t, map[string]int{"": 6}, f.load())
		require.Empty(t, f.reports())
		require.Empty(t, f.leader())
	})
}

// When all workers have been ready for ten minutes, the application switches to KCL 3.x by itself,
// once. One worker that is not ready prevents it.
func TestUpgradeFromKCL2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 4)
		f.period = 10 * time.Second
		f.clientVersion(leases.ClientVersionUpgradeFrom2x)
		native := func(c *coordinator.Config) { c.Assignment = leases.AssignmentNative }
		f.start("a")
		b := f.start("b", native)
		time.Sleep(13 * time.Minute)
		m, err := f.table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.ClientVersionUpgradeFrom2x, m.ClientVersion.Status, "b does not report")
		b.stop()
		require.NoError(t, b.err)
		f.start("c")
		time.Sleep(10 * time.Minute)
		m, err = f.table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.ClientVersionUpgradeFrom2x, m.ClientVersion.Status)
		time.Sleep(4 * time.Minute)
		m, err = f.table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.ClientVersion3xRollback, m.ClientVersion.Status)
		require.Contains(t, []string{"a", "c"}, m.ClientVersion.By)
		require.Contains(t, []string{"a", "c"}, f.leader())
		f.requireBalance("a", "c")
	})
}

// Beside workers of KCL 3.0 to 3.4 the lease table contains only leases. The lock and the metrics
// are in the side tables. When all workers support a single table and the operator wants it, the
// fleet moves to a single table.
func TestThreeTables(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 6)
		f.period = time.Minute
		f.sideTables()
		f.is3x()
		f.start("a")
		b := f.start("b")
		j := f.java("java")
		time.Sleep(10 * time.Minute)
		require.Len(t, f.load(), 3)
		require.Len(t, f.srv.Items("app"), 6)
		require.Len(t, f.srv.Items("app-WorkerMetricStats"), 3)
		require.NotEmpty(t, f.leader())

		m, err := f.table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.TableMigrationInit, m.Table.Status)
		long := *m.Table // an hour later
		long.At = time.Now().Add(-time.Hour)
		require.NoError(t, f.table.Fleet().SetTableMigration(t.Context(), m.Table, long))
		time.Sleep(2 * time.Minute)
		m, err = f.table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.TableMigrationDeployed, m.Table.Status)
		require.Len(t, f.srv.Items("app"), 6)

		// One after the other is started again, and told to move.
		j.stop()
		move := func(c *coordinator.Config) {
			c.Store = f.open(c.WorkerID, func(c *dynamodb.Config) { c.MigrateToLeaseTable = true })
		}
		for _, old := range []string{"a", "b"} {
			f.workers[old].stop()
			f.start(old+"2", move)
			time.Sleep(2 * time.Minute)
		}
		require.NoError(t, b.err)
		time.Sleep(5 * time.Minute)
		m, err = f.table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.TableMigrationPending, m.Table.Status)
		require.NotNil(t, m.ClientVersion, "moved along")

		long = *m.Table // a day later
		long.At = time.Now().Add(-24 * time.Hour)
		require.NoError(t, f.table.Fleet().SetTableMigration(t.Context(), m.Table, long))
		time.Sleep(2 * time.Minute)
		m, err = f.table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.TableMigrationComplete, m.Table.Status)
		require.Contains(t, []string{"a2", "b2"}, f.leader())
		require.Equal(t, []string{"a2", "b2"}, f.reports())
		f.requireBalance("a2", "b2")
		for _, it := range f.srv.Items("app-CoordinatorState") {
			require.Equal(t, "TableMigration3.5", it["key"].Text)
		}
	})
}

// An old IAM policy does not allow the worker to see whether there is a fleet of KCL 3.x.
func TestModeThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 4)
		f.srv.Inject(dynamotest.Fault{Table: "app-CoordinatorState", Do: []dynamotest.Action{dynamotest.Deny()}})
		f.start("a")
		time.Sleep(5 * time.Second)
		require.Equal(t, "native", f.workers["a"].coord.Assignment().Mode)
		require.Equal(t, map[string]int{"a": 4}, f.load())

		w := f.start("b", kcl3)
		time.Sleep(5 * time.Second)
		require.Equal(t, "unknown", w.coord.Assignment().Mode)
		require.ErrorIs(t, w.coord.Err(), kcl.ErrAccessDenied)
		require.Equal(t, map[string]int{"a": 4}, f.load(), "it takes nothing before it knows")
	})
}
