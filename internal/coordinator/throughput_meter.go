package coordinator

import (
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
)

// meter measures what is delivered of one shard, over each interval between two
// renewals. add may be called by anybody, sample belongs to the goroutine that
// renews.
type meter struct {
	used    atomic.Bool // somebody measures
	bytes   atomic.Int64
	average kcl3.Throughput
	since   time.Duration // when bytes began to count, monotonic
}

func (m *meter) add(bytes int) {
	m.used.Store(true)
	m.bytes.Add(int64(bytes))
}

// sample returns the moving average, negative when not known. It takes the
// interval that ends now into account, unless that is shorter than least.
func (m *meter) sample(now, least time.Duration) float64 {
	if passed := now - m.since; m.used.Load() && passed >= least {
		m.since = now
		m.average.Add(m.bytes.Swap(0), passed)
	}
	return m.average.Value()
}
