package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// refusing is a table that may be read and not written.
type refusing struct{ leases.FleetStore }

var errRefused = errors.New("AccessDeniedException")

func (refusing) Leader(context.Context) (*leases.LeaderLock, error) { return nil, nil }
func (refusing) AcquireLeader(context.Context, *leases.LeaderLock, leases.LeaderLock) error {
	return errRefused
}
func (refusing) ReportWorker(context.Context, leases.WorkerMetrics) error { return errRefused }
func (refusing) ForgetWorker(_ context.Context, m leases.WorkerMetrics) error {
	return &leases.ConflictError{Key: m.Worker}
}

// While a right is missing, the memory of writes does not grow.
func TestRefusedWritesAreNotAllRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{WorkerID: "a", Logger: slog.New(slog.DiscardHandler)}.withDefaults()
		clk := trust.NewClock(nil)
		c := newTable(newKnown(&cfg, &clk), func() {})
		c.last = t.Context()
		e, r := newElector(c, refusing{}), newReporter(c, refusing{})
		ctx, cancel := context.WithCancel(t.Context())
		var electing, reporting loop
		electing.set(ctx, true, e)
		reporting.set(ctx, true, r)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.LessOrEqual(t, len(e.sent), 30)
		require.LessOrEqual(t, len(r.written), maxUnknownReports)
		cancel()
		reporting.wait()
		electing.wait()
	})
}
