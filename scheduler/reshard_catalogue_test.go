package scheduler_test

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/scheduler"
)

// listShards replaces the answers of ListShards to worker a while it returns a
// list; nil lets the service answer.
func (r *rig) listShards(list func() []types.Shard) {
	r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
		if c.Operation != "ListShards" || c.Client != "a" {
			return nil
		}
		shards := list()
		if shards == nil {
			return nil
		}
		body, err := json.Marshal(map[string]any{"Shards": shards})
		if err != nil {
			panic(err)
		}
		return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Answer(200, body)}}
	})
}

// an answer without an iterator ends no shard unless children are named.
func TestR07AnswerWithoutIteratorIsNoEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", func(c *scheduler.Config) { c.RetrievalMode = scheduler.Polling }).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		remove := r.srv.Inject(kinesistest.Fault{
			Operation: "GetRecords",
			Do:        []kinesistest.Action{kinesistest.Answer(200, []byte(`{"Records":[],"MillisBehindLatest":0}`))},
		})
		r.produce(30, time.Second, keys(10))
		require.False(t, r.row(r.open()[0]).Finished())
		remove()
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// a finished shard is never leased again, and does not hold up others,
// however often workers come and go.
func TestR05FinishedShardsStayFinished(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		parent := r.open()[0]
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.split(parent)
		r.finished(time.Minute)
		r.eventually(time.Minute, "the parent has ended", func() bool {
			return r.row(parent).Finished() &&
				r.row(parent).ActualOwner() == "" || r.owned() == 2
		})
		was := r.row(parent)
		for _, name := range []string{"b", "c", "d"} {
			require.NoError(t, w.stop())
			w = r.worker(name, mode).start()
			r.eventually(20*time.Second, "both children are read at once", func() bool { return r.owned() == 2 })
			r.put(keys(10)...)
			r.finished(time.Minute)
			row := r.row(parent)
			require.Equal(t, was.Counter, row.Counter, "nobody has written to the row of the finished shard")
			require.Equal(t, scheduler.StateNone, w.shard(parent).State)
		}
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// once a shard has ended, its checkpoint is SHARD_END for ever: a
// processor that kept its checkpointer cannot rewind it.
func TestR08ShardEndIsFinal(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		parent := r.open()[0]
		w := r.worker("a", mode)
		var kept kcl.Checkpointer
		var last kcl.Record
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if p.shard.ID == parent && len(in.Records) > 0 {
				kept, last = in.Checkpointer, in.Records[0]
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		w.start()
		r.produce(2, time.Second, keys(10))
		r.split(parent)
		r.eventually(time.Minute, "the parent has ended", func() bool { return r.row(parent).Finished() })
		r.eventually(time.Minute, "the children are read", func() bool { return r.owned() == 2 })
		require.Error(t, kept.CheckpointAt(t.Context(), last.Position()))
		require.Error(t, kept.Checkpoint(t.Context()))
		require.True(t, r.row(parent).Finished())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// for a minute ListShards answers what was, repeats shards, and puts
// children before their parents.
func TestR12InconsistentListShards(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		var mu sync.Mutex
		var views [][]types.Shard // what the stream's shards were, oldest first
		rng := rand.New(rand.NewPCG(12, 1))
		r.listShards(func() []types.Shard {
			mu.Lock()
			defer mu.Unlock()
			if len(views) == 0 {
				return nil
			}
			list := slices.Clone(views[rng.IntN(len(views))])
			list = append(list, list[rng.IntN(len(list))])
			rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			return list
		})
		note := func() {
			shards := r.shards()
			mu.Lock()
			defer mu.Unlock()
			views = append(views, shards)
		}
		note()
		w := r.worker("a", mode, func(c *scheduler.Config) { c.ShardSyncInterval = 5 * time.Second }).start()
		r.produce(2, time.Second, keys(20))
		left, _ := r.split(r.open()[0])
		note()
		r.produce(10, time.Second, keys(20))
		r.split(left)
		note()
		r.produce(10, time.Second, keys(20))
		r.merge(r.open()[0], r.open()[1])
		note()
		r.produce(20, time.Second, keys(20))
		mu.Lock()
		views = nil
		mu.Unlock()
		r.finished(time.Minute)
		for _, s := range r.shards() {
			require.True(t, r.has(*s.ShardId), "row of %s", *s.ShardId)
		}
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// a stream of 64 shards doubles twice while its workers are behind. Every
// record is processed in order, and no API is called more often than allowed.
func TestR15Doubling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := testsize.Pick(8, 32, 64)
		r := newRig(t, oneStream(first))
		seen := &rates{}
		seen.watch(r.srv)
		slow := func(w *worker) *worker {
			w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
				time.Sleep(200 * time.Millisecond)
				p.take(in)
				return p.checkpoint(ctx, in.Checkpointer)
			}
			return w.start()
		}
		a, b := slow(r.worker("a")), slow(r.worker("b"))
		ks := keys(500)
		r.produce(3, time.Second, ks)
		for range 2 {
			for _, id := range r.open() {
				r.split(id)
				time.Sleep(250 * time.Millisecond) // SplitShard allows five a second
			}
			r.produce(2, time.Second, ks)
		}
		require.Len(t, r.open(), 4*first)
		r.finished(5 * time.Minute)
		r.eventually(time.Minute, "all are read", func() bool { return r.owned() == 4*first })
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
		r.audit.check(0)
		seen.check(t)
	})
}

// ten generations, none of them read yet, beside an unrelated shard: the
// lineage is read strictly in order and starves nobody.
func TestR16DeepLineage(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		ks := keys(20)
		other := r.open()[1]
		r.put(ks...)
		for range 5 {
			left, right := r.split(r.open()[0])
			r.put(ks...)
			r.merge(left, right)
			r.put(ks...)
		}
		require.Equal(t, other, r.open()[1])
		w := r.worker("a", mode).start()
		r.eventually(10*time.Second, "the unrelated shard is read", func() bool { return w.shard(other).Records > 0 })
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// a stream is scaled in from eight shards to one.
func TestR19ScaleIn(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(8))
		a, b := r.worker("a", mode).start(), r.worker("b", mode).start()
		ks := keys(40)
		r.produce(3, time.Second, ks)
		for len(r.open()) > 1 {
			open := r.open()
			for i := 0; i+1 < len(open); i += 2 {
				r.merge(open[i], open[i+1])
			}
			r.produce(2, time.Second, ks)
		}
		r.finished(2 * time.Minute)
		r.eventually(time.Minute, "the one shard is read", func() bool { return r.owned() == 1 })
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
		r.audit.check(0)
	})
}

// reading starts at a time after which the stream was resharded: every
// record from then on comes once and in order, and none from before.
func TestR22AtTimestampAcrossReshards(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		old := []string{"old0", "old1", "old2", "old3"}
		r.put(old...)
		r.split(r.open()[0])
		r.put(old...)
		time.Sleep(time.Minute)
		start := time.Now()
		time.Sleep(time.Second)
		r.audit.want = map[string]bool{}
		ks := keys(20)
		r.put(ks...)
		left, right := r.split(r.open()[2])
		r.put(ks...)
		r.merge(left, right)
		r.put(ks...)
		r.split(r.open()[0])
		r.put(ks...)
		w := r.worker("a", mode, from(kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: start})).start()
		r.finished(2 * time.Minute)
		r.put(ks...)
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
		for _, key := range old {
			require.Empty(t, r.audit.shard(key+"/0"))
			require.Empty(t, r.audit.shard(key+"/1"))
		}
	})
}

// L-31: two processes that were given the same WorkerID are still two workers.
func TestL31SameWorkerID(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(4))
		same := func(c *scheduler.Config) { c.WorkerID = "pod-0" }
		a, b := r.worker("a", mode, same).start(), r.worker("b", mode, same).start()
		r.eventually(time.Minute, "the work is shared", func() bool {
			if r.owned() < 4 {
				return false
			}
			owners := map[string]int{}
			for _, id := range r.open() {
				owners[r.row(id).Owner]++
			}
			return owners[a.Status().Worker] == 2 && owners[b.Status().Worker] == 2
		})
		r.produce(20, time.Second, keys(20))
		r.finished(time.Minute)
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
		r.audit.check(0)
	})
}

// L-19: a worker of another application, which reads another stream, is given
// the lease table of this one. It refuses to start, and writes nothing.
func TestL19TableOfAnotherApplication(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		cfg := oneStream(2)
		r := newRig(t, cfg)
		a := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		_, err := r.admin.CreateStream(t.Context(), &kinesis.CreateStreamInput{
			StreamName: aws.String("payments"),
			ShardCount: aws.Int32(2),
		})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		rows := r.rows()
		b := r.worker("b", mode, func(c *scheduler.Config) {
			c.Application, c.Streams = "billing", []scheduler.StreamConfig{{Name: "payments"}}
		})
		writes := b.counts("create", "update", "delete")
		b.start()
		<-b.done
		require.ErrorIs(t, b.err, leases.ErrForeignTable)
		require.ErrorContains(t, b.err, "belongs to application app, and this is application billing")
		require.NotContains(t, b.err.Error(), "delete")
		require.Zero(t, writes.Load())
		require.Equal(t, rows, r.rows())
		r.put(keys(10)...)
		r.finished(time.Minute)
		require.NoError(t, a.stop())
		r.audit.check(0)
	})
}

// the audit of the hash ranges gives no false alarm, whatever the stream
// and its workers go through.
func TestR23NoFalseHoles(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		log := r.capture()
		holes := &gauge{}
		audited := func(c *scheduler.Config) { c.Metrics = metrics.New(holes) }
		a := r.worker("a", mode, audited).start()
		b := r.worker("b", mode, audited).start()
		rng := rand.New(rand.NewPCG(23, 1))
		ks := keys(20)
		for range testsize.Pick(5, 8, 12) {
			r.put(ks...)
			switch open := r.open(); {
			case len(open) < 3 || rng.IntN(2) == 0:
				r.split(open[rng.IntN(len(open))])
			default:
				i := rng.IntN(len(open) - 1)
				r.merge(open[i], open[i+1])
			}
			time.Sleep(time.Duration(rng.Int64N(int64(8 * time.Minute)))) // some shards are cleaned up meanwhile, some are not
		}
		require.NoError(t, b.stop())
		time.Sleep(20 * time.Minute)
		r.finished(time.Minute)
		require.NoError(t, a.stop())
		r.audit.check(0)
		require.Zero(t, holes.most.Load())
		require.Zero(t, log.count("no lease covers a range of hash keys"))
	})
}
