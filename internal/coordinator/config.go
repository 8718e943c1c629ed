package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// Defaults of [Config].
const (
	DefaultFailoverTime    = 10 * time.Second
	DefaultScanInterval    = 2 * time.Second
	DefaultShutdownTimeout = 25 * time.Second
)

// Bounds that follow from the clocks of two machines: an owner trusts its lease
// a little shorter, and others respect it a little longer, than FailoverTime.
const (
	trusted   = 0.95
	respected = 1.05
)

// maxParallel is how many writes or reads of single rows the coordinator has
// under way at the same time.
const maxParallel = 20

// kclHandoverTime is how long an owner of the KCL may take to hand over a lease
// (gracefulLeaseHandoffTimeoutMillis).
const kclHandoverTime = 30 * time.Second

// abandonAfter is how long after the end of its grace period a consumer that
// does not return is still waited for.
const abandonAfter = time.Second

// Config configures a [Coordinator].
type Config struct {
	// Store keeps the rows. Required.
	Store leases.Store
	// WorkerID names this worker in the rows. Required, and never to be used
	// by two processes: the scheduler appends a random suffix
	// (workerIdentifier).
	WorkerID string
	// Assignment says who decides which worker reads which shard. Defaults to
	// AssignmentAuto: as the table says.
	Assignment leases.Assignment
	// FailoverTime is how long a lease may go unrenewed before others take it.
	// It must be the same in all workers. Defaults to 10s (failoverTimeMillis).
	FailoverTime time.Duration
	// ScanInterval is how often the table is listed, plus up to a quarter.
	// Defaults to a fifth of FailoverTime, and to 2s when that is less. It is
	// never more than half of FailoverTime, as nothing is noticed between two
	// listings.
	ScanInterval time.Duration
	// RenewInterval is how often a lease is renewed, less up to a tenth.
	// Defaults to a third of FailoverTime, and must not be more than a half.
	RenewInterval time.Duration
	// MaxLeasesForWorker bounds the leases that this worker holds
	// (maxLeasesForWorker). 0, the default, is no limit.
	MaxLeasesForWorker int
	// Balance says what is evened out between workers. Defaults to
	// BalanceLeaseCount. It must be the same in all workers.
	Balance leases.Balance
	// AssignmentStrategy says by what the leader shares the leases out, where one
	// assigns them and this worker is the leader. Defaults to AssignByUtilization.
	AssignmentStrategy leases.AssignmentStrategy
	// MaxThroughputKBps is how much a worker's leases may deliver, in KB/s, before
	// the leader gives it no more; AssignmentStrategy tells when that applies
	// (maxThroughputPerHostKBps). 0, the default, is no limit.
	MaxThroughputKBps float64
	// CPU tells how much of the machine's processors, or of what this process may
	// have of them, was used since the last call, in percent; ok is false when that
	// is not known. The leader of a table of KCL 3.x is told. It is called each 20 s,
	// by one goroutine. nil, the default, tells nothing: the worker is judged by the
	// throughput of its leases.
	CPU func() (percent float64, ok bool)
	// ShutdownTimeout is how long a consumer may take to finish when the worker
	// stops or hands a lease over. Defaults to 25s, so
	// that a stop ends within the 30s after which Kubernetes and others kill a process.
	// (gracefulLeaseHandoffTimeoutMillis, 30s.)
	ShutdownTimeout time.Duration
	// Accept says which rows this worker reads; nil means all. Others are
	// neither taken nor counted. It must be fast, and is called from the
	// coordinator's goroutine.
	Accept func(leases.Lease) bool
	// Consume reads one shard. It is called on a goroutine of its own for
	// every lease that the worker gets, and returns when the shard is finished,
	// when h.Stopping is closed or ctx ends. ctx is cancelled with
	// kcl.ErrLeaseLost when the lease is lost, and with kcl.ErrShutdownTimeout
	// when Consume does not return in time; it has the values of Run's context,
	// and does not end with that. Returning for any other reason
	// gives the lease back. Required.
	Consume func(ctx context.Context, h *Holder)
	// Logger takes state changes and trouble; nil means slog.Default().
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *metrics.Metrics
	// WallClock replaces the machine's wall clock in tests: one that jumps is a
	// machine that was suspended. Defaults to nil, time.Now.
	WallClock func() time.Time

	vanished *vanishings // of one coordinator; withDefaults makes it
}

// validate reports what is missing and has no default.
func (c Config) validate() error {
	var problems []error
	for _, required := range []struct {
		field   string
		missing bool
	}{{"Store", c.Store == nil}, {"WorkerID", c.WorkerID == ""}, {"Consume", c.Consume == nil}} {
		if required.missing {
			problems = append(problems, fmt.Errorf("coordinator: Config.%s is missing", required.field))
		}
	}
	return errors.Join(problems...)
}

func (c Config) withDefaults() Config {
	c.FailoverTime = cmp.Or(max(c.FailoverTime, 0), DefaultFailoverTime)
	c.ScanInterval = cmp.Or(max(c.ScanInterval, 0), max(DefaultScanInterval, c.FailoverTime/5))
	c.ScanInterval = min(c.ScanInterval, c.FailoverTime/2)
	c.RenewInterval = cmp.Or(max(c.RenewInterval, 0), c.FailoverTime/3)
	c.RenewInterval = min(c.RenewInterval, c.FailoverTime/2)
	c.ShutdownTimeout = cmp.Or(max(c.ShutdownTimeout, 0), DefaultShutdownTimeout)
	if c.Accept == nil {
		c.Accept = func(leases.Lease) bool { return true }
	}
	c.Logger = usercode.Logger(cmp.Or(c.Logger, slog.Default()))
	c.vanished = &vanishings{}
	return c
}

// trust is for how long after sending its last accepted renewal an owner works.
func (c Config) trust() time.Duration {
	return time.Duration(trusted * float64(c.FailoverTime))
}

// respect is for how long an observer waits for a counter to move.
func (c Config) respect() time.Duration { return respect(c.FailoverTime) }

// respect is how long an observer waits for a counter to move.
func respect(failover time.Duration) time.Duration {
	return time.Duration(respected * float64(failover))
}

// roundTime is for how long a round goes on acting on one listing: what is left is
// done after another look.
func (c Config) roundTime() time.Duration { return c.FailoverTime / 5 }

// callTimeout is the deadline of a call that touches one row.
func (c Config) callTimeout() time.Duration { return c.FailoverTime / 3 }

// handoverTime is how long this worker may take to hand over a lease.
func (c Config) handoverTime() time.Duration { return c.ShutdownTimeout + abandonAfter }

// handoverLimit is how long others wait for an owner that hands over a lease. After it the lease
// is assigned without the owner. reported is the time that the owner reported, or 0.
func (c Config) handoverLimit(reported time.Duration) time.Duration {
	if reported == 0 {
		reported = c.handoverTime() // assumed to be the same in all workers
	}
	return max(kclHandoverTime, reported) + c.FailoverTime
}
