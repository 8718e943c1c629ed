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

func (refusing) ReportWorker(context.Context, leases.WorkerMetrics) error {
	return errors.New("AccessDeniedException")
}

func (refusing) ForgetWorker(_ context.Context, m leases.WorkerMetrics) error {
	return &leases.ConflictError{Key: m.Worker}
}

// While a right is missing, the memory of reports does not grow.
func TestRefusedReportsAreNotAllRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{WorkerID: "a", Logger: slog.New(slog.DiscardHandler)}.withDefaults()
		clk := trust.NewClock(nil)
		c := newTable(newWorkerState(&cfg, &clk), func() {})
		c.writeCtx = t.Context()
		r := newReporter(c, refusing{})
		ctx, cancel := context.WithCancel(t.Context())
		var reporting loop
		reporting.set(ctx, true, r.run)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.LessOrEqual(t, len(r.reports), maxUnknownReports)
		cancel()
		reporting.wait()
	})
}
