package kcl3

import (
	"math"
	"time"
)

// Throughput is the moving average of the throughput of one lease, in KB of 1024 bytes per second.
// As in the KCL, the last interval weighs half. It is not safe for concurrent use. The zero value
// knows no throughput.
type Throughput struct {
	known bool
	kbps  float64
}

// Seed starts from the throughput of the row, which a former owner measured. A negative one is
// ignored.
func (t *Throughput) Seed(kbps float64) {
	if !t.known && kbps >= 0 {
		t.known, t.kbps = true, kbps
	}
}

// Add adds the bytes of an interval to the average. An interval without bytes lets the average
// decay.
func (t *Throughput) Add(bytes int64, interval time.Duration) {
	if interval <= 0 {
		return
	}
	now := float64(bytes) / 1024 / interval.Seconds()
	if t.known {
		now = averageWeight*now + (1-averageWeight)*t.kbps
	}
	t.known, t.kbps = true, now
}

// Value returns the throughput for the row, rounded to six decimals, half away from zero. It is -1
// when the throughput is not known.
func (t *Throughput) Value() float64 {
	if !t.known {
		return -1
	}
	return math.Round(t.kbps*1e6) / 1e6
}
