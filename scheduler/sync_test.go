package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

// many pages, and a page token that expires in the middle.
func TestR13PagesAndExpiredTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := oneStream(100)
		cfg.PageSize = 7
		r := newRig(t, cfg)
		var pages atomic.Int32
		r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
			if c.Operation != "ListShards" || c.Client != "a" {
				return nil
			}
			if token := strings.Contains(string(c.Body), "NextToken"); token && strings.Contains(string(c.Body), "Stream") {
				r.audit.violation("a token and a stream in one call: %s", c.Body)
			}
			if pages.Add(1) == 9 {
				return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Fail("ExpiredNextTokenException", "token expired")}}
			}
			return nil
		})
		w := r.worker("a").start()
		r.eventually(10*time.Second, "all shards are read", func() bool { return r.owned() == 100 })
		require.GreaterOrEqual(t, pages.Load(), int32(9+15))
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// ten thousand shards, in pages of a thousand; a page token expires in the
// middle, a page is throttled, and the rows are complete all the same.
func TestR13TenThousandShards(t *testing.T) {
	t.Parallel()
	shards := testsize.Pick(1_050, 3_000, 10_000)
	synctest.Test(t, func(t *testing.T) {
		cfg := oneStream(shards)
		r := newRig(t, cfg)
		second := testsize.Pick[int32](3, 8, 12)
		var pages atomic.Int32
		r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
			if c.Operation != "ListShards" || !strings.Contains(string(c.Body), "NextToken") {
				return nil
			}
			switch pages.Add(1) {
			case testsize.Pick[int32](1, 4, 4):
				return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Fail("ExpiredNextTokenException", "token expired")}}
			case second:
				return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Fail("LimitExceededException", "Rate exceeded")}}
			}
			return nil
		})
		begun := time.Now()
		for i := range 2 {
			w := r.worker(fmt.Sprintf("w%d", i), func(c *scheduler.Config) {
				c.RetrievalMode, c.MaxLeasesForWorker = scheduler.Polling, 5 // this is about the rows
			})
			w.faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
				if call.Op == "create" {
					time.Sleep(8 * time.Millisecond)
				}
				return apply()
			})
			w.start()
		}
		r.eventually(time.Minute, "all rows are there", func() bool {
			return len(r.table()) == shards
		})
		t.Logf("%d rows are made after %s", shards, time.Since(begun))
		r.eventually(time.Minute, "some are read", func() bool { return r.owned() == 10 })
		time.Sleep(90 * time.Second) // syncs, audits and clean-ups find nothing to do
		require.Len(t, r.table(), shards)
		require.Greater(t, pages.Load(), max(second, int32(2*(shards/1000-1))),
			"both workers have listed all, and the faults have happened")
		for _, w := range r.workers {
			require.NoError(t, w.stop())
		}
		r.audit.check(0)
	})
}

// a shard whose row nobody made, because the worker that ended its parent
// died, is found by the next synchronisation.
func TestR10MissingRowsAreMade(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(3))
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(20))
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		// Row and shard are as at the very beginning, so reading anew repeats all of it.
		lost := r.row(r.open()[1])
		require.NoError(t, r.store.Delete(t.Context(), lost, 0))
		w = r.worker("b", mode).start()
		r.eventually(time.Minute, "all shards are read", func() bool { return r.owned() == 3 })
		r.produce(2, time.Second, keys(20))
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(40)
	})
}

// ListShards is down for ten minutes while the stream is resharded: the children
// come from the end of the shard, and health tells.
func TestListShardsDown(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", mode).start()
		r.produce(2, time.Second, keys(10))
		remove := r.srv.Inject(kinesistest.Fault{
			Operation: "ListShards", Client: "a",
			Do: []kinesistest.Action{kinesistest.Fail("LimitExceededException", "Rate exceeded")},
		})
		r.split(r.open()[0])
		r.produce(2, time.Second, keys(10))
		r.finished(time.Minute)
		time.Sleep(10 * time.Minute)
		require.ErrorContains(t, w.Healthy(), "the shards of stream orders cannot be listed since")
		remove()
		time.Sleep(2 * time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// O: a row that cannot be read is told, and does not keep the others from being read.
func TestUnreadableRowIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(3))
		w := r.worker("a").start()
		r.eventually(10*time.Second, "all shards are read", func() bool { return r.owned() == 3 })
		require.NoError(t, w.stop())
		bad := r.open()[1]
		r.tableFaults.SetRowError(bad, errors.New("leaseCounter is a list"))
		w = r.worker("b").start()
		r.eventually(time.Minute, "the others are read", func() bool { return r.owned() == 2 })
		require.ErrorContains(t, w.Healthy(), bad)
		require.ErrorContains(t, w.Healthy(), "leaseCounter is a list")
		require.NoError(t, w.stop())
	})
}

// The rows of both children cannot be read, and that of their finished parent was deleted. The
// parent is not read again.
func TestUnreadableRowsOfChildren(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		w := r.worker("a").start()
		r.put(keys(5)...)
		parent := r.open()[0]
		left, right := r.split(parent)
		r.put(keys(5)...)
		r.finished(time.Minute)
		r.eventually(30*time.Minute, "the row of the parent is deleted", func() bool {
			_, err := r.store.Get(t.Context(), parent)
			return errors.Is(err, leases.ErrNotFound)
		})
		for _, child := range []string{left, right} {
			r.tableFaults.SetRowError(child, errors.New("leaseCounter is a list"))
		}
		time.Sleep(5 * time.Minute)
		_, err := r.store.Get(t.Context(), parent)
		require.ErrorIs(t, err, leases.ErrNotFound)
		require.Error(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// The same library on the table of the Java KCL: three workers share it over
// DynamoDB's wire, one is killed and the stream is resharded.
func TestOnDynamoDB(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(4))
		ddb := dynamotest.Start(dynamotest.Config{})
		t.Cleanup(ddb.Close)
		var workers []*worker
		for i := range 3 {
			name := fmt.Sprintf("w%d", i)
			table := dynamodb.New(dynamodb.Config{Client: awstest.DynamoDBFrom(t, ddb, name), Table: "app"})
			workers = append(workers, r.worker(name, mode, func(c *scheduler.Config) { c.Leases = table }).start())
		}
		r.eventually(time.Minute, "all shards are read", func() bool { return r.owned() == 4 })
		r.produce(5, time.Second, keys(40))
		left, _ := r.split(r.open()[0])
		r.produce(5, time.Second, keys(40))
		r.merge(left, r.open()[1])
		r.produce(5, time.Second, keys(40))
		workers[0].dead.Store(true)
		r.srv.Kill("w0")
		ddb.Network().Host("w0").Kill()
		r.produce(5, time.Second, keys(40))
		r.finished(time.Minute)
		for _, w := range workers[1:] {
			require.NoError(t, w.Healthy())
			require.NoError(t, w.stop())
		}
		r.audit.check(80)
	})
}
