package coordinator_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/leases"
)

// A worker of KCL 3.4 that was started by mistake on a lease table of KCL 3.5 leaves empty side
// tables behind. A warning says so, and nothing else changes. When a leader is elected in the side
// tables, no worker joins any more. Running workers go on.
func TestKCL34OnTableOfKCL35(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.NewKCL3(t, 4)
		f.Is3x()
		f.Start("a")
		time.Sleep(time.Minute)
		require.Equal(t, "a", f.Leader())
		f.Warned.Take()

		f.MakeSideTables()
		time.Sleep(2 * time.Minute)
		require.Equal(t, "a", f.Leader(), "in the lease table")
		require.Empty(t, f.Server.Items("app-CoordinatorState"))
		require.Empty(t, f.Server.Items("app-WorkerMetricStats"))
		told := f.Warned.Take()
		require.Len(t, told, 1, "once")
		require.Contains(t, told[0], "Delete app-CoordinatorState")
		f.Start("b")
		time.Sleep(time.Minute)
		f.RequireBalance("a", "b")

		f.Server.Put("app-CoordinatorState", dynamotest.Item{
			"key": dynamotest.S("Leader"), "ownerName": dynamotest.S("java"), "recordVersionNumber": dynamotest.S("1"),
			"leaseDuration": dynamotest.S("120000"),
		})
		w := f.Start("c")
		<-w.Done
		require.ErrorIs(t, w.Err, leases.ErrMixedAssignment)
		require.ErrorContains(t, w.Err, "Leader (worker java)")
		require.ErrorContains(t, w.Err, "delete app-CoordinatorState")
		time.Sleep(2 * time.Minute)
		f.RequireBalance("a", "b")
		require.Equal(t, "a", f.Leader())
		require.Len(t, f.Server.Items("app-CoordinatorState"), 1)
	})
}
