package coordinator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

func kcl3(c *coordinator.Config) { c.Assignment = leases.AssignmentKCL3 }

func TestFleetOfKCL3StartsFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, testsize.Pick(6, 12, 12))
		for _, id := range []string{"a", "b", "c"} {
			f.Start(id, kcl3)
		}
		time.Sleep(5 * time.Second)
		f.RequireBalance("a", "b", "c")
		require.Equal(t, []string{"a", "b", "c"}, f.Reports())
		require.Contains(t, []string{"a", "b", "c"}, f.Leader())
		leading := 0
		for _, w := range f.Workers {
			s := w.Coordinator.Assignment()
			require.Equal(t, "KCL 3.x", s.Mode)
			if s.Leading {
				leading++
			}
		}
		require.Equal(t, 1, leading)
		f.Reset()
		time.Sleep(testsize.Pick(3*time.Minute, 10*time.Minute, 10*time.Minute))
		f.RequireBalance("a", "b", "c")
		require.Zero(t, f.Moves())
		require.Less(t, f.LongestGap(), 3*time.Second)
		for _, id := range []string{"a", "b", "c"} {
			require.Equal(t, f.Leader(), f.Workers[id].Coordinator.Assignment().Leader)
		}
	})
}

// A worker of the KCL is the leader. It assigns leases to workers of this library, asks both
// libraries to hand over to each other, and assigns the leases that a stopped worker releases.
func TestFollowsALeaderOfJava(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 8)
		f.Is3x()
		j := f.Java("java", func(j *fleettest.JavaWorker) { j.Lead = true })
		time.Sleep(30 * time.Second)
		require.Equal(t, map[string]int{"java": 8}, f.Load())

		a := f.Start("a")
		time.Sleep(3 * time.Minute)
		f.RequireBalance("a", "java")
		require.Equal(t, "java", f.Leader())
		require.Equal(t, leases.AssignmentState{Mode: "KCL 3.x", Leader: "java"}, a.Coordinator.Assignment())
		require.Zero(t, f.Repeats())

		// The other way: b is given leases that a hands over.
		f.Start("b")
		time.Sleep(3 * time.Minute)
		require.Len(t, f.Load(), 3)
		require.Zero(t, f.Repeats(), "a graceful hand-over repeats nothing")

		begun := time.Now()
		a.Stop()
		require.NoError(t, a.Err)
		require.Less(t, time.Since(begun), time.Second)
		require.Equal(t, []string{"b", "java"}, f.Reports())
		time.Sleep(40 * time.Second)
		require.Len(t, f.Load(), 2)
		require.NotContains(t, f.Load(), "")
		j.Stop()
		require.NotEqual(t, "java", f.Leader())
	})
}

func TestLeadsWorkersOfJava(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 9)
		f.Is3x()
		a := f.Start("a")
		time.Sleep(20 * time.Second)
		require.Equal(t, map[string]int{"a": 9}, f.Load())
		j := f.Java("java")
		f.Java("jova")
		time.Sleep(testsize.Pick(3*time.Minute, 5*time.Minute, 5*time.Minute))
		f.RequireBalance("a", "java", "jova")
		require.Zero(t, f.Repeats())
		require.Equal(t, "a", f.Leader())

		// Killed, its leases go to the others once they have expired.
		j.Kill()
		time.Sleep(20 * time.Second)
		require.NotContains(t, f.Load(), "java")
		time.Sleep(testsize.Pick(3*time.Minute, 10*time.Minute, 10*time.Minute))
		f.RequireBalance("a", "jova")

		a.Stop()
		require.NoError(t, a.Err)
		require.Empty(t, f.Leader(), "the lock is released")
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
				f := fleettest.NewKCL3(t, testsize.Pick(6, 12, 12))
				f.Is3x()
				var kill func()
				if java {
					j := f.Java("leader", func(j *fleettest.JavaWorker) { j.Lead = true })
					time.Sleep(30 * time.Second)
					kill = j.Kill
				} else {
					w := f.Start("leader")
					kill = func() { w.Kill() }
					time.Sleep(5 * time.Second)
				}
				f.Start("a")
				f.Start("b")
				time.Sleep(time.Duration(testsize.Pick(4, 10, 10)) * time.Minute)
				require.Equal(t, "leader", f.Leader())
				require.Contains(t, f.Load(), "leader")
				kill()
				begun := time.Now()
				took := time.Duration(0)
				for time.Since(begun) < 3*time.Minute {
					time.Sleep(time.Second)
					load := f.Load()
					if load["leader"] == 0 && load[""] == 0 && took == 0 {
						took = time.Since(begun)
					}
					if f.Leader() != "leader" {
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
				require.NotContains(t, f.Load(), "leader")
				require.NotContains(t, f.Load(), "")
			})
		})
	}
}

// Nobody takes the lock of a live leader. Nobody takes the lock of a dead leader before its
// duration has passed, counted from when its last heartbeat was first seen.
func TestOnlyOneLeads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 4)
		f.Is3x()
		ids := []string{"a", "b", "c", "d"}
		for _, id := range ids {
			f.Start(id)
		}
		leading := func() (who []string) {
			for _, id := range ids {
				if f.Workers[id].Coordinator.Assignment().Leading {
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
			link := f.Server.Network().Link(last, f.Addr())
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
		f := fleettest.NewKCL3(t, testsize.Pick(3, 9, 9))
		f.SetClientVersion(leases.ClientVersionUpgradeFrom2x)
		for _, id := range []string{"a", "b", "c"} {
			f.Start(id)
		}
		time.Sleep(time.Minute)
		f.RequireBalance("a", "b", "c")
		require.Equal(t, "native (upgrade from KCL 2.x)", f.Workers["a"].Coordinator.Assignment().Mode)
		require.Equal(t, []string{"a", "b", "c"}, f.Reports(), "so that the leader can see when all are ready")
		require.Empty(t, f.Leader())
		f.Reset()

		f.SetClientVersion(leases.ClientVersion3xRollback)
		time.Sleep(90 * time.Second)
		require.Equal(t, "KCL 3.x", f.Workers["a"].Coordinator.Assignment().Mode)
		require.NotEmpty(t, f.Leader())
		f.RequireBalance("a", "b", "c")

		f.SetClientVersion(leases.ClientVersion2x)
		time.Sleep(90 * time.Second)
		require.Equal(t, "native", f.Workers["a"].Coordinator.Assignment().Mode)
		require.Empty(t, f.Leader())
		require.Empty(t, f.Reports())
		time.Sleep(time.Minute)
		f.RequireBalance("a", "b", "c")
		require.Zero(t, f.Moves())
		require.Less(t, f.LongestGap(), 5*time.Second)
	})
}

// A table without the state of KCL 3.x is assigned natively. Nothing is added to it that workers of
// KCL 2.x cannot read.
func TestTableOfKCL2StaysAsItIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 4)
		f.Start("a")
		f.Start("b")
		time.Sleep(5 * time.Minute)
		f.RequireBalance("a", "b")
		require.Equal(t, "native", f.Workers["a"].Coordinator.Assignment().Mode)
		require.Len(t, f.Server.Items("app"), 4)
		calls := f.Server.AllCalls()
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
		prepare    func(f *fleettest.KCL3Fleet)
		says       string
	}{
		{"native beside kcl 3", leases.AssignmentNative, func(f *fleettest.KCL3Fleet) {
			f.Is3x()
			f.Java("java")
			time.Sleep(time.Second)
		}, "worker java of KCL 3.x"},
		{"kcl 3 beside kcl 2", leases.AssignmentKCL3, func(f *fleettest.KCL3Fleet) {
			go f.HoldAsKCL2("old") // ends while the test waits
			time.Sleep(5 * time.Second)
		}, "worker old of KCL 1.x or 2.x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.NewKCL3(t, 4)
				tt.prepare(f)
				before := f.Load()
				w := f.Start("a", func(c *coordinator.Config) { c.Assignment = tt.assignment })
				begun := time.Now()
				<-w.Done
				require.Less(t, time.Since(begun), 15*time.Second)
				require.ErrorIs(t, w.Err, leases.ErrMixedAssignment)
				require.ErrorContains(t, w.Err, tt.says)
				require.Equal(t, before, f.Load())
				require.NotContains(t, f.Reports(), "a")
				time.Sleep(25 * time.Second) // until the old worker has ended
			})
		})
	}
	t.Run("store without a leader", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := fleettest.New(t, 1)
			w := f.Start("a", kcl3)
			<-w.Done
			require.ErrorIs(t, w.Err, leases.ErrMixedAssignment)
		})
	})
}

// Rows that former owners left behind do not keep a worker from starting.
func TestKCL3AfterKCL2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 4)
		for key, row := range f.Rows() {
			to := row
			to.Owner, to.Counter = "old", 7
			require.NoError(t, f.Table.Update(t.Context(),
				leases.Update{Read: row, To: to, Set: leases.AttrOwner | leases.AttrCounter}), key)
		}
		f.Start("a", kcl3)
		time.Sleep(30 * time.Second)
		require.Equal(t, map[string]int{"a": 4}, f.Load())
	})
}

// A worker that leaves removes its report, its leases and its lock.
func TestFleetOfKCL3StopsCleanly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 6)
		a := f.Start("a", kcl3)
		time.Sleep(5 * time.Second)
		b := f.Start("b", kcl3)
		time.Sleep(2 * time.Minute)
		require.Len(t, f.Load(), 2)
		f.Reset()
		a.Stop()
		require.NoError(t, a.Err)
		require.Equal(t, []string{"b"}, f.Reports())
		time.Sleep(8 * time.Second)
		require.Equal(t, map[string]int{"b": 6}, f.Load())
		require.Equal(t, "b", f.Leader())
		require.Less(t, f.LongestGap(), 10*time.Second)
		require.Zero(t, f.Repeats())
		b.Stop()
		require.Equal(t, map[string]int{"": 6}, f.Load())
		require.Empty(t, f.Reports())
		require.Empty(t, f.Leader())
	})
}

// When all workers have been ready for ten minutes, the application switches to KCL 3.x by itself,
// once. One worker that is not ready prevents it.
func TestUpgradeFromKCL2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 3)
		f.Period = 10 * time.Second
		f.SetClientVersion(leases.ClientVersionUpgradeFrom2x)
		native := func(c *coordinator.Config) { c.Assignment = leases.AssignmentNative }
		f.Start("a")
		b := f.Start("b", native)
		time.Sleep(13 * time.Minute)
		m, err := f.Table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.ClientVersionUpgradeFrom2x, m.ClientVersion.Status, "b does not report")
		b.Stop()
		require.NoError(t, b.Err)
		f.Start("c")
		time.Sleep(10 * time.Minute)
		m, err = f.Table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.ClientVersionUpgradeFrom2x, m.ClientVersion.Status)
		time.Sleep(4 * time.Minute)
		m, err = f.Table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.ClientVersion3xRollback, m.ClientVersion.Status)
		require.Contains(t, []string{"a", "c"}, m.ClientVersion.By)
		require.Contains(t, []string{"a", "c"}, f.Leader())
		f.RequireBalance("a", "c")
	})
}

// Beside workers of KCL 3.0 to 3.4 the lease table contains only leases. The lock and the metrics
// are in the side tables. When all workers support a single table and the operator wants it, the
// fleet moves to a single table.
func TestThreeTables(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 6)
		f.Period = time.Minute
		f.MakeSideTables()
		f.Is3x()
		f.Start("a")
		b := f.Start("b")
		j := f.Java("java")
		time.Sleep(10 * time.Minute)
		require.Len(t, f.Load(), 3)
		require.Len(t, f.Server.Items("app"), 6)
		require.Len(t, f.Server.Items("app-WorkerMetricStats"), 3)
		require.NotEmpty(t, f.Leader())

		m, err := f.Table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.TableMigrationInit, m.Table.Status)
		long := *m.Table // an hour later
		long.At = time.Now().Add(-time.Hour)
		require.NoError(t, f.Table.Fleet().SetTableMigration(t.Context(), m.Table, long))
		time.Sleep(2 * time.Minute)
		m, err = f.Table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.TableMigrationDeployed, m.Table.Status)
		require.Len(t, f.Server.Items("app"), 6)

		// One after the other is started again, and told to move.
		j.Stop()
		move := func(c *coordinator.Config) {
			c.Store = f.Open(c.WorkerID, func(c *dynamodb.Config) { c.MigrateToLeaseTable = true })
		}
		for _, old := range []string{"a", "b"} {
			f.Workers[old].Stop()
			f.Start(old+"2", move)
			time.Sleep(2 * time.Minute)
		}
		require.NoError(t, b.Err)
		time.Sleep(5 * time.Minute)
		m, err = f.Table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.TableMigrationPending, m.Table.Status)
		require.NotNil(t, m.ClientVersion, "moved along")

		long = *m.Table // a day later
		long.At = time.Now().Add(-24 * time.Hour)
		require.NoError(t, f.Table.Fleet().SetTableMigration(t.Context(), m.Table, long))
		time.Sleep(2 * time.Minute)
		m, err = f.Table.Fleet().Migrations(t.Context())
		require.NoError(t, err)
		require.Equal(t, leases.TableMigrationComplete, m.Table.Status)
		require.Contains(t, []string{"a2", "b2"}, f.Leader())
		require.Equal(t, []string{"a2", "b2"}, f.Reports())
		f.RequireBalance("a2", "b2")
		for _, it := range f.Server.Items("app-CoordinatorState") {
			require.Equal(t, "TableMigration3.5", it["key"].Text)
		}
	})
}

// An old IAM policy does not allow the worker to see whether there is a fleet of KCL 3.x.
func TestModeThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 4)
		f.Server.Inject(dynamotest.Fault{Table: "app-CoordinatorState", Do: []dynamotest.Action{dynamotest.Deny()}})
		f.Start("a")
		time.Sleep(5 * time.Second)
		require.Equal(t, "native", f.Workers["a"].Coordinator.Assignment().Mode)
		require.Equal(t, map[string]int{"a": 4}, f.Load())

		w := f.Start("b", kcl3)
		time.Sleep(5 * time.Second)
		require.Equal(t, "unknown", w.Coordinator.Assignment().Mode)
		require.ErrorIs(t, w.Coordinator.Err(), kcl.ErrAccessDenied)
		require.Equal(t, map[string]int{"a": 4}, f.Load(), "it takes nothing before it knows")
	})
}
