package scheduler_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

func (r *rig) erase(id string) {
	require.NoError(r.t, r.store.Delete(r.t.Context(), leases.Lease{Key: id}, 0))
}

// slowly takes twenty seconds for each batch of a shard.
func slowly(shard *string) func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
	return func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
		if p.shard.ID == *shard {
			time.Sleep(20 * time.Second)
			if ctx.Err() != nil {
				return errors.New("not processed")
			}
		}
		p.take(in)
		return p.checkpoint(ctx, in.Checkpointer)
	}
}

// TestRowOfAClosedParentIsDeleted: its holder makes it again, and the children wait.
func TestRowOfAClosedParentIsDeleted(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		log := r.capture()
		parent := r.open()[0]
		for range 200 {
			r.put("k")
		}
		r.split(parent)
		r.put("k")
		w := r.worker("a", mode)
		w.do = slowly(&parent)
		w.start()
		time.Sleep(10 * time.Second)
		r.erase(parent)
		r.finished(10 * time.Minute)
		require.NoError(t, w.Healthy())
		require.Equal(t, 1, log.count("row of the lease was deleted while it was held"))
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// TestRowsDeletedAtLatest: no worker takes that for a new application, which would
// begin at the tip.
func TestRowsDeletedAtLatest(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		r.capture()
		w := r.worker("a", mode, from(kcl.InitialPosition{Kind: kcl.Latest})).start()
		b := r.worker("b", mode, from(kcl.InitialPosition{Kind: kcl.Latest})).start()
		r.eventually(time.Minute, "owned", func() bool { return r.owned() == 2 })
		r.produce(5, time.Second, keys(6))
		r.finished(time.Minute)
		enough := make(chan struct{})
		block := func(context.Context, *processor, kcl.ProcessRecordsInput) error {
			<-enough
			return errors.New("not processed")
		}
		w.setDo(block)
		b.setDo(block)
		r.produce(30, time.Second, keys(6))
		for _, id := range r.open() {
			r.erase(id)
		}
		w.setDo(nil)
		b.setDo(nil)
		close(enough)
		r.finished(time.Minute)
		require.Len(t, r.table(), 2)
		require.NoError(t, w.Healthy())
		require.NoError(t, b.Healthy())
		r.stopAll()
		r.audit.check(0)
	})
}

// TestRowsVanishWithoutAHolder: a process that has seen rows begins nothing anew, and
// one that has not does.
func TestRowsVanishWithoutAHolder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		log := r.capture()
		holds := r.worker("a", func(c *scheduler.Config) { c.ShardSyncInterval = 20 * time.Second }).start()
		r.eventually(time.Minute, "owned", func() bool { return r.owned() == 1 })
		sees := r.worker("b", func(c *scheduler.Config) { c.ShardSyncInterval = 20 * time.Second }).start()
		time.Sleep(time.Minute)
		r.produce(3, time.Second, keys(5))
		r.finished(time.Minute)
		holds.kill()
		shard := r.open()[0]
		row := r.row(shard)
		r.erase(shard)
		r.eventually(2*time.Minute, "red", func() bool { return sees.Healthy() != nil })
		require.ErrorContains(t, sees.Healthy(), "vanished from the lease table")
		require.ErrorContains(t, sees.Healthy(), "kclctl leases restore")
		require.Empty(t, r.table())
		require.NotZero(t, log.count("synchronise shards failed"))
		time.Sleep(10 * time.Minute)
		require.Empty(t, r.table())

		row.Owner = "" // a person puts it back
		require.NoError(t, r.store.Create(t.Context(), row))
		r.put(keys(5)...)
		r.finished(2 * time.Minute)
		r.eventually(time.Minute, "green", func() bool { return sees.Healthy() == nil })
		require.NoError(t, sees.stop())
		r.audit.check(0)
	})
}

// TestRowOfAParentIsLost: nobody knows how far it was read, so its children wait until
// somebody says it.
func TestRowOfAParentIsLost(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		log := r.capture()
		parent := r.open()[0]
		for range 50 {
			r.put("k")
		}
		r.split(parent)
		for range 50 {
			r.put("k")
		}
		first := r.worker("a", mode)
		first.do = slowly(&parent)
		first.start()
		r.eventually(time.Minute, "the rows are made", func() bool { return len(r.table()) == 3 })
		r.eventually(time.Minute, "the parent is read", func() bool { return r.owned() == 1 })
		time.Sleep(5 * time.Second)
		first.kill()
		lost := r.row(parent)
		r.erase(parent)

		w := r.worker("b", mode).start()
		r.eventually(3*time.Minute, "red", func() bool { return w.Healthy() != nil })
		time.Sleep(testsize.Pick(15*time.Minute, 30*time.Minute, time.Hour))
		err := w.Healthy()
		require.ErrorContains(t, err, "row of parent lost")
		require.ErrorContains(t, err, "kclctl leases restore -at POSITION "+parent)
		require.NotZero(t, log.count("shard makes no progress"))
		require.False(t, r.has(parent), "nothing is guessed")
		require.Zero(t, r.owned())

		lost.Owner, lost.CheckpointOwner, lost.Counter = "", "", 0
		require.NoError(t, r.store.Create(t.Context(), lost))
		r.finished(3 * time.Minute)
		time.Sleep(10 * time.Second)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(50) // of the batch in which the first worker died
	})
}

// TestLostRowOfAnEmptyParent: there is nothing in it, so its children need not wait.
func TestLostRowOfAnEmptyParent(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		r.capture()
		parent := r.open()[0]
		left, right := r.split(parent)
		for _, id := range []string{left, right} {
			require.NoError(t, r.store.Init(t.Context()))
			require.NoError(t, r.store.Create(t.Context(), leases.Lease{
				Key: id, ShardID: id, Parents: []string{parent}, ThroughputKBps: -1,
				Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
			}))
		}
		r.produce(3, time.Second, keys(10))
		w := r.worker("a", mode).start()
		r.finished(time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A parent without a row has records. Some answers say that it has none. The children must not
// start: they would pass the records of the parent.
func TestLostRowOfAParentThatLooksEmpty(t *testing.T) {
	t.Parallel()
	for behind, times := range map[time.Duration]int{-1: 3, 0: 4, 5 * time.Second: 3} {
		t.Run(behind.String(), func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(1))
				parent := r.open()[0]
				r.put(keys(10)...)
				left, right := r.split(parent)
				for _, id := range []string{left, right} {
					require.NoError(t, r.store.Init(t.Context()))
					require.NoError(t, r.store.Create(t.Context(), leases.Lease{
						Key: id, ShardID: id, Parents: []string{parent}, ThroughputKBps: -1,
						Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
					}))
				}
				r.put(keys(10)...)
				f := falseEnd(behind)
				f.Shard, f.Times = parent, times
				r.srv.Inject(f)
				w := r.worker("a", mode).start()
				time.Sleep(10 * time.Minute)
				require.ErrorContains(t, w.Healthy(), parent)
				for _, id := range []string{left, right} {
					require.Equal(t, kcl.SentinelTrimHorizon, r.row(id).Checkpoint.SequenceNumber)
				}
				require.NoError(t, w.stop())
			})
		})
	}
}

// TestRowOfAParentIsPutBackMeanwhile: the last scan says SHARD_END, the table does not.
func TestRowOfAParentIsPutBackMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		r.capture()
		parent := r.open()[0]
		r.put(keys(10)...)
		r.split(parent)
		r.put(keys(10)...)
		w := r.worker("a")
		var early atomic.Int32
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if p.shard.ID != parent && !r.row(parent).Finished() {
				early.Add(1)
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		var back time.Time
		w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "list" && !back.IsZero() && time.Since(back) < 5*time.Second {
				return errors.New("the view stays as it is")
			}
			err := apply()
			if call.Op == "update" && call.Update.To.Finished() && call.Key == parent && back.IsZero() {
				back = time.Now() // a person lets the shard be read again from its beginning
				row := r.row(parent)
				to := row
				to.Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon}
				to.Owner, to.Counter = "", to.Counter+1
				set := leases.AttrCheckpoint | leases.AttrOwner | leases.AttrCounter
				require.NoError(t, r.store.Update(context.Background(), leases.Update{Read: row, To: to, Set: set}))
			}
			return err
		})
		w.start()
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
		require.Zero(t, early.Load(), "batches of children before the parent's end")
		r.audit.check(10)
	})
}

// TestRowDeletedOnPurposeStopsTheShard: it is red, with the position.
func TestRowDeletedOnPurposeStopsTheShard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		r.capture()
		w := r.worker("a", func(c *scheduler.Config) { c.ShardSyncInterval = time.Minute }).start()
		r.eventually(time.Minute, "owned", func() bool { return r.owned() == 2 })
		r.produce(3, time.Second, keys(6))
		r.finished(time.Minute)
		shard := r.open()[0]
		for range 3 {
			r.erase(shard)
			time.Sleep(time.Minute)
			require.True(t, r.has(shard))
			require.NoError(t, w.Healthy())
		}
		at := r.row(shard).Checkpoint
		r.erase(shard)
		time.Sleep(10 * time.Minute)
		require.False(t, r.has(shard))
		require.ErrorContains(t, w.Healthy(), "deleted more than 3 times")
		require.ErrorContains(t, w.Healthy(), "kclctl leases restore -at "+at.String()+" "+shard)
		require.NoError(t, w.stop())
	})
}
