package coordinator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

// A worker of KCL 3.4 that was started by mistake on a lease table of KCL 3.5 leaves empty side
// tables behind. A warning says so, and nothing else changes. When a leader is elected in the side
// tables, no worker joins any more. Running workers go on.
func TestKCL34OnTableOfKCL35(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newKCL3Fleet(t, 4)
		f.is3x()
		f.start("a")
		time.Sleep(time.Minute)
		require.Equal(t, "a", f.leader())
		f.warned.take()

		f.sideTables()
		time.Sleep(2 * time.Minute)
		require.Equal(t, "a", f.leader(), "in the lease table")
		require.Empty(t, f.srv.Items("app-CoordinatorState"))
		require.Empty(t, f.srv.Items("app-WorkerMetricStats"))
		told := f.warned.take()
		require.Len(t, told, 1, "once")
		require.Contains(t, told[0], "Delete app-CoordinatorState")
		f.start("b")
		time.Sleep(time.Minute)
		f.requireBalance("a", "b")

		f.srv.Put("app-CoordinatorState", dynamotest.Item{
			"key": dynamotest.S("Leader"), "ownerName": dynamotest.S("java"), "recordVersionNumber": dynamotest.S("1"), "leaseDuration": dynamotest.S("120000"),
		})
		w := f.start("c")
		<-w.done
		require.ErrorIs(t, w.err, leases.ErrMixedAssignment)
		require.ErrorContains(t, w.err, "Leader (worker java)")
		require.ErrorContains(t, w.err, "delete app-CoordinatorState")
		time.Sleep(2 * time.Minute)
		f.requireBalance("a", "b")
		require.Equal(t, "a", f.leader())
		require.Len(t, f.srv.Items("app-CoordinatorState"), 1)
	})
}
