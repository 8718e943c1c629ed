package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/scheduler"
)

// has tells whether a shard has a row.
func (r *rig) has(id string) bool {
	r.t.Helper()
	return slices.ContainsFunc(r.table(), func(l leases.Lease) bool { return l.ShardID == id })
}

// rows lists the shards that have one.
func (r *rig) rows() []string {
	r.t.Helper()
	var ids []string
	for _, l := range r.table() {
		ids = append(ids, l.ShardID)
	}
	slices.Sort(ids)
	return ids
}

// R-17, S15: the rows of finished shards go once their children are read, not
// before; nothing is read again, neither while the shards are still listed nor
// after they have left the stream, by the same workers or after a restart.
func TestR17FinishedRowsGoAndStayAway(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		a, b := r.worker("a", mode).start(), r.worker("b", mode).start()
		ks := keys(40)
		r.produce(2, time.Second, ks)
		old := r.open()
		left, right := r.split(old[0])
		r.eventually(time.Minute, "the parent is finished", func() bool { return r.row(old[0]).Finished() })
		time.Sleep(10 * time.Minute)
		require.True(t, r.has(old[0]), "the children have not been read yet")

		r.put(ks...)
		r.finished(time.Minute)
		read := time.Now()
		r.eventually(8*time.Minute, "the parent's row is gone", func() bool { return !r.has(old[0]) })
		require.GreaterOrEqual(t, time.Since(read), 4*time.Minute)
		child := r.merge(right, old[1])
		r.put(ks...)
		r.finished(time.Minute)
		r.eventually(8*time.Minute, "the rows of two generations are gone",
			func() bool { return !r.has(right) && !r.has(old[1]) })
		want := []string{left, child}
		slices.Sort(want)
		require.Equal(t, want, r.rows())

		time.Sleep(10 * time.Minute) // many shard syncs with the old shards in the list
		require.Len(t, r.shards(), 5)
		require.Equal(t, want, r.rows())
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
		for _, name := range []string{"c", "d"} {
			w := r.worker(name, mode).start()
			r.put(ks...)
			r.finished(time.Minute)
			time.Sleep(3 * time.Minute)
			require.Equal(t, want, r.rows())
			require.NoError(t, w.stop())
			time.Sleep(50 * time.Hour) // the old shards leave the stream
		}
		require.Len(t, r.shards(), 2)
		r.audit.check(0)
	})
}

// a finished shard whose children have brought no record keeps its row
// until the stream does not have it any more.
func TestR17RowsOfExpiredShardsGo(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		parent := r.open()[0]
		left, right := r.split(parent)
		r.eventually(time.Minute, "the children are read", func() bool { return r.owned() == 2 })
		require.NoError(t, w.stop())
		time.Sleep(50 * time.Hour)
		w = r.worker("b", mode).start()
		begin := time.Now()
		r.eventually(15*time.Minute, "the parent's row is gone", func() bool { return !r.has(parent) })
		require.GreaterOrEqual(t, time.Since(begin), 10*time.Minute)
		require.Equal(t, []string{left, right}, r.rows())
		r.put(keys(10)...)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// gauge notes what kcl_hash_range_holes was, at its most and at last.
type gauge struct{ most, last atomic.Int64 }

func (g *gauge) Series(d *metrics.Desc, _ ...string) metrics.Series {
	if d == metrics.HashRangeHoles {
		return g
	}
	return nowhere{}
}

func (g *gauge) Remove(*metrics.Desc, ...string) {}

func (g *gauge) Record(v float64) {
	g.last.Store(int64(v))
	g.most.Store(max(g.most.Load(), int64(v)))
}

type nowhere struct{}

func (nowhere) Record(float64) {}

// the row of a child that nobody has taken yet is deleted. The audit finds
// the hole and repairs it, although the shard sync is not due for hours.
func TestR11HoleIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		log := r.capture()
		holes := &gauge{}
		rarely := func(c *scheduler.Config) { c.ShardSyncInterval, c.Metrics = 5*time.Hour, metrics.New(holes) }
		r.worker("a", mode, rarely).start()
		r.worker("b", mode, rarely).start()
		ks := keys(40)
		r.produce(2, time.Second, ks)
		parent := r.open()[0]
		left, _ := r.split(parent)
		r.eventually(time.Minute, "the children are read", func() bool { return r.owned() == 3 })
		time.Sleep(10 * time.Second) // the sync that follows the end of a shard is over
		// A holder would make the row again.
		for _, w := range r.workers {
			if strings.HasPrefix(r.row(left).Owner, w.name) {
				w.kill()
			}
		}
		require.NoError(t, r.store.Delete(t.Context(), r.row(left), 0))
		lost := time.Now()
		r.put(ks...)
		r.eventually(6*time.Minute, "the row is back", func() bool { return r.has(left) })
		require.Greater(t, time.Since(lost), 2*time.Minute, "not before it was confirmed")
		require.EqualValues(t, 1, holes.most.Load())
		require.Equal(t, 1, log.count("no lease covers a range of hash keys"))
		r.finished(time.Minute)
		r.eventually(2*time.Minute, "the hole is closed", func() bool { return holes.last.Load() == 0 })
		r.stopAll()
		r.audit.check(80) // the row says where to begin, and it was deleted
	})
}

// A table that fails deletions, or loses the answers, costs nothing but time.
func TestCleanupIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		log := r.capture()
		w := r.worker("a")
		var deletions atomic.Int32
		w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op != "delete" {
				return apply()
			}
			switch deletions.Add(1) {
			case 1:
				return errors.New("table is away")
			case 2:
				_ = apply()
				return errors.New("answer is lost")
			}
			return apply()
		})
		w.start()
		ks := keys(20)
		r.produce(2, time.Second, ks)
		parent := r.open()[0]
		left, right := r.split(parent)
		r.put(ks...)
		r.finished(time.Minute)
		r.eventually(10*time.Minute, "the parent's row is gone", func() bool { return !r.has(parent) })
		time.Sleep(10 * time.Minute)
		require.EqualValues(t, 2, deletions.Load())
		require.Equal(t, 2, log.count("clean up leases failed"))
		require.Equal(t, []string{left, right}, r.rows())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// the row of a shard that was merged is deleted before it was read to its
// end, while its child has a row already. For the shard sync it is finished.
func TestR11LostParentOfAMergeIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		parents := r.open()
		release := make(chan struct{})
		w := r.worker("a", mode)
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if slices.Contains(parents, p.shard.ID) {
				select {
				case <-release:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		w.start()
		ks := keys(20)
		r.produce(2, time.Second, ks)
		child := r.merge(parents[0], parents[1])
		r.put(ks...)
		r.eventually(2*time.Minute, "the child has a row", func() bool { return r.has(child) })
		require.Equal(t, parents, r.row(child).Parents)
		require.NoError(t, r.store.Delete(t.Context(), r.row(parents[1]), 0))
		r.eventually(6*time.Minute, "the row is back", func() bool { return r.has(parents[1]) })
		r.eventually(time.Minute, "both parents are read", func() bool { return r.owned() == 2 })
		close(release)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// lists that are behind, or lack shards, delete nothing, however
// long that lasts; once they are right again, the parent's row goes.
func TestR17BadListsDeleteNothing(t *testing.T) {
	t.Parallel()
	without := func(list []types.Shard, id string) []types.Shard {
		return slices.DeleteFunc(slices.Clone(list), func(s types.Shard) bool { return *s.ShardId == id })
	}
	for name, tt := range testsize.Some(2, map[string]struct {
		idle  bool // the children bring no records
		spoil func(before, now []types.Shard, parent, child string) []types.Shard
	}{
		"behind": {spoil: func(before, _ []types.Shard, _, _ string) []types.Shard { return before }},
		"child is missing": {spoil: func(_, now []types.Shard, _,
			child string,
		) []types.Shard {
			return without(now, child)
		}},
		"empty": {spoil: func(_, _ []types.Shard, _, _ string) []types.Shard { return nil }},
		"idle, parent is missing": {idle: true, spoil: func(_, now []types.Shard, parent,
			_ string,
		) []types.Shard {
			return without(now, parent)
		}},
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(2))
				before, parent := r.shards(), r.open()[0]
				var list atomic.Pointer[[]byte]
				r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
					body := list.Load()
					if c.Operation != "ListShards" || c.Client != "a" || body == nil {
						return nil
					}
					return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Answer(200, *body)}}
				})
				w := r.worker("a").start()
				r.produce(2, time.Second, keys(40))
				child, _ := r.split(parent)
				r.eventually(time.Minute, "the children are read", func() bool { return r.owned() == 3 })
				if !tt.idle {
					r.put(keys(40)...)
					r.finished(time.Minute)
				}
				body, err := json.Marshal(map[string]any{"Shards": append([]types.Shard{},
					tt.spoil(before, r.shards(), parent, child)...)})
				require.NoError(t, err)
				list.Store(&body)
				rows := r.rows()
				time.Sleep(40 * time.Minute)
				require.Equal(t, rows, r.rows())
				list.Store(nil)
				if !tt.idle {
					r.eventually(10*time.Minute, "the parent's row is gone", func() bool { return !r.has(parent) })
				}
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}
