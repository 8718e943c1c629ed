package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/scheduler"
)

// TestPollingIdleInterval: an idle shard is read once in each interval.
func TestPollingIdleInterval(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		interval time.Duration
		reads    int // in a minute
	}{"default": {0, 60}, "long": {5 * time.Second, 12}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				w := r.worker("a", func(c *scheduler.Config) {
					c.RetrievalMode, c.PollingIdleInterval = scheduler.Polling, tc.interval
				}).start()
				r.put(keys(3)...)
				r.eventually(time.Minute, "all is read", r.audit.complete)
				time.Sleep(time.Minute) // the reads get rarer
				before := r.srv.Calls("GetRecords")
				time.Sleep(time.Minute)
				require.InDelta(t, tc.reads, r.srv.Calls("GetRecords")-before, 2)
				require.NoError(t, w.stop())
			})
		})
	}
}
