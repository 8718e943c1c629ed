package scheduler_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

func from(p kcl.InitialPosition) func(*scheduler.Config) {
	return func(c *scheduler.Config) { c.Streams[0].InitialPosition = p }
}

// A split of a split, then everything merged again: four generations, with two
// workers, while data flows.
func TestReshardTreeUnderLoad(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		a, b := r.worker("a", mode).start(), r.worker("b", mode).start()
		ks := keys(20)
		r.produce(3, time.Second, ks)
		left, right := r.split(r.open()[0])
		r.produce(3, time.Second, ks)
		ll, lr := r.split(left)
		r.produce(1, time.Second, ks)
		rl, rr := r.split(right)
		r.produce(3, time.Second, ks)
		middle := r.merge(lr, rl)
		r.produce(3, time.Second, ks)
		r.merge(r.merge(ll, middle), rr)
		r.produce(3, time.Second, ks)
		r.finished(time.Minute)
		r.audit.check(0)
		r.eventually(time.Minute, "one shard is processed", func() bool { return r.owned() == 1 })
		for _, s := range r.shards() {
			row := r.row(*s.ShardId)
			if s.SequenceNumberRange.EndingSequenceNumber != nil {
				require.True(t, row.Finished(), row.Key)
				require.NotEmpty(t, row.Children, row.Key)
			}
			require.False(t, row.StreamCreated.IsZero(), row.Key)
		}
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
		r.audit.check(0)
		for _, calls := range r.audit.lifecycles {
			require.Regexp(t, `^IP*(L|E|SL?)$`, calls)
		}
	})
}

// L4: the children of a shard are read within a second of its end when the
// same worker reads them.
func TestChildrenFollowAtOnce(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		for range 5 {
			parent := r.open()[0]
			left, right := r.split(parent)
			r.eventually(30*time.Second, "the parent has ended", func() bool { return r.row(parent).Finished() })
			ended := time.Now()
			r.eventually(time.Second, "both children are read", func() bool {
				return w.shard(left).State == scheduler.StateProcessing && w.shard(right).State == scheduler.StateProcessing
			})
			t.Logf("children are read %s after their parent", time.Since(ended))
			time.Sleep(777 * time.Millisecond)
		}
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// the application was down during three reshards; all generations
// are read, oldest first.
func TestR04ClosedShardsAreReadAfterDowntime(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		ks := keys(20)
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, ks)
		r.finished(time.Minute)
		require.NoError(t, w.stop())

		r.put(ks...)
		left, right := r.split(r.open()[0])
		r.put(ks...)
		r.merge(left, right)
		r.put(ks...)
		r.split(r.open()[0])
		r.put(ks...)
		w = r.worker("b", mode).start()
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A first start on a stream that was resharded long ago reads all that is kept.
func TestTrimHorizonReadsTheWholeLineage(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		ks := keys(10)
		r.put(ks...)
		for range 3 { // depth 4
			r.split(r.open()[0])
			r.put(ks...)
		}
		w := r.worker("a", mode).start()
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// a merge's child waits for both parents; one of them is held up.
func TestR02MergeWaitsForBothParents(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		slow := r.open()[1]
		release := make(chan struct{})
		w := r.worker("a", mode)
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if p.shard.ID == slow {
				select {
				case <-release:
				case <-ctx.Done():
				}
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		w.start()
		ks := keys(20)
		r.produce(2, time.Second, ks)
		child := r.merge(r.open()[0], slow)
		r.put(ks...)
		fast := r.shards()[0].ShardId
		r.eventually(time.Minute, "the fast parent has ended", func() bool { return r.row(*fast).Finished() })
		time.Sleep(time.Hour)
		require.Zero(t, w.shard(child).Records, "the child waits")
		require.Equal(t, scheduler.StateWaitingOnParents, w.shard(child).State)
		require.False(t, r.row(slow).Finished())
		close(release)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A merge of a merge: the last child's row is made by its one parent, while the
// other has no row yet, because its own parents are held up.
func TestChildWaitsForAParentWithoutARow(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(3))
		slow := r.open()[:2]
		release := make(chan struct{})
		w := r.worker("a", mode)
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if slices.Contains(slow, p.shard.ID) {
				select {
				case <-release:
				case <-ctx.Done():
				}
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		w.start()
		ks := keys(20)
		r.produce(2, time.Second, ks)
		last := r.open()[2]
		middle := r.merge(slow[0], slow[1])
		r.put(ks...)
		child := r.merge(middle, last)
		r.put(ks...)
		r.eventually(time.Minute, "the last shard has ended", func() bool { return r.row(last).Finished() })
		time.Sleep(10 * time.Minute)
		require.Equal(t, []string{child}, r.row(last).Children)
		require.Equal(t, scheduler.StateWaitingOnParents, w.shard(child).State)
		close(release)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A stream that was split and merged many times before the application came:
// from one ancestor to the open shard there are thousands of ways.
func TestManyGenerationsWithoutRowsAreLookedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		for range 12 {
			r.merge(r.split(r.open()[0]))
			time.Sleep(time.Second) // so often is allowed
		}
		w := r.worker("a", from(kcl.InitialPosition{Kind: kcl.Latest}))
		gets := w.counts("get")
		w.start()
		r.eventually(time.Minute, "the shard is read", func() bool { return r.owned() == 1 })
		require.Less(t, int(gets.Load()), 3*len(r.shards()))
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// with LATEST, what is written before the start is not read, and nothing
// that is written to children of a split is missed.
func TestR03LatestThenSplitLosesNothing(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		old := keys(10)
		r.put(old...)
		r.audit.want = map[string]bool{} // from before the start
		time.Sleep(10 * time.Second)
		parent := r.open()[0]
		w := r.worker("a", mode, from(kcl.InitialPosition{Kind: kcl.Latest})).start()
		r.eventually(10*time.Second, "the worker reads", func() bool { return r.owned() == 1 })
		require.Equal(t, kcl.SentinelLatest, r.row(parent).Checkpoint.SequenceNumber)
		require.False(t, r.row(parent).PinnedAt.IsZero())
		left, right := r.split(parent)
		late := []string{"late0", "late1", "late2", "late3", "late4", "late5"}
		r.produce(3, time.Second, late)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
		for _, key := range old {
			require.Empty(t, r.audit.shard(key+"/0"), "records from before LATEST")
		}
		for _, id := range []string{left, right} {
			require.NotEqual(t, kcl.SentinelLatest, r.row(id).Checkpoint.SequenceNumber)
		}
	})
}

// LATEST is where the first worker stood: one that dies before its first
// checkpoint does not move it.
func TestLatestIsPinnedBeforeTheFirstDelivery(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		latest := from(kcl.InitialPosition{Kind: kcl.Latest})
		a := r.worker("a", mode, latest)
		a.do = func(context.Context, *processor, kcl.ProcessRecordsInput) error { return errors.New("no") }
		a.shutdown = func(context.Context, *processor, kcl.ShutdownRequestedInput) error { return nil }
		a.start()
		r.eventually(10*time.Second, "the worker reads", func() bool { return r.owned() == 2 })
		r.produce(5, time.Second, keys(10))
		a.kill()
		r.produce(5, time.Second, keys(10))
		r.worker("b", mode, latest).start()
		r.finished(time.Minute)
		r.audit.check(0)
	})
}

func TestAtTimestampReadsFromThatTimeOn(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		ks := keys(6)
		r.put(ks...)
		r.split(r.open()[0])
		r.put(ks...)
		time.Sleep(time.Hour)
		start := time.Now()
		time.Sleep(time.Minute)
		r.audit.want = map[string]bool{}
		late := []string{"late0", "late1", "late2", "late3"}
		r.put(late...)
		r.split(r.open()[0])
		r.put(late...)
		w := r.worker("a", mode, from(kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: start})).start()
		r.finished(time.Minute)
		r.put(late...)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
		require.Empty(t, r.audit.shard("key0/0"))
		require.Empty(t, r.audit.shard("key0/1"))
	})
}

// the application never checkpoints at the end of a shard; the library
// does. A processor that does not agree is asked again.
func TestR06LibraryWritesShardEnd(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", mode)
		var refusals atomic.Int32
		w.do = func(_ context.Context, p *processor, in kcl.ProcessRecordsInput) error { p.take(in); return nil }
		w.shardEnded = func(context.Context, *processor, kcl.ShardEndedInput) error {
			if refusals.Add(1) <= 3 {
				return errors.New("not yet")
			}
			return nil
		}
		w.start()
		parent := r.open()[0]
		r.produce(2, time.Second, keys(10))
		r.split(parent)
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		require.EqualValues(t, 4, refusals.Load())
		require.True(t, r.row(parent).Finished())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// SHARD_END is written after the children's rows exist, and is final.
func TestShardEndComesAfterTheChildrenRows(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]func(key string) error{
		"failure":                func(string) error { return errors.New("table is away") },
		"conflict without a row": func(key string) error { return &leases.ConflictError{Key: key} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shardEndWithoutChildrenRows(t, refusal)
		})
	}
}

// shardEndWithoutChildrenRows splits a shard while the table refuses to make rows.
func shardEndWithoutChildrenRows(t *testing.T, refusal func(key string) error) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		parent := r.open()[0]
		w := r.worker("a")
		var fail atomic.Bool
		fail.Store(true)
		w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "create" && call.Key != parent && fail.Load() {
				return refusal(call.Key)
			}
			return apply()
		})
		w.start()
		r.produce(1, time.Second, keys(10))
		left, right := r.split(parent)
		r.put(keys(10)...)
		time.Sleep(time.Minute)
		require.False(t, r.row(parent).Finished())
		require.Error(t, w.shard(parent).Err)
		fail.Store(false)
		r.finished(2 * time.Minute)
		require.True(t, r.row(parent).Finished())
		require.ElementsMatch(t, []string{left, right}, r.row(parent).Children)
		require.Equal(t, []string{parent}, r.row(left).Parents)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// the two parents of a merge end at two workers at the same time.
func TestR21TwoWorkersFinishTwoParents(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		one := func(c *scheduler.Config) { c.MaxLeasesForWorker = 1 }
		a, b := r.worker("a", mode, one).start(), r.worker("b", mode, one).start()
		r.eventually(30*time.Second, "both shards are read", func() bool { return r.owned() == 2 })
		r.produce(2, time.Second, keys(10))
		child := r.merge(r.open()[0], r.open()[1])
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		require.Len(t, r.row(child).Parents, 2)
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
		r.audit.check(0)
	})
}

// the application was down for longer than the stream keeps records: the
// parents are gone, their rows are not. The children are read.
func TestR20ParentsThatExpiredDoNotBlock(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		first := r.open()[0]
		r.split(first)
		r.merge(r.open()[1], r.open()[2])
		time.Sleep(50 * time.Hour)
		r.put(keys(10)...)
		w = r.worker("b", mode).start()
		r.finished(20 * time.Minute)
		r.eventually(5*time.Minute, "the expired parent is finished", func() bool { return r.row(first).Finished() })
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// Two workers that start together see the stream before and after a split, and
// pin parent and child at different times; nothing in between is lost.
func TestChildIsPinnedNoLaterThanItsParent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		parent := r.open()[0]
		pin := time.Now().Add(-time.Second)
		time.Sleep(5 * time.Second)
		left, right := r.split(parent)
		r.put(keys(10)...)
		time.Sleep(5 * time.Second)
		latest := kcl.InitialPosition{Kind: kcl.Latest}.Sentinel()
		ctx := t.Context()
		require.NoError(t, r.store.Create(ctx, leases.Lease{
			Key: parent, ShardID: parent, Checkpoint: latest, Extension: leases.Extension{PinnedAt: pin},
			ThroughputKBps: -1,
		}))
		for _, id := range []string{left, right} {
			require.NoError(t, r.store.Create(ctx, leases.Lease{
				Key: id, ShardID: id, Parents: []string{parent},
				Checkpoint: latest, Extension: leases.Extension{PinnedAt: time.Now()}, ThroughputKBps: -1,
			}))
		}
		w := r.worker("a", from(kcl.InitialPosition{Kind: kcl.Latest})).start()
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}
