package kcl3

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// TestWorkerMetricsVectors is the KCL's WorkerMetricsTest.
func TestWorkerMetricsVectors(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	c := map[string][]float64{"C": {10, 20}}
	limit := map[string][]float64{"C": {80}}
	tests := map[string]struct {
		updated time.Time
		stats   map[string][]float64
		limit   map[string][]float64
		valid   bool
		plain   bool
	}{
		"no time":                        {time.Time{}, c, limit, false, false},
		"default worker":                 {now, map[string][]float64{}, map[string][]float64{}, true, true},
		"default worker without maps":    {now, nil, nil, true, true},
		"no range":                       {now, c, nil, false, false},
		"empty range":                    {now, c, map[string][]float64{"C": {}}, false, false},
		"range of 0":                     {now, c, map[string][]float64{"C": {0}}, false, false},
		"a metric without a range":       {now, map[string][]float64{"C": {1}, "X": {1}}, limit, false, false},
		"a range without a metric":       {now, nil, limit, true, true},
		"CPU":                            {now, c, limit, true, false},
		"the metric of an early version": {now, map[string][]float64{"THROUGHPUT": {1}}, nil, true, true},
		"two metrics": {
			now,
			map[string][]float64{"C": {1}, "M": {1}},
			map[string][]float64{"C": {80}, "M": {90}},
			true, false,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := leases.WorkerMetrics{Worker: "w", Updated: tt.updated, Stats: tt.stats, Range: tt.limit}
			require.Equal(t, tt.valid, validate(m) == nil, "%v", validate(m))
			require.Equal(t, tt.plain, sensorless(m))
			m.Worker = ""
			require.Error(t, validate(m))
		})
	}
}

func TestWorkerMetricsAverage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		samples []float64
		want    float64
		ok      bool
		failing bool
	}{
		"none":               {nil, 0, false, false},
		"one":                {[]float64{40}, 40, true, false},
		"two":                {[]float64{40, 60}, 50, true, false},
		"three":              {[]float64{40, 60, 90}, 70, true, false},
		"failed once":        {[]float64{40, -1, 60}, 50, true, false},
		"failed at first":    {[]float64{-1, 50, 50}, 50, true, false},
		"failed at last":     {[]float64{50, -1}, 50, true, true},
		"never was any good": {[]float64{-1, -1}, 0, false, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := leases.WorkerMetrics{Stats: map[string][]float64{"C": tt.samples}}
			v, ok := averageOf(m, "C")
			require.InDelta(t, tt.want, v, 1e-9)
			require.Equal(t, tt.ok, ok)
			require.Equal(t, tt.failing, sensorFailed(m))
			_, ok = averageOf(m, "M")
			require.False(t, ok)
		})
	}
	require.False(t, sensorFailed(leases.WorkerMetrics{Stats: map[string][]float64{"THROUGHPUT": {-1}}}))
}

func TestWorkersAreCountedOn(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_700_000_000, 0)
	good := leases.WorkerMetrics{Worker: "w", Updated: start}
	type look struct {
		at      time.Duration
		updated time.Duration // after start
		active  bool
	}
	tests := map[string][]look{
		"reports":               {{0, 0, true}, {30 * sec, 30 * sec, true}, {60 * sec, 60 * sec, true}},
		"60 s are not too long": {{60 * sec, 0, true}, {61 * sec, 0, false}},
		"died": {
			{0, 0, true},
			{60 * sec, 0, true},
			{61 * sec, 0, false},
			{90 * sec, 90 * sec, true},
		},
		"had died before": {{100 * sec, 0, false}},
		"its clock is behind": {
			{0, -3600 * sec, false},
			{30 * sec, -3570 * sec, true},
			{91 * sec, -3570 * sec, false},
		},
		"its clock is ahead": {{0, 3600 * sec, true}, {30 * sec, 3630 * sec, true}},
		"died, and its clock was ahead": {
			{0, 3600 * sec, true},
			{60 * sec, 3600 * sec, true},
			{61 * sec, 3600 * sec, false},
		},
		"its clock was set back just now": {{0, 0, true}, {30 * sec, -600 * sec, true}},
	}
	for name, looks := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w WorkerWatch
			for _, l := range looks {
				m := good
				m.Updated = start.Add(l.updated)
				require.Len(t, w.Active(start.Add(l.at), l.at, []leases.WorkerMetrics{m}),
					map[bool]int{true: 1}[l.active], "at %v", l.at)
			}
		})
	}
	var w WorkerWatch
	failing := leases.WorkerMetrics{
		Worker: "f", Updated: start, Stats: map[string][]float64{"C": {-1}},
		Range: map[string][]float64{"C": {80}},
	}
	require.Equal(t, []leases.WorkerMetrics{good},
		w.Active(start, 0, []leases.WorkerMetrics{{Worker: "no time"}, failing, good}))
	require.Empty(t, w.Active(start, sec, nil))
	// The metrics of a worker are in two tables while that is being changed.
	aside, here := leases.WorkerMetrics{Worker: "w", Updated: start, InSideTable: true},
		leases.WorkerMetrics{Worker: "w", Updated: start.Add(sec)}
	for _, all := range [][]leases.WorkerMetrics{{aside, here}, {here, aside}} {
		w = WorkerWatch{}
		for at := time.Duration(0); at <= 60*sec; at += 10 * sec {
			require.Equal(t, []leases.WorkerMetrics{here}, w.Active(start.Add(at), at, all))
		}
		require.Empty(t, w.Active(start.Add(70*sec), 70*sec, all), "none of them is new")
	}
	require.False(t, Forgettable(good, start.Add(24*time.Hour)))
	require.True(t, Forgettable(good, start.Add(24*time.Hour+sec)))
}
