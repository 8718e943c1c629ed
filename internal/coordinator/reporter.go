package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// maxUnknownReports bounds the reports whose outcome is not known. An older report that the store
// still accepts is out of date within a minute.
const maxUnknownReports = 8

// newestFeature is the newest feature that this library supports: the migration to a single table.
const newestFeature = 1

// maxSamples is the number of reported values of a metric.
const maxSamples = 10

// reporter reports to the leader of a KCL 3.x fleet that this worker lives. It also reports how
// much of the CPU is used. The leader judges a worker that does not report its CPU by the
// throughput of its leases. It stands where the KCL has WorkerMetricStatsReporter.
type reporter struct {
	cfg           *Config
	store         leases.WorkerReports
	me            string
	clock         *trust.Clock
	log           *slog.Logger
	metrics       *metrics.Metrics
	timeout       time.Duration
	firstReported func()                 // called when the first report was accepted
	writeCtx      func() context.Context // the context of writes after a stop

	// reports are the last accepted report, and the last few later ones whose outcome is not known.
	reports []leases.WorkerMetrics
	cpu     []float64 // the last samples
}

func newReporter(t *table, store leases.WorkerReports) *reporter {
	return &reporter{
		cfg: t.cfg, store: store, me: t.cfg.WorkerID, clock: t.clock, log: t.log, metrics: t.cfg.Metrics,
		timeout: t.cfg.FailoverTime, firstReported: t.nudge, writeCtx: func() context.Context { return t.writeCtx },
	}
}

// run reports until ctx ends. Then it removes the report, so that the leader does not count on a
// worker that has left.
func (r *reporter) run(ctx context.Context) {
	backoff := retry.New(time.Second, kcl3.ReportPeriod/2)
	first, failing := true, false
	r.cpu = nil
	r.sample() // begins the first interval
	for ctx.Err() == nil {
		err := r.report(ctx)
		switch {
		case err == nil && first:
			first = false
			r.firstReported()
			fallthrough
		case err == nil:
			failing = false
			backoff.Reset()
			_ = retry.Sleep(ctx, kcl3.ReportPeriod-jitter(kcl3.ReportPeriod/10))
			r.sample()
		default:
			if !failing && ctx.Err() == nil {
				r.log.Warn("worker cannot report to the leader, trying again", "err", err)
			}
			failing = true
			_ = backoff.Wait(ctx)
		}
	}
	r.removeReport(r.writeCtx())
}

// report writes one report.
func (r *reporter) report(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	m := r.cfg.ownMetrics(r.clock.Wall())
	if len(r.cpu) > 0 {
		m.Stats[kcl3.CPUMetric], m.Range[kcl3.CPUMetric] = slices.Clone(r.cpu), []float64{100}
	}
	err := r.store.ReportWorker(ctx, m)
	if err == nil {
		r.reports = nil
	} else {
		r.metrics.LeaseStoreError("report")
	}
	if len(r.reports) >= maxUnknownReports {
		r.reports = slices.Delete(r.reports, 1, 2)
	}
	r.reports = append(r.reports, m)
	return err
}

// sample records how much of the CPU was used since the last call. The report of a sensor without a
// value is that of a worker without a sensor. A worker with a failed sensor would get no leases.
func (r *reporter) sample() {
	percent, ok := r.cfg.cpuUsed()
	if !ok {
		r.cpu = nil
		return
	}
	if r.cpu = append(r.cpu, percent); len(r.cpu) > maxSamples {
		r.cpu = r.cpu[1:]
	}
}

// cpuUsed calls Config.CPU, which is the user's code.
func (c *Config) cpuUsed() (percent float64, ok bool) {
	if c.CPU == nil {
		return 0, false
	}
	if err := usercode.Contain(func() { percent, ok = c.CPU() }); err != nil {
		c.Logger.Error("sensor of the CPU has failed, the worker does not report its CPU; see Config.CPU", "err", err)
		return 0, false
	}
	return min(100, percent), ok && percent >= 0 // false for NaN too
}

// ownMetrics returns the report of this worker, without samples.
func (c *Config) ownMetrics(now time.Time) leases.WorkerMetrics {
	now = now.Truncate(time.Second)
	m := leases.WorkerMetrics{
		Worker: c.WorkerID, Updated: now, Stats: map[string][]float64{}, Range: map[string][]float64{},
		Support: newestFeature, SupportUpdated: now, Native: true,
		MaxLeases: c.MaxLeasesForWorker, Handover: (c.handoverTime() + time.Second - 1).Truncate(time.Second),
	}
	if m.MaxLeases <= 0 {
		m.MaxLeases = -1
	}
	return m
}

// removeReport removes this worker's report from the store.
func (r *reporter) removeReport(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	for _, m := range slices.Backward(r.reports) {
		err := r.store.ForgetWorker(ctx, m)
		if err == nil {
			return
		}
		if _, conflict := errors.AsType[*leases.ConflictError](err); !conflict {
			r.log.Warn("worker's report to the leader was not removed, and will be out of date in a minute", "err", err)
			return
		}
	}
}
