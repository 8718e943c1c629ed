package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
)

// TestAgainstAWorker moves the checkpoint of a lease that a worker holds. The worker loses the
// lease, and starts again at the new checkpoint.
func TestAgainstAWorker(t *testing.T) {
	r := newRig(t, lease(held, at(seq2, 0)))
	started, lost := make(chan leases.Lease), make(chan error)
	worker := coordinator.New(coordinator.Config{
		Store: r.store, WorkerID: "worker-1", ScanInterval: 50 * time.Millisecond, RenewInterval: 300 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
		Consume: func(ctx context.Context, h *holder.Holder) {
			started <- h.Lease()
			select {
			case <-ctx.Done():
				lost <- context.Cause(ctx)
			case <-h.Stopping():
			}
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = worker.Run(ctx) }) // ends with ctx
	defer wg.Wait()
	defer stop()
	require.Equal(t, seq2, (<-started).Checkpoint.SequenceNumber)

	// The worker renews between the question and the answer.
	renewed := func() {
		read := r.get(held).Counter
		require.Eventually(t, func() bool { return r.get(held).Counter >= read+2 }, 30*time.Second, 50*time.Millisecond,
			"it needs 300 ms for each")
	}
	got := r.answering(&answer{renewed, strings.NewReader("yes\n")}, "set-checkpoint", held, seq1)
	require.Equal(t, statusOK, got.status, got.errors)
	require.ErrorIs(t, <-lost, kcl.ErrLeaseLost)
	require.Equal(t, seq1, (<-started).Checkpoint.SequenceNumber)

	got = r.answering(&answer{renewed, strings.NewReader("yes\n")}, "release", "-owner", "worker-1")
	require.Equal(t, statusOK, got.status, got.errors)
	require.ErrorIs(t, <-lost, kcl.ErrLeaseLost)
	require.Equal(t, seq1, (<-started).Checkpoint.SequenceNumber)
}
