package holder

import (
	"context"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// AbandonAfter is how long a consumer may run after the end of its grace period. Then nobody waits
// for it any longer.
const AbandonAfter = time.Second

// Config is what the holders of one worker share. All fields but Metrics are required. Nothing
// changes a Config after the first [New].
type Config struct {
	// Store keeps the rows.
	Store leases.Store
	// WorkerID names this worker in the rows.
	WorkerID string
	// FailoverTime is how long a lease may go unrenewed before others take it.
	FailoverTime time.Duration
	// RenewInterval is the time between two renewals of a lease, less up to a tenth. It is at most
	// half of FailoverTime.
	RenewInterval time.Duration
	// ShutdownTimeout is how long a consumer may take to finish after [Holder.Stopping] is closed.
	ShutdownTimeout time.Duration
	// Accept says which rows this worker reads. A row that it refuses is not made again.
	Accept func(leases.Lease) bool
	// Consume reads one shard. Run calls it on a new goroutine. It returns when the shard is
	// finished, when h.Stopping is closed, or when ctx ends. Returning for any other reason gives
	// the lease back.
	//
	// ctx is cancelled with kcl.ErrLeaseLost when the lease is lost, and with
	// kcl.ErrShutdownTimeout when Consume does not return in time.
	Consume func(ctx context.Context, h *Holder)
	// Clock tells how long a lease can be trusted.
	Clock *trust.Clock
	// Log gets changes of state and problems.
	Log *slog.Logger
	// Metrics may be nil.
	Metrics *metrics.Metrics
	// Vanished keeps what these holders know of rows that vanished.
	Vanished *VanishedRows
}

// newBackoff returns the waits between attempts to write one row.
func (c Config) newBackoff() *retry.Backoff {
	return retry.New(min(100*time.Millisecond, c.FailoverTime/50), c.FailoverTime/10)
}
