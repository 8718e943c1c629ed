package kcl3

import (
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// Times of the workers' reports.
const (
	// WorkerSilence is how long a worker may not report before it gets no leases. Workers of the
	// KCL report every 30 s.
	WorkerSilence = time.Minute
	// workerForgotten is how long a worker may not report before its metrics are deleted.
	workerForgotten = 24 * time.Hour
	// ReportPeriod is how often a worker of this library reports, less up to a tenth.
	ReportPeriod = 20 * time.Second
	// averageWeight is the weight of the newest sample in a moving average.
	averageWeight = 0.5
	// CPUMetric is the metric that sensors of the KCL report.
	CPUMetric = "C"
)

// validate returns an error if the leader cannot use m. The metrics of a worker without a sensor
// are empty and valid.
func validate(m leases.WorkerMetrics) error {
	if m.Worker == "" {
		return errors.New("no worker")
	}
	if m.Updated.IsZero() {
		return errors.New("no time of the report")
	}
	if _, old := m.Stats["THROUGHPUT"]; old {
		return nil // an early version wrote it for a worker without a sensor
	}
	for name := range m.Stats {
		if r := m.Range[name]; len(r) == 0 || r[0] == 0 {
			return fmt.Errorf("no operating range of metric %s", name)
		}
	}
	for name, r := range m.Range {
		if len(r) == 0 || r[0] == 0 {
			return fmt.Errorf("empty operating range of metric %s", name)
		}
	}
	return nil
}

// sensorless tells whether the worker has no sensor. Its load is the throughput of its leases then.
func sensorless(m leases.WorkerMetrics) bool {
	_, old := m.Stats["THROUGHPUT"]
	return old || len(m.Stats) == 0
}

// sensorFailed tells whether a sensor failed at the last report. Such a worker gets
// no leases.
func sensorFailed(m leases.WorkerMetrics) bool {
	if sensorless(m) {
		return false
	}
	for _, samples := range m.Stats {
		if n := len(samples); n > 0 && samples[n-1] < 0 {
			return true
		}
	}
	return false
}

// maxLeasesOf returns the most leases that the worker takes; 0 for no limit. A worker that does not
// report a limit has that of the leader, as in the KCL.
func maxLeasesOf(m leases.WorkerMetrics, ofLeader int) int {
	if m.MaxLeases == 0 {
		return ofLeader
	}
	return max(0, m.MaxLeases)
}

// Forgettable tells whether the metrics shall be deleted.
func Forgettable(m leases.WorkerMetrics, now time.Time) bool {
	return now.Sub(m.Updated) > workerForgotten
}

// averageOf returns the moving average of the samples of one metric. ok is false without a sample.
// Negative samples, from failed sensors, are left out.
func averageOf(m leases.WorkerMetrics, metric string) (v float64, ok bool) {
	for _, s := range m.Stats[metric] {
		switch {
		case s < 0:
		case !ok:
			v, ok = s, true
		default:
			v = averageWeight*s + (1-averageWeight)*v
		}
	}
	return v, ok
}

// newestReports keeps the later one of two reports of the same worker. A worker may have two while
// the side tables are merged.
func newestReports(workers []leases.WorkerMetrics) []leases.WorkerMetrics {
	at := map[string]int{}
	var list []leases.WorkerMetrics
	for _, m := range workers {
		i, known := at[m.Worker]
		switch {
		case !known:
			at[m.Worker] = len(list)
			list = append(list, m)
		case m.Updated.After(list[i].Updated):
			list[i] = m
		}
	}
	return list
}

// WorkerWatch compares the reports of workers over time, and tells which workers live. The zero
// value has seen no worker.
type WorkerWatch struct {
	seen map[string]workerSight
}

// workerSight is a worker's last report and when it was first seen.
type workerSight struct {
	updated       time.Time
	since         time.Duration
	reportedAgain bool // a second report was seen
}

// silence returns how long a report counts. Workers of this library report more often than those of
// the KCL. A worker may have died after its first report. Until a second report is seen, the first
// one counts for little more than one period.
func (s workerSight) silence(m leases.WorkerMetrics) time.Duration {
	switch {
	case !m.Native:
		return WorkerSilence
	case !s.reportedAgain:
		return ReportPeriod * 5 / 4
	}
	return ReportPeriod * 9 / 4
}

// Alive returns the workers that reported lately. now is the wall clock, and at the monotonic
// clock. The wall clock decides only about a worker that is seen for the first time. After that,
// the monotonic clock tells the age of a report. So a worker with a wrong clock counts from its
// next report on. A dead worker whose clock was ahead counts no longer. (The KCL compares wall
// clocks.)
func (w *WorkerWatch) Alive(now time.Time, at time.Duration, all []leases.WorkerMetrics) map[string]bool {
	seen := make(map[string]workerSight, len(all))
	alive := map[string]bool{}
	for _, m := range newestReports(all) {
		s, known := w.seen[m.Worker]
		switch {
		case !known:
			s = workerSight{updated: m.Updated, since: at - max(0, now.Sub(m.Updated))}
		case !s.updated.Equal(m.Updated):
			s = workerSight{m.Updated, at, true}
		}
		seen[m.Worker] = s
		if at-s.since <= s.silence(m) {
			alive[m.Worker] = true
		}
	}
	w.seen = seen
	return alive
}

// Active returns the metrics of the workers that may get leases: alive, with valid metrics and no
// failed sensor.
func (w *WorkerWatch) Active(now time.Time, at time.Duration, all []leases.WorkerMetrics) []leases.WorkerMetrics {
	alive := w.Alive(now, at, all)
	var active []leases.WorkerMetrics
	for _, m := range newestReports(all) {
		if alive[m.Worker] && validate(m) == nil && !sensorFailed(m) {
			active = append(active, m)
		}
	}
	return active
}
