package coordinator_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

// Run returns within ShutdownTimeout and a second, whatever the table does.
func TestStopOnASilentTable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ failover, shutdown time.Duration }{
		{10 * time.Second, time.Second},
		{10 * time.Second, 2 * time.Second},
		{10 * time.Second, 30 * time.Second},
		{time.Minute, 30 * time.Second},
	} {
		quick := func(c *coordinator.Config) { c.FailoverTime, c.ShutdownTimeout = tc.failover, tc.shutdown }
		stop := func(t *testing.T, w *fleettest.Worker) {
			begun := time.Now()
			w.Stop()
			require.LessOrEqual(t, time.Since(begun), tc.shutdown+time.Second+50*time.Millisecond)
		}
		t.Run(fmt.Sprintf("native %v %v", tc.failover, tc.shutdown), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.New(t, 4)
				a := f.Start("a", quick)
				b := f.Start("b", quick)
				time.Sleep(40 * time.Second)
				b.Kill()
				time.Sleep(tc.failover) // a is about to take, or takes
				a.Faults.SetFault(leasefault.Silent)
				time.Sleep(time.Duration(tc.shutdown.Milliseconds()%700) * time.Millisecond)
				stop(t, a)
			})
		})
		t.Run(fmt.Sprintf("KCL 3.x %v %v", tc.failover, tc.shutdown), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := fleettest.NewKCL3(t, 4)
				f.Is3x()
				a := f.Start("a", quick)
				time.Sleep(2 * time.Minute)
				a.Kill()
				stop(t, a)
			})
		})
	}
}

// A worker stops while a lease is handed over to it. The owner completes the hand-over between the
// worker's read and its write. The lease is free afterwards.
func TestStopThatMeetsACompletedHandOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 2)
		f.Start("a", func(c *coordinator.Config) {
			c.Consume = func(_ context.Context, h *holder.Holder) {
				<-h.Stopping()
				time.Sleep(4 * time.Second) // the end of a batch
			}
		})
		time.Sleep(10 * time.Second)
		b := f.Start("b")
		handedOver := func() (row leases.Lease) {
			for _, l := range mustList(t, f.Store) {
				if l.CheckpointOwner != "" {
					row = l
				}
			}
			return row
		}
		for handedOver().Key == "" {
			time.Sleep(50 * time.Millisecond)
		}
		key := handedOver().Key
		b.Faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			for call.Op == "update" && handedOver().Key != "" {
				time.Sleep(10 * time.Millisecond)
			}
			return apply()
		})
		time.Sleep(time.Second)
		b.Stop()
		require.NoError(t, b.Err)
		row, err := f.Store.Get(t.Context(), key)
		require.NoError(t, err)
		require.NotEqual(t, "b", row.Owner)
		time.Sleep(5 * time.Second)
		f.RequireBalance("a")
	})
}
