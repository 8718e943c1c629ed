package coordinator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/leases"
)

// An old IAM policy does not allow the worker to read the side tables of KCL 3.0 to 3.4. The lease
// table itself says that a leader assigns its leases.
func TestModeThatTheLeaseTableTells(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 4)
		f.Is3x()
		f.Java("java", func(j *fleettest.JavaWorker) { j.Lead = true })
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"java": 4}, f.Load())
		f.Server.Inject(dynamotest.Fault{
			Client: "a", Table: "app-CoordinatorState",
			Do: []dynamotest.Action{dynamotest.Deny()},
		})
		w := f.Start("a")
		time.Sleep(time.Minute)
		require.NotEqual(t, "native", w.Coordinator.Assignment().Mode)
		require.Equal(t, map[string]int{"java": 4}, f.Load(), "it takes nothing")
		require.True(t, isClosed(w.Done))
		require.ErrorIs(t, w.Err, leases.ErrMixedAssignment)
		require.ErrorContains(t, w.Err, "app-CoordinatorState")
	})
}

// denySideTables lets a worker see nothing of the side tables.
func denySideTables(f *fleettest.KCL3Fleet, id string) {
	for _, table := range []string{"app-CoordinatorState", "app-WorkerMetricStats"} {
		f.Server.Inject(dynamotest.Fault{Client: id, Table: table, Do: []dynamotest.Action{dynamotest.Deny()}})
	}
}

// makeIndex makes the index, as each worker of KCL 3.x does when it starts.
func makeIndex(f *fleettest.KCL3Fleet) {
	for {
		ready, err := f.Table.Fleet().EnsureIndex(f.T.Context())
		require.NoError(f.T, err)
		if ready {
			return
		}
		time.Sleep(time.Second)
	}
}

// javaIn3Tables is a fleet with a living leader of KCL 3.0 to 3.4.
func javaIn3Tables(t *testing.T) (*fleettest.KCL3Fleet, *fleettest.JavaWorker) {
	f := fleettest.NewKCL3(t, 8)
	f.MakeSideTables()
	f.Is3x()
	makeIndex(f)
	j := f.Java("java", func(j *fleettest.JavaWorker) { j.Lead = true })
	time.Sleep(time.Minute)
	require.Equal(t, map[string]int{"java": 8}, f.Load())
	return f, j
}

// An old IAM policy does not allow the worker to read the side tables, in which there is a leader.
// The index of the lease table and a live owner of another library show that there may be one.
func TestLeaderThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, _ := javaIn3Tables(t)
		denySideTables(f, "a")
		w := f.Start("a")
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"java": 8}, f.Load(), "it takes nothing")
		require.True(t, isClosed(w.Done))
		require.ErrorIs(t, w.Err, leases.ErrMixedAssignment)
		require.ErrorContains(t, w.Err, "worker java ")
		require.ErrorContains(t, w.Err, "app-CoordinatorState")
		require.ErrorContains(t, w.Err, "docs/iam/kcl3.json")
	})
}

// AssignmentNative says that there is no leader. A worker takes leases then, but none by force.
func TestNativeBesideWorkersThatMayBeLed(t *testing.T) {
	t.Parallel()
	for _, by := range []leases.Balance{leases.BalanceLeaseCount, leases.BalanceThroughput} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, j := javaIn3Tables(t)
				denySideTables(f, "a")
				f.Start("a", func(c *coordinator.Config) { c.Assignment, c.Balance = leases.AssignmentNative, by })
				for range 30 {
					time.Sleep(2 * time.Second)
					require.Equal(t, map[string]int{"java": 8}, f.Load())
				}
				j.Kill()
				time.Sleep(20 * time.Second)
				require.Equal(t, map[string]int{"a": 8}, f.Load(), "they expire as always")
			})
		})
	}
}

// The workers of KCL 3.x, and their index, come later.
func TestWorkersThatMayBeLedComeLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 8)
		f.MakeSideTables()
		denySideTables(f, "a")
		f.Start("a")
		time.Sleep(20 * time.Second)
		require.Equal(t, map[string]int{"a": 8}, f.Load())
		makeIndex(f)
		time.Sleep(time.Minute + 5*time.Second)
		f.ForgetProblems() // leases are taken by force from here on
		f.HoldAsKCL2("java")
		require.Equal(t, map[string]int{"java": 8}, f.Load())
		time.Sleep(20 * time.Second)
		require.Equal(t, map[string]int{"a": 8}, f.Load())
	})
}
