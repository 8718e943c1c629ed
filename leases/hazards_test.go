package leases_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
)

// A policy of old does not allow to see the side tables of KCL 3.0 to 3.4, but the
// lease table itself says that a leader assigns its leases.
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
