package coordinator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

// An old IAM policy does not allow the worker to read the side tables of KCL 3.0 to 3.4. The lease
// table itself says that a leader assigns its leases.
func TestModeThatTheLeaseTableTells(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 4)
		f.is3x()
		f.java("java", func(j *javaWorker) { j.lead = true })
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"java": 4}, f.load())
		f.srv.Inject(dynamotest.Fault{Client: "a", Table: "app-CoordinatorState", Do: []dynamotest.Action{dynamotest.Deny()}})
		w := f.start("a")
		time.Sleep(time.Minute)
		require.NotEqual(t, "native", w.coord.Assignment().Mode)
		require.Equal(t, map[string]int{"java": 4}, f.load(), "it takes nothing")
		require.True(t, isClosed(w.done))
		require.ErrorIs(t, w.err, leases.ErrMixedAssignment)
		require.ErrorContains(t, w.err, "app-CoordinatorState")
	})
}

// deniesSideTables lets a worker see nothing of the side tables.
func (f *kcl3Fleet) deniesSideTables(id string) {
	for _, table := range []string{"app-CoordinatorState", "app-WorkerMetricStats"} {
		f.srv.Inject(dynamotest.Fault{Client: id, Table: table, Do: []dynamotest.Action{dynamotest.Deny()}})
	}
}

// index makes the index, as each worker of KCL 3.x does when it starts.
func (f *kcl3Fleet) index() {
	for {
		ready, err := f.table.Fleet().EnsureIndex(f.t.Context())
		require.NoError(f.t, err)
		if ready {
			return
		}
		time.Sleep(time.Second)
	}
}

// javaIn3Tables is a fleet with a living leader of KCL 3.0 to 3.4.
func javaIn3Tables(t *testing.T) (*kcl3Fleet, *javaWorker) {
	f := newKCL3Fleet(t, 8)
	f.sideTables()
	f.is3x()
	f.index()
	j := f.java("java", func(j *javaWorker) { j.lead = true })
	time.Sleep(time.Minute)
	require.Equal(t, map[string]int{"java": 8}, f.load())
	return f, j
}

// An old IAM policy does not allow the worker to read the side tables, in which there is a leader.
// The index of the lease table and a live owner of another library show that there may be one.
func TestLeaderThatCannotBeSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, _ := javaIn3Tables(t)
		f.deniesSideTables("a")
		w := f.start("a")
		time.Sleep(time.Minute)
		require.Equal(t, map[string]int{"java": 8}, f.load(), "it takes nothing")
		require.True(t, isClosed(w.done))
		require.ErrorIs(t, w.err, leases.ErrMixedAssignment)
		require.ErrorContains(t, w.err, "worker java ")
		require.ErrorContains(t, w.err, "app-CoordinatorState")
		require.ErrorContains(t, w.err, "docs/iam/kcl3.json")
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
				f.deniesSideTables("a")
				f.start("a", func(c *coordinator.Config) { c.Assignment, c.Balance = leases.AssignmentNative, by })
				for range 30 {
					time.Sleep(2 * time.Second)
					require.Equal(t, map[string]int{"java": 8}, f.load())
				}
				j.kill()
				time.Sleep(20 * time.Second)
				require.Equal(t, map[string]int{"a": 8}, f.load(), "they expire as always")
			})
		})
	}
}

// The workers of KCL 3.x, and their index, come later.
func TestWorkersThatMayBeLedComeLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 8)
		f.sideTables()
		f.deniesSideTables("a")
		f.start("a")
		time.Sleep(20 * time.Second)
		require.Equal(t, map[string]int{"a": 8}, f.load())
		f.index()
		time.Sleep(time.Minute + 5*time.Second)
		f.problems = nil // leases are taken by force from here on
		f.kcl2("java")
		require.Equal(t, map[string]int{"java": 8}, f.load())
		time.Sleep(20 * time.Second)
		require.Equal(t, map[string]int{"a": 8}, f.load())
	})
}
