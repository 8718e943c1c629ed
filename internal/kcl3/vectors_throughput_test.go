package kcl3

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestThroughputVectors are those of the KCL's LeaseStatsRecorderTest: the
// interval is a minute.
func TestThroughputVectors(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	tests := map[string]struct {
		intervals []int64 // bytes
		want      float64
	}{
		"five records of 1 MB":              {[]int64{5 * mib}, 85.333333},
		"one record of 1 MB":                {[]int64{mib}, 17.066667},
		"1000 records of 1 GB":              {[]int64{1000 << 30}, 17476266.666667},
		"all are older than the interval":   {[]int64{0}, 0},
		"unknown lease":                     {nil, -1},
		"half of it is the last interval":   {[]int64{mib, 3 * mib}, 34.133333},
		"decays":                            {[]int64{6 * mib, 0}, 51.2},
		"decays to zero":                    {append([]int64{mib}, make([]int64, 2000)...), 0},
		"a burst does not count for itself": {[]int64{0, 0, 6 * mib}, 51.2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p Throughput
			for _, bytes := range tt.intervals {
				p.Add(bytes, time.Minute)
			}
			require.InDelta(t, tt.want, p.Value(), 1e-9)
			require.InDelta(t, tt.want, p.Value(), 1e-9, "asking changes nothing")
		})
	}
}

func TestThroughputOfAFormerOwner(t *testing.T) {
	t.Parallel()
	var p Throughput
	p.Seed(-1)
	require.InDelta(t, -1, p.Value(), 0, "unknown to the former owner too")
	p.Seed(100)
	require.InDelta(t, 100, p.Value(), 0, "a lease that has just moved is as busy as it was")
	p.Seed(7)
	p.Add(0, 3*time.Second)
	require.InDelta(t, 50, p.Value(), 0)
	p.Add(1024, 0)
	require.InDelta(t, 50, p.Value(), 0, "no time has passed")
	p = Throughput{known: true, kbps: 0.0000005}
	require.InDelta(t, 0.000001, p.Value(), 1e-12, "half is rounded up")
}
