package coordinator_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
)

func TestTakeRemovesAPinThatAnotherLibraryLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		pin := time.Unix(1_700_000_000, 0).UTC()
		f.Edit(first, func(l *leases.Lease) { l.Checkpoint, l.PinnedAt = number(10), pin })
		f.Start("a", func(c *coordinator.Config) {
			c.Consume = func(_ context.Context, h *holder.Holder) { <-h.Stopping() }
		})
		time.Sleep(20 * time.Second)
		require.Equal(t, "a", f.Row(first).Owner)
		require.Zero(t, f.Row(first).PinnedAt)
		require.Equal(t, "LATEST@2023-11-14T22:13:20Z", f.Row(first).Origin.String(),
			"where the application began is not forgotten")
	})
}

func TestTakeLeavesThePinOfAStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t, 1)
		pin := time.Unix(1_700_000_000, 0).UTC()
		f.Edit(first, func(l *leases.Lease) {
			l.Checkpoint, l.PinnedAt = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelAtTimestamp}, pin
		})
		start := make(chan leases.Lease, 1)
		a := f.Prepare("a", func(c *coordinator.Config) {
			c.Consume = func(_ context.Context, h *holder.Holder) { start <- h.Lease(); <-h.Stopping() }
		})
		a.Run()
		time.Sleep(20 * time.Second)
		require.Equal(t, "a", f.Row(first).Owner)
		require.Equal(t, pin, f.Row(first).PinnedAt)
		require.Equal(t, pin, (<-start).PinnedAt)
	})
}
