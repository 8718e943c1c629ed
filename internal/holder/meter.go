package holder

import (
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
)

// meter measures the bytes delivered from one shard in each interval between two renewals. Any
// goroutine may call add. sample belongs to the goroutine that renews.
type meter struct {
	hasData       atomic.Bool // add was called
	bytes         atomic.Int64
	average       kcl3.Throughput
	intervalBegan time.Duration // when the interval began, monotonic
}

// add counts bytes.
func (m *meter) add(bytes int) {
	m.hasData.Store(true)
	m.bytes.Add(int64(bytes))
}

// sample returns the moving average; negative when it is not known. It ends the present interval,
// unless that is shorter than shortest.
func (m *meter) sample(now, shortest time.Duration) float64 {
	if passed := now - m.intervalBegan; m.hasData.Load() && passed >= shortest {
		m.intervalBegan = now
		m.average.Add(m.bytes.Swap(0), passed)
	}
	return m.average.Value()
}
