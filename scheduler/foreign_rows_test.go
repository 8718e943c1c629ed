package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/scheduler"
)

func TestLeasesOfAnotherLiveStreamAreNotToBeDeleted(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		a := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		require.NoError(t, a.stop())
		r.before()
		time.Sleep(time.Minute)
		require.NoError(t, r.srv.CreateStream(kinesistest.StreamConfig{Name: "payments", Shards: 2}))
		time.Sleep(time.Minute)
		rows := r.rows()
		b := r.worker("b", mode,
			func(c *scheduler.Config) { c.Streams = []scheduler.StreamConfig{{Name: "payments"}} }).start()
		<-b.done
		require.ErrorIs(t, b.err, kcl.ErrStreamRecreated)
		require.ErrorContains(t, b.err, "use another table (Config.Table)")
		require.NotContains(t, b.err.Error(), "delete")
		require.Equal(t, rows, r.rows())
	})
}

func TestRowsOfAnotherLibraryAreAdopted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		r.put(keys(3)...)
		shard := r.open()[0]
		require.NoError(t, r.store.Create(t.Context(), leases.Lease{
			Key: shard, ShardID: shard, ThroughputKBps: -1,
			Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
		}))
		w := r.worker("a").start()
		r.finished(time.Minute)
		require.False(t, r.row(shard).StreamCreated.IsZero())
		require.Equal(t, kcl.HashKeyRange{Start: "0", End: "340282366920938463463374607431768211455"},
			r.row(shard).HashKeyRange)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

func TestR02ParentThatAnotherLibraryLeftOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		r.put(keys(8)...)
		a, b := r.open()[0], r.open()[1]
		merged := r.merge(a, b)
		r.put(keys(8)...)
		for _, l := range []leases.Lease{{Key: a}, {Key: b}, {Key: merged, Parents: []string{a}}} {
			l.ShardID, l.ThroughputKBps = l.Key, -1
			l.Checkpoint.SequenceNumber = kcl.SentinelTrimHorizon
			require.NoError(t, r.store.Create(t.Context(), l))
		}
		w := r.worker("a")
		block := make(chan struct{})
		w.setDo(func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if p.shard.ID == b {
				<-block
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		})
		w.start()
		r.eventually(time.Minute, "the first parent is finished", func() bool { return r.row(a).Finished() })
		time.Sleep(time.Minute)
		require.False(t, r.row(merged).Started(), "it waits for the other one")
		close(block)
		r.finished(time.Minute)
		require.ElementsMatch(t, []string{a, b}, r.row(merged).Parents)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

func TestLatestOfAnotherLibraryIsPinned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		r.put("before")
		time.Sleep(time.Minute)
		r.audit = newAudit(t) // what was written before LATEST does not count
		shard := r.open()[0]
		require.NoError(t, r.store.Create(t.Context(), leases.Lease{
			Key: shard, ShardID: shard, ThroughputKBps: -1,
			Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelLatest},
		}))
		w := r.worker("a").start()
		r.eventually(time.Minute, "the shard is read", func() bool { return r.owned() == 1 })
		require.WithinDuration(t, time.Now(), r.row(shard).PinnedAt, time.Minute)
		require.NoError(t, w.stop())

		r.put(keys(3)...)
		w = r.worker("b").start()
		r.eventually(time.Minute, "the second owner has read", func() bool { return r.audit.complete() })
		require.NoError(t, w.stop())
		require.Zero(t, r.row(shard).PinnedAt, "a pin belongs to LATEST, not to the checkpoint that follows")
		r.audit.check(0)
	})
}
