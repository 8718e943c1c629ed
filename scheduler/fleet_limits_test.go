package scheduler_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// callLimits are the published limits of the operations that workers call, in
// calls a second, for what they are counted for: the account, the stream, the
// shard, or the consumer and shard.
var callLimits = map[string]int{
	"DescribeStreamSummary":  20,
	"ListShards":             1000,
	"RegisterStreamConsumer": 5,
	"DescribeStreamConsumer": 20,
	"ListStreamConsumers":    5,
	"ListTagsForResource":    5,
	"SubscribeToShard":       1,
	"GetShardIterator":       5,
	"GetRecords":             5,
}

// rates keeps when each operation was called on each thing that it is limited for.
type rates struct {
	mu    sync.Mutex // guards calls
	calls map[string][]time.Time
}

// watch counts the calls of all workers.
func (r *rates) watch(srv *kinesistest.Server) {
	r.calls = map[string][]time.Time{}
	srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
		if c.Client == "client" { // the test's own
			return nil
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		on := c.Operation
		switch c.Operation {
		case "SubscribeToShard":
			on += " " + c.Consumer + " " + c.Shard
		case "GetShardIterator", "GetRecords":
			on += " " + c.Shard
		}
		r.calls[on] = append(r.calls[on], time.Now())
		return nil
	})
}

// peaks returns the most calls of each operation in any second, on any one thing.
func (r *rates) peaks() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	peaks := map[string]int{}
	for on, times := range r.calls {
		var operation string
		_, _ = fmt.Sscan(on, &operation)
		for i := range times {
			n := 0
			for _, t := range times[i:] {
				if t.Sub(times[i]) >= time.Second {
					break
				}
				n++
			}
			peaks[operation] = max(peaks[operation], n)
		}
	}
	return peaks
}

func (r *rates) check(t *testing.T) {
	t.Helper()
	peaks := r.peaks()
	for _, operation := range slices.Sorted(maps.Keys(peaks)) {
		limit, ok := callLimits[operation]
		require.True(t, ok, "%s is not expected", operation)
		t.Logf("%-24s at most %4d a second, limit %d", operation, peaks[operation], limit)
		require.LessOrEqual(t, peaks[operation], limit, operation)
	}
}

// TestP06HundredWorkersStartTogether lets a hundred workers begin in the same
// instant, on a new table, and after all of them were stopped: no call exceeds the
// limits of the service, and all shards are read soon.
func TestP06HundredWorkersStartTogether(t *testing.T) {
	t.Parallel()
	workers := testsize.Pick(6, 30, 100)
	shards := workers
	for _, mode := range []scheduler.RetrievalMode{scheduler.EFO, scheduler.Polling} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(shards))
				seen := &rates{}
				seen.watch(r.srv)
				for _, generation := range []string{"a", "b"} {
					r.stopAll()
					for i := range workers {
						r.worker(fmt.Sprintf("%s%d", generation, i), func(c *scheduler.Config) { c.RetrievalMode = mode }).start()
					}
					begun := time.Now()
					r.eventually(time.Minute, "all shards are read", func() bool { return r.owned() == shards })
					t.Logf("all are read after %v", time.Since(begun))
					r.put(keys(500)...)
					r.finished(time.Minute)
					time.Sleep(time.Minute)
					seen.check(t)
				}
				r.audit.check(0)
			})
		})
	}
}
