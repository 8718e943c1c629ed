package election

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// refusing is a table that may be read and not written.
type refusing struct{ leases.LeaderLocks }

func (refusing) Leader(context.Context) (*leases.LeaderLock, error) { return nil, nil }
func (refusing) AcquireLeader(context.Context, *leases.LeaderLock, leases.LeaderLock) error {
	return errors.New("AccessDeniedException")
}

// While a right is missing, the memory of writes does not grow.
func TestRefusedWritesAreNotAllRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clk := trust.NewClock(nil)
		e := New(Config{
			Store: refusing{}, WorkerID: "a", Clock: &clk, Log: slog.New(slog.DiscardHandler), Timeout: 2500 * time.Millisecond,
			Elected: func() {}, LastCalls: t.Context,
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { e.Run(ctx) }) // ends with ctx
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.LessOrEqual(t, len(e.unconfirmed), 30)
		cancel()
		running.Wait()
	})
}
