package scheduler_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// stall finds what Healthy says of a shard.
func (w *worker) stall(shard string) *scheduler.StallError {
	var walk func(err error) *scheduler.StallError
	walk = func(err error) *scheduler.StallError {
		if s, ok := err.(*scheduler.StallError); ok && s.ShardID == shard { //nolint:errorlint // each by itself
			return s
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, err := range joined.Unwrap() {
				if s := walk(err); s != nil {
					return s
				}
			}
		}
		return nil
	}
	return walk(w.Healthy())
}

// A parent that is idle at its tip, closed, and does not end, because neither the server says so
// nor ListShards shows its children: the child turns Healthy red, and names it.
func TestChildNamesTheParentThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		parent := r.open()[0]
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		left, right := "shardId-000000000002", "shardId-000000000003"
		for _, operation := range []string{"SubscribeToShard", "GetRecords"} {
			r.srv.Inject(kinesistest.Fault{
				Operation: operation, Client: "a", Shard: parent,
				Do: []kinesistest.Action{kinesistest.HideEnd()},
			})
		}
		r.srv.ResetConnections() // subscriptions that are open are not harmed
		time.Sleep(20 * time.Second)
		r.srv.Inject(kinesistest.Fault{
			Operation: "ListShards", Client: "a",
			Do: []kinesistest.Action{kinesistest.OmitShards(left, right)},
		})
		r.split(parent)
		for _, child := range []string{left, right} {
			row := shardsync.ChildLease(r.row(parent), kcl.ChildShard{ID: child, Parents: []string{parent}})
			require.NoError(t, r.store.Create(t.Context(), row))
		}
		time.Sleep(10 * time.Minute)
		for _, child := range []string{left, right} {
			s := w.stall(child)
			require.NotNil(t, s, "%v", w.Healthy())
			require.Equal(t, scheduler.LayerParent, s.Layer)
			require.ErrorContains(t, s, parent)
		}
		require.NoError(t, w.stop())
	})
}

// A parent with a long backlog keeps its descendants waiting for an hour, and one whose processor
// fails says so itself: its children name it.
func TestChildOfABusyParentIsHealthy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		parent := r.open()[0]
		w := r.worker("a")
		fails := false
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			r.mu.Lock()
			failing := fails
			r.mu.Unlock()
			if p.shard.ID != parent {
				p.take(in)
				return p.checkpoint(ctx, in.Checkpointer)
			}
			if failing {
				return errors.New("not now")
			}
			time.Sleep(time.Minute)
			return nil
		}
		w.start()
		for range 40 {
			r.putRaw(make([]byte, 900<<10)) // an event holds few of them
			time.Sleep(time.Second)
		}
		left, _ := r.split(parent)
		grandchild, _ := r.split(left)
		for range 20 {
			time.Sleep(time.Minute)
			require.NoError(t, w.Healthy())
		}
		require.False(t, r.row(parent).Finished())
		r.mu.Lock()
		fails = true
		r.mu.Unlock()
		time.Sleep(5 * time.Minute)
		require.Equal(t, scheduler.LayerProcessor, w.stall(parent).Layer)
		for _, id := range []string{left, grandchild} {
			s := w.stall(id)
			require.Equal(t, scheduler.LayerParent, s.Layer)
			require.ErrorContains(t, s, parent)
		}
		require.NoError(t, w.stop())
	})
}
