package scheduler_test

import (
	"hash/crc32"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/scheduler"
)

// modes runs a test once for each way of reading. Under -short it takes one of them, by the test's
// name.
func modes(t *testing.T, test func(t *testing.T, mode func(*scheduler.Config))) {
	t.Helper()
	all := []scheduler.RetrievalMode{scheduler.EFO, scheduler.Polling}
	one := crc32.ChecksumIEEE([]byte(t.Name())) % 2
	for _, mode := range testsize.Pick(all[one:one+1], all, all) {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				test(t, func(c *scheduler.Config) { c.RetrievalMode = mode })
			})
		})
	}
}

func TestOneWorkerReadsAndStops(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(4))
		r.put(keys(40)...)
		w := r.worker("a", mode).start()
		r.produce(10, time.Second, keys(40))
		r.finished(30 * time.Second)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		require.ErrorContains(t, w.Healthy(), "stopped")
		r.audit.check(0)

		// What comes next goes on exactly there.
		r.put(keys(40)...)
		next := r.worker("b", mode).start()
		r.finished(30 * time.Second)
		require.NoError(t, next.stop())
		r.audit.check(0)
	})
}
