package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/scheduler"
)

const ordersARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"

// Every row says whose it is: those of the start, of children that the end of
// their parent made, and of another library once they are taken.
func TestRowsAreMarked(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		taken := r.open()[0]
		require.NoError(t, r.store.Create(t.Context(), leases.Lease{
			Key: taken, ShardID: taken, ThroughputKBps: -1,
			Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
		}))
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.split(r.open()[1])
		r.split(taken)
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		require.Len(t, r.table(), 6)
		for _, l := range r.table() {
			require.Equal(t, "app", l.Application, l.Key)
			require.Equal(t, ordersARN, l.StreamARN, l.Key)
		}
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// With several streams the keys have all of the ARN but the region.
func TestRowsOfSeveralStreamsAreMarked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, someStreams(1, "orders", "bills"))
		w := r.worker("a", tracked(list("orders", "bills"))).start()
		r.produceTo(2, time.Second, "orders", "bills")
		r.finished(time.Minute)
		require.Len(t, r.table(), 2)
		for _, l := range r.table() {
			require.Equal(t, "app", l.Application, l.Key)
			require.Equal(t, "arn:aws:kinesis:us-east-1", l.StreamARN, l.Key)
		}
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}
