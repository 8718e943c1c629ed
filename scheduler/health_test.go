package scheduler_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/scheduler"
)

// stalls returns what a worker's health says about shards.
func (w *worker) stalls() []*scheduler.StallError {
	var out []*scheduler.StallError
	joined, ok := w.Healthy().(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	for _, err := range joined.Unwrap() {
		if stall, ok := errors.AsType[*scheduler.StallError](err); ok {
			out = append(out, stall)
		}
	}
	return out
}

// G9: whatever a shard is stuck in, health turns red within the limit, names
// the layer, and turns green again when the cause is gone.
func TestStallIsNamed(t *testing.T) {
	t.Parallel()
	subscribe := func(do ...kinesistest.Action) func(*rig, *worker) func() {
		return func(r *rig, _ *worker) func() {
			remove := r.srv.Inject(kinesistest.Fault{Operation: "SubscribeToShard", Do: do})
			r.srv.ResetConnections()
			time.Sleep(time.Second) // for the producer to notice
			return remove
		}
	}
	for name, tc := range map[string]struct {
		layer scheduler.Layer
		mode  scheduler.RetrievalMode
		// breaks breaks something and returns how to repair it.
		breaks func(*rig, *worker) func()
	}{
		"service fails": {layer: scheduler.LayerService, breaks: subscribe(kinesistest.Fail("InternalFailureException",
			"boom"))},
		"service throttles": {layer: scheduler.LayerService, mode: scheduler.Polling, breaks: func(r *rig, _ *worker) func() {
			return r.srv.Inject(kinesistest.Fault{
				Operation: "GetRecords",
				Do:        []kinesistest.Action{kinesistest.Fail("ProvisionedThroughputExceededException", "Rate exceeded")},
			})
		}},
		"stream is silent": {
			layer:  scheduler.LayerStream,
			breaks: subscribe(kinesistest.StallStream(kinesistest.AfterEvents(0))),
		},
		"stream is cut": {
			layer:  scheduler.LayerStream,
			breaks: subscribe(kinesistest.ResetStream(kinesistest.AfterBytes(40))),
		},
		"service does not answer": {
			layer: scheduler.LayerStream, mode: scheduler.Polling,
			breaks: func(r *rig, w *worker) func() {
				return r.srv.Partition(w.name)
			},
		},
		"events cannot be decoded": {layer: scheduler.LayerDecoder, breaks: subscribe(kinesistest.CorruptEvent(1))},
		"processor blocks": {layer: scheduler.LayerProcessor, breaks: func(_ *rig, w *worker) func() {
			release := make(chan struct{})
			w.setDo(func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
				<-release
				p.take(in)
				return p.checkpoint(ctx, in.Checkpointer)
			})
			return func() { close(release) }
		}},
		"processor fails": {layer: scheduler.LayerProcessor, breaks: func(_ *rig, w *worker) func() {
			w.setDo(func(context.Context, *processor, kcl.ProcessRecordsInput) error { return errors.New("no database") })
			return func() { w.setDo(nil) }
		}},
		"checkpoints fail": {layer: scheduler.LayerCheckpointStore, breaks: func(_ *rig, w *worker) func() {
			w.faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
				if call.Op == "update" && call.Update.Set.Has(leases.AttrCheckpoint) {
					return errors.New("validation")
				}
				return apply()
			})
			return func() { w.faults.SetFault(nil) }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				w := r.worker("a", func(c *scheduler.Config) {
					c.RetrievalMode, c.Fallback = tc.mode,
						scheduler.FallbackOff
				}).start()
				r.produce(3, time.Second, keys(4))
				r.finished(10 * time.Second)
				require.NoError(t, w.Healthy())
				repair := tc.breaks(r, w)
				began := time.Now()
				r.put(keys(4)...)
				r.eventually(scheduler.DefaultStallTimeout+45*time.Second, "red", func() bool { return len(w.stalls()) > 0 })
				require.GreaterOrEqual(t, time.Since(began), time.Minute, "not at once: a hiccup is no stall")
				stall := w.stalls()[0]
				require.Equal(t, tc.layer, stall.Layer, "%v", stall)
				require.Equal(t, r.open()[0], stall.ShardID)
				require.Equal(t, streamName, stall.Stream.Name)
				require.Equal(t, tc.layer, w.shard(stall.ShardID).Stalled)
				repair()
				r.finished(2 * time.Minute)
				time.Sleep(time.Minute)
				require.NoError(t, w.Healthy())
				require.NoError(t, w.stop())
				r.audit.check(1000) // failed checkpoints are repeated with their records
			})
		})
	}
}

// A lease that nobody can take is a shard that nobody reads.
func TestUnreadShardIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(3))
		one := func(c *scheduler.Config) { c.MaxLeasesForWorker = 1 }
		a, b := r.worker("a", one).start(), r.worker("b", one).start()
		time.Sleep(time.Minute)
		require.NoError(t, a.Healthy())
		time.Sleep(2 * time.Minute)
		for _, w := range []*worker{a, b} {
			stalls := w.stalls()
			require.Len(t, stalls, 1)
			require.Equal(t, scheduler.LayerLease, stalls[0].Layer)
			require.ErrorContains(t, stalls[0], "or start more workers, or raise MaxLeasesForWorker")
		}
		c := r.worker("c", one).start()
		time.Sleep(time.Minute)
		for _, w := range []*worker{a, b, c} {
			require.NoError(t, w.Healthy())
			require.NoError(t, w.stop())
		}
	})
}

// A child that nobody has taken because its parent is still being read is not
// what is stuck.
func TestL27ChildThatWaitsIsNotStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", func(c *scheduler.Config) { c.MaxLeasesForWorker = 2 }).start()
		r.eventually(time.Minute, "the shard is read", func() bool { return r.owned() == 1 })
		parent, release := r.open()[0], make(chan struct{})
		w.setDo(func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			<-release
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		})
		r.put(keys(4)...)
		r.split(parent)
		r.eventually(2*time.Minute, "the children have rows", func() bool { return len(r.rows()) == 3 })
		time.Sleep(5 * time.Minute)
		require.Equal(t, 1, r.owned(), "the children take no place")
		require.Len(t, w.stalls(), 1)
		require.Equal(t, parent, w.stalls()[0].ShardID)
		close(release)
		w.setDo(nil)
		r.finished(time.Minute)
		r.eventually(10*time.Second, "the children are read", func() bool { return r.owned() == 2 })
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
	})
}

// A row that is deleted is nobody's trouble any more.
func TestDeletedRowIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", func(c *scheduler.Config) { c.MaxLeasesForWorker = 1 }).start()
		r.eventually(time.Minute, "the shard is read", func() bool { return r.owned() == 1 })
		row := r.row(r.open()[0])
		gone := leases.Lease{
			Key: "shardId-000000000099", ShardID: "shardId-000000000099", ThroughputKBps: -1,
			Extension:  leases.Extension{StreamCreated: row.StreamCreated},
			Checkpoint: kcl.InitialPosition{Kind: kcl.TrimHorizon}.Sentinel(),
		}
		require.NoError(t, r.store.Create(t.Context(), gone))
		time.Sleep(3 * time.Minute)
		require.Len(t, w.stalls(), 1)
		require.NoError(t, r.store.Delete(t.Context(), gone, 0))
		time.Sleep(time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
	})
}

// The lease table is away: red while it is, and everything is read again after.
func TestLeaseTableAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(2))
		w := r.worker("a").start()
		r.produce(3, time.Second, keys(4))
		w.faults.SetFault(leasefault.Failing(errors.New("connection refused")))
		time.Sleep(time.Minute)
		require.ErrorContains(t, w.Healthy(), "the lease table cannot be read since")
		require.ErrorContains(t, w.Healthy(), "connection refused")
		w.faults.SetFault(nil)
		r.produce(3, time.Second, keys(4))
		r.finished(time.Minute)
		time.Sleep(30 * time.Second)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(20)
	})
}

// An idle stream is healthy for as long as it likes.
func TestIdleIsHealthy(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(3))
		w := r.worker("a", mode).start()
		time.Sleep(time.Second)
		for range testsize.Pick(5, 20, 60) {
			time.Sleep(time.Minute)
			require.NoError(t, w.Healthy())
		}
		require.NoError(t, w.stop())
	})
}

func TestStatus(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		one := func(c *scheduler.Config) { c.MaxLeasesForWorker = 1 }
		a, b := r.worker("a", mode, one).start(), r.worker("b", mode, one).start()
		r.produce(20, time.Second, keys(10))
		r.finished(10 * time.Second)
		time.Sleep(5 * time.Second)

		st := a.Status()
		require.Equal(t, "running", st.Phase)
		require.Len(t, st.Streams, 1)
		stream := st.Streams[0]
		require.Equal(t, streamName, stream.Stream.Name)
		require.NotZero(t, stream.Stream.CreationEpoch)
		require.NoError(t, stream.Err)
		require.WithinDuration(t, time.Now(), stream.LastSync, 2*time.Minute)
		require.Len(t, stream.Shards, 2)
		var records uint64
		for i, sh := range stream.Shards {
			require.Equal(t, r.open()[i], sh.ShardID)
			other := b.Status().Streams[0].Shards[i]
			mine := sh
			if sh.Owner != st.Worker {
				require.Equal(t, scheduler.StateNone, sh.State)
				require.Equal(t, b.Status().Worker, sh.Owner)
				mine = other
			}
			require.Equal(t, scheduler.StateProcessing, mine.State)
			require.Equal(t, mine.Checkpoint, mine.Position)
			requireAtTip(t, mine)
			require.WithinDuration(t, time.Now(), mine.CaughtUp, 10*time.Second)
			require.NoError(t, mine.Err)
			require.WithinDuration(t, time.Now(), mine.LastProgress, 10*time.Second)
			records += mine.Records
		}
		require.EqualValues(t, 200, records)
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
	})
}

// Ten minutes of deliveries without a checkpoint are told, once per ten minutes.
func TestX18MissingCheckpointsAreTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		logs := r.capture()
		w := r.worker("a")
		w.do = func(_ context.Context, p *processor, in kcl.ProcessRecordsInput) error { p.take(in); return nil }
		w.start()
		const warning = "records are delivered and nothing is checkpointed"
		r.produce(9, time.Minute, keys(2))
		require.Zero(t, logs.count(warning))
		r.produce(16, time.Minute, keys(2))
		require.Equal(t, 2, logs.count(warning))
		require.NoError(t, w.stop())
		require.Zero(t, logs.count("key0"), "a record's content in the log")
	})
}
