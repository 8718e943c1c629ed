package scheduler_test

import (
	"context"
	"errors"
	"runtime"
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

// foreignRow makes the row of a shard as another library does: a worker completes it before it
// reads.
func (r *rig) foreignRow() string {
	shard := r.open()[0]
	require.NoError(r.t, r.store.Create(r.t.Context(), leases.Lease{
		Key: shard, ShardID: shard, ThroughputKBps: -1,
		Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelTrimHorizon},
	}))
	return shard
}

// One call of the store is answered only when its context ends, as the contract allows: it has a
// deadline, and the shard is read.
func TestStoreThatDoesNotAnswerOnce(t *testing.T) {
	t.Parallel()
	for op, hangs := range map[string]func(leasefault.Call) bool{
		"init":   func(c leasefault.Call) bool { return c.Op == "init" },
		"list":   func(c leasefault.Call) bool { return c.Op == "list" },
		"get":    func(c leasefault.Call) bool { return c.Op == "get" },
		"create": func(c leasefault.Call) bool { return c.Op == "create" },
		// no holder's
		"update": func(c leasefault.Call) bool { return c.Op == "update" && !c.Update.Set.Has(leases.AttrCounter) },
	} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(2))
				r.foreignRow()
				w := r.worker("a")
				var hung atomic.Bool
				w.faults.SetFault(func(ctx context.Context, call leasefault.Call, apply func() error) error {
					if hangs(call) && !hung.Swap(true) {
						<-ctx.Done()
						return ctx.Err()
					}
					return apply()
				})
				w.start()
				r.put(keys(5)...)
				r.split(r.open()[0]) // its children wait, which asks the store
				r.put(keys(5)...)
				r.finished(3 * time.Minute)
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// A store that does not even heed its context: health tells, before the first record as well as at
// the shard's end.
func TestDeafStoreIsTold(t *testing.T) {
	t.Parallel()
	for name, hangs := range map[string]func(leasefault.Call) bool{
		"before the first record": func(c leasefault.Call) bool {
			return c.Op == "update" &&
				c.Update.Set.Has(leases.AttrStreamCreated)
		},
		"at the shard's end": func(c leasefault.Call) bool {
			return c.Op == "create" &&
				c.Key != "shardId-000000000000"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				r.capture()
				shard := r.foreignRow()
				w := r.worker("a", func(c *scheduler.Config) { c.ShardSyncInterval = time.Hour })
				release := make(chan struct{})
				var once atomic.Bool
				w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
					if hangs(call) && !once.Swap(true) {
						<-release
					}
					return apply()
				})
				w.start()
				r.put(keys(5)...)
				time.Sleep(10 * time.Second)
				r.split(shard)
				time.Sleep(3 * time.Minute)
				require.ErrorContains(t, w.Healthy(), "the lease store does not answer")
				require.Equal(t, scheduler.LayerCheckpointStore, w.shard(shard).Stalled)
				close(release)
				r.finished(time.Minute)
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// A store that panics, or ends its goroutine, has failed.
func TestStoreThatPanicsHasFailed(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(){"panic": func() { panic("store") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(2))
				r.capture()
				w := r.worker("a")
				n := map[string]int{}
				w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
					r.mu.Lock()
					n[call.Op]++
					bad := n[call.Op]%3 == 1
					r.mu.Unlock()
					if bad {
						end()
					}
					return apply()
				})
				w.start()
				for range 20 {
					r.put(keys(5)...)
					time.Sleep(time.Second)
				}
				r.finished(3 * time.Minute)
				w.faults.SetFault(nil)
				require.NoError(t, w.stop())
			})
		})
	}
}

// The children of a shard cannot be recorded, while renewals work: the end that does not come is
// told.
func TestEndThatCannotBeRecordedIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		r.capture()
		w := r.worker("a").start()
		r.put("k")
		r.finished(time.Minute)
		shard := r.open()[0]
		w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Op == "update" && call.Update.Set.Has(leases.AttrChildren) {
				return errors.New("validation")
			}
			return apply()
		})
		r.split(shard)
		time.Sleep(4 * time.Minute)
		require.Equal(t, scheduler.LayerCheckpointStore, w.shard(shard).Stalled)
		w.faults.SetFault(nil)
		r.eventually(time.Minute, "the end is recorded", func() bool { return r.row(shard).Finished() })
		require.NoError(t, w.stop())
	})
}
