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

// A LATEST that is written by hand must not be read from the time of an earlier LATEST. A sync
// writes PinnedAt without the holder's knowledge.
func TestFirstCheckpointRemovesThePin(t *testing.T) {
	t.Parallel()
	held(t, func(ctx context.Context, f *fleettest.Fleet, _ *fleettest.Worker, h *holder.Holder) {
		pin := time.Unix(1_700_000_000, 0).UTC()
		origin := leases.Origin{Kind: kcl.SentinelLatest, At: pin}
		f.Edit(first, func(l *leases.Lease) {
			l.Checkpoint, l.PinnedAt, l.Origin = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelLatest}, pin, origin
		})
		require.NoError(t, h.Prepare(ctx, number(10), nil))
		require.Equal(t, pin, f.Row(first).PinnedAt, "a prepared checkpoint starts nobody anywhere else")
		require.NoError(t, h.Checkpoint(ctx, number(10)))
		require.Zero(t, f.Row(first).PinnedAt)
		require.True(t, f.Row(first).Origin.Equal(origin))
	})
}

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
		require.Equal(t, "LATEST@2023-11-14T22:13:20Z", f.Row(first).Origin.String(), "where the application began is not forgotten")
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
