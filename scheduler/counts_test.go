package scheduler_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/scheduler"
)

// orders is what the worker says of the stream of that name.
func (w *worker) orders() scheduler.StreamStatus {
	for _, st := range w.Status().Streams {
		if st.Stream.Name == streamName {
			return st
		}
	}
	return scheduler.StreamStatus{}
}

// seriesStream is the stream in the labels of metrics, the same with one stream as with several.
func (w *worker) seriesStream() string { return w.orders().Stream.String() }

// An aggregate is one record of the stream and many of the user's; metrics count both, and Status
// the user's. The series have the same names with a second stream.
func TestRecordsAreCountedByWhatTheyAre(t *testing.T) {
	t.Parallel()
	for _, streams := range [][]string{{streamName}, {streamName, "bills"}} {
		modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
			r := newRig(t, someStreams(1, streams...))
			sink := newSeries()
			several := func(c *scheduler.Config) {
				c.Metrics = metrics.New(sink)
				for _, name := range streams[1:] {
					c.Streams = append(c.Streams, scheduler.StreamConfig{Name: name})
				}
			}
			w := r.worker("a", mode, several).start()
			r.putRaw(pack(t, []string{"key/0", "key/1", "key/2", "key/3", "key/4"}))
			for range 3 {
				r.putRaw([]byte("plain"))
			}
			r.eventually(2*time.Minute, "caught up", w.CaughtUp)
			shard := w.orders().Shards[0]
			require.Regexp(t, `^\d+:orders:\d+$`, w.seriesStream())
			require.InDelta(t, 4, sink.value(metrics.Records, w.seriesStream(), shard.ShardID), 0)
			require.InDelta(t, 8, sink.value(metrics.UserRecords, w.seriesStream(), shard.ShardID), 0)
			require.EqualValues(t, 8, shard.Records)
			require.NoError(t, w.stop())
		})
	}
}
