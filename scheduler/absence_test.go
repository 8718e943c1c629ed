package scheduler_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// notFound answers reads of some shards as a service does that does not know them.
func (r *rig) notFound(when func() bool, ids ...string) (remove func()) {
	return r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
		reads := []string{"SubscribeToShard", "GetShardIterator", "GetRecords"}
		if c.Client != "a" || !slices.Contains(reads, c.Operation) || !slices.Contains(ids, c.Shard) || !when() {
			return nil
		}
		return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Fail("ResourceNotFoundException", "Shard not found")}}
	})
}

// For some time after a split the service knows the children only by the end of their parent:
// neither ListShards nor a read finds them. They are not expired, and Healthy tells.
func TestChildThatIsNotVisibleYetIsNotExpired(t *testing.T) {
	t.Parallel()
	for _, window := range []time.Duration{3 * time.Second, time.Minute, 9 * time.Minute} {
		t.Run(window.String(), func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(2))
				parent := r.open()[0]
				w := r.worker("a", mode).start()
				r.produce(2, time.Second, keys(10))
				r.finished(time.Minute)
				children := []string{"shardId-000000000002", "shardId-000000000003"}
				remove := r.notFound(func() bool { return true }, children...)
				listed := r.srv.Inject(kinesistest.Fault{
					Operation: "ListShards", Client: "a",
					Do: []kinesistest.Action{kinesistest.OmitShards(children...)},
				})
				r.split(parent)
				r.put(keys(10)...)
				time.Sleep(window)
				if window >= time.Minute {
					require.ErrorContains(t, w.Healthy(), "shard not found")
				}
				remove()
				listed()
				r.finished(2 * time.Minute)
				time.Sleep(time.Minute)
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// A list that lacks an open shard for good, and a read that does not find it once an hour: between
// those it is read.
func TestNotFoundHoursApartIsNotInARow(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		open := r.open()[0]
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		half := "170141183460469231731687303715884105727"
		r.listShards(func() []types.Shard { // another shard has its hash keys, so the list seems to be complete
			s := types.Shard{
				ShardId: aws.String("shardId-000000000009"), ParentShardId: &open,
				HashKeyRange: &types.HashKeyRange{
					StartingHashKey: aws.String("0"),
					EndingHashKey:   aws.String("340282366920938463463374607431768211455"),
				},
				SequenceNumberRange: &types.SequenceNumberRange{StartingSequenceNumber: aws.String(half)},
			}
			return []types.Shard{s}
		})
		var failing atomic.Bool
		r.notFound(failing.Load, open)
		for range testsize.Pick(4, 4, 6) { // three in a row would be enough
			failing.Store(true)
			r.srv.ResetConnections()
			time.Sleep(2 * time.Minute)
			failing.Store(false)
			r.produce(testsize.Pick(6, 10, 58), time.Minute, keys(1))
			require.False(t, r.row(open).Finished())
		}
		r.finished(10 * time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A stream was deleted and created again with fewer shards, and for a while the service does not
// say when: the shards that it does not have any more are those of another stream, and have not
// expired.
func TestShardOfARecreatedStreamIsNotExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		missing := r.open()[1]
		w := r.worker("a", func(c *scheduler.Config) { c.RetrievalMode = scheduler.Polling }).start()
		r.produce(10, time.Second, keys(10))
		r.finished(time.Minute)
		var lookup atomic.Bool // the reader's own question, after a read that found nothing, is answered
		remove := r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
			switch {
			case c.Client != "a":
			case c.Operation == "GetShardIterator" && c.Shard == missing:
				lookup.Store(true)
			case c.Operation == "DescribeStreamSummary" && !lookup.Swap(false):
				return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Fail("LimitExceededException", "Rate exceeded")}}
			}
			return nil
		})
		r.recreate(1) // deletes it first
		time.Sleep(30 * time.Minute)
		require.False(t, r.row(missing).Finished())
		require.Error(t, w.Healthy())
		remove()
		<-w.done
		require.ErrorIs(t, w.err, kcl.ErrStreamRecreated)
		require.False(t, r.row(missing).Finished())
	})
}
