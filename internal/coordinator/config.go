package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl/internal/holder"
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

// maxParallel is the number of writes or reads of single rows that run at the same time.
const maxParallel = 20

// kclHandoverTime is how long an owner of the KCL may take to hand over a lease
// (gracefulLeaseHandoffTimeoutMillis).
const kclHandoverTime = 30 * time.Second

// Config configures a [Coordinator].
type Config struct {
	// Store keeps the rows. Required.
	Store leases.Store
	// WorkerID names this worker in the rows. It is required. Two processes must never use the
	// same: the scheduler appends a random suffix (workerIdentifier).
	WorkerID string
	// Assignment says how workers share out the leases. Defaults to AssignmentAuto, which follows
	// the table.
	Assignment leases.Assignment
	// FailoverTime is how long a lease may go unrenewed before others take it.
	// It must be the same in all workers. Defaults to 10s (failoverTimeMillis).
	FailoverTime time.Duration
	// ScanInterval is the time between two listings of the table, plus up to a quarter. Defaults to
	// a fifth of FailoverTime, and to 2s when that is less. It is never more than half of
	// FailoverTime, because the worker notices changes only at a listing.
	ScanInterval time.Duration
	// RenewInterval is the time between two renewals of a lease, less up to a tenth. Defaults to a
	// third of FailoverTime, and must not be more than half of it.
	RenewInterval time.Duration
	// MaxLeasesForWorker bounds the leases that this worker holds
	// (maxLeasesForWorker). 0, the default, is no limit.
	MaxLeasesForWorker int
	// Balance says by which measure workers even out the leases. Defaults to BalanceLeaseCount. It
	// must be the same in all workers.
	Balance leases.Balance
	// AssignmentStrategy says by which measure a leader shares out the leases, if this worker is
	// the leader. Defaults to AssignByUtilization.
	AssignmentStrategy leases.AssignmentStrategy
	// MaxThroughputKBps is the throughput of a worker's leases, in KB/s, above which the leader
	// gives it no more. AssignmentStrategy tells when that applies (maxThroughputPerHostKBps). 0,
	// the default, is no limit.
	MaxThroughputKBps float64
	// CPU returns how much of the CPU of the machine or container was used since the last call, in
	// percent. ok is false when that is not known. The worker reports it to the leader of a table
	// of KCL 3.x. One goroutine calls it every 20 s. nil, the default, reports no CPU. Then the
	// leader goes by the throughput of the worker's leases.
	CPU func() (percent float64, ok bool)
	// ShutdownTimeout is how long a consumer may take to finish when the worker stops or hands a
	// lease over. Defaults to 25s, so that a stop ends within the 30s after which Kubernetes and
	// others kill a process. (gracefulLeaseHandoffTimeoutMillis, 30s.)
	ShutdownTimeout time.Duration
	// Accept says which rows this worker reads; nil means all. Other rows are neither taken nor
	// counted. It must be fast. The coordinator's goroutine calls it.
	Accept func(leases.Lease) bool
	// Consume reads one shard. It is required. The coordinator calls it on a new goroutine for
	// every lease that the worker gets. It returns when the shard is finished, when h.Stopping is
	// closed, or when ctx ends. Returning for any other reason gives the lease back.
	//
	// ctx is cancelled with kcl.ErrLeaseLost when the lease is lost, and with
	// kcl.ErrShutdownTimeout when Consume does not return in time. It has the values of Run's
	// context, and does not end with that.
	Consume func(ctx context.Context, h *holder.Holder)
	// Logger gets changes of state and problems; nil means slog.Default().
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics *metrics.Metrics
	// WallClock replaces the machine's wall clock in tests. A clock that jumps acts as a machine
	// that was suspended. nil, the default, means time.Now.
	WallClock func() time.Time
}

// validate reports each required field that is missing.
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
	return c
}

// roundTime returns how long a round acts on one listing. The rest of its work waits for the next
// listing.
func (c Config) roundTime() time.Duration { return c.FailoverTime / 5 }

// handoverTime is how long this worker may take to hand over a lease.
func (c Config) handoverTime() time.Duration { return c.ShutdownTimeout + holder.AbandonAfter }

// handoverLimit is how long others wait for an owner that hands over a lease. After it the lease
// is assigned without the owner. reported is the time that the owner reported, or 0.
func (c Config) handoverLimit(reported time.Duration) time.Duration {
	if reported == 0 {
		reported = c.handoverTime() // assumed to be the same in all workers
	}
	return max(kclHandoverTime, reported) + c.FailoverTime
}
