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
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/scheduler"
)

// TestX02ErrorStopsTheAdvance: a processor says "failed" by returning an error, and needs no
// setting for it: the shard stands still at that batch, for an hour if need be, is named in the
// status, and goes on when the processor can.
func TestX02ErrorStopsTheAdvance(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		w := r.worker("a", mode)
		ks := keys(10)
		r.put(ks...)
		broken := ""
		var refused [][]kcl.Record
		errBroken := errors.New("the database refuses")
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			r.mu.Lock()
			if broken == "" {
				broken = p.shard.ID // the first that comes
			}
			mine := broken == p.shard.ID
			if mine {
				refused = append(refused, in.Records)
			}
			r.mu.Unlock()
			if mine {
				return errBroken
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		w.start()
		minutes := testsize.Pick(15, 60, 60)
		r.produce(minutes, time.Minute, ks)
		r.mu.Lock()
		first := refused[0]
		require.Greater(t, len(refused), minutes*5/6)
		for _, again := range refused {
			require.Equal(t, first, again, "the same batch, and no other")
		}
		r.mu.Unlock()
		require.Equal(t, kcl.SentinelTrimHorizon, r.row(broken).Checkpoint.SequenceNumber)
		require.ErrorIs(t, w.shard(broken).Err, errBroken)
		for _, id := range r.open() {
			if id != broken {
				requireAtTip(t, w.shard(id))
				require.NoError(t, w.shard(id).Err)
			}
		}
		w.setDo(nil)
		r.finished(2 * time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// TestX04ProcessorBlocksForEver: the alarm comes within the limit and names the shard, the lease is
// kept, other shards go on, and Run returns nevertheless, naming what it has left behind.
func TestX04ProcessorBlocksForEver(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(3))
		alarms := newSeries()
		a := r.worker("a", mode, func(c *scheduler.Config) { c.Metrics = metrics.New(alarms) })
		release := make(chan struct{})
		blocked := ""
		a.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			r.mu.Lock()
			if blocked == "" {
				blocked = p.shard.ID
			}
			mine := blocked == p.shard.ID
			r.mu.Unlock()
			if mine {
				<-release // deaf to ctx as well
				return nil
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		a.start()
		ks := keys(30)
		r.produce(3, time.Second, ks)
		r.eventually(scheduler.DefaultStallTimeout+10*time.Second, "the alarm",
			func() bool { return alarms.value(metrics.Stalled, a.seriesStream(), blocked) == 1 })
		stall := a.stalls()[0]
		require.Equal(t, scheduler.LayerProcessor, stall.Layer)
		require.Equal(t, blocked, stall.ShardID)
		require.ErrorContains(t, stall, "process_records has not returned")

		owner := r.row(blocked).Owner
		r.produce(testsize.Pick(4, 10, 30), time.Minute, ks)
		row := r.row(blocked)
		require.Equal(t, owner, row.Owner, "the lease is kept: another worker would block as well")
		for _, id := range r.open() {
			if id != blocked {
				requireAtTip(t, a.shard(id))
			}
		}

		began := time.Now()
		err := a.stop()
		require.Equal(t, scheduler.DefaultShutdownTimeout, time.Since(began).Round(5*time.Second))
		abandoned, ok := errors.AsType[*leases.AbandonedError](err)
		require.True(t, ok, "%v", err)
		require.Equal(t, []string{blocked}, abandoned.Keys)
		a.dead.Store(true) // what the blocked processor still does counts no more

		b := r.worker("b", mode).start()
		r.finished(time.Minute)
		require.NoError(t, b.stop())
		close(release)
		r.audit.check(0)
	})
}

// TestP16CheckpointOfAnotherShard: a row whose checkpoint belongs to another shard, or to a stream
// that was deleted, is not read from anywhere: nothing is delivered, nothing is checkpointed,
// health says why. The other shards are not concerned, and a checkpoint that is put right is read
// from.
func TestP16CheckpointOfAnotherShard(t *testing.T) {
	t.Parallel()
	for name, foreign := range map[string]func(r *rig, shards []string) string{
		"of a sibling": func(r *rig, shards []string) string { return r.row(shards[1]).Checkpoint.SequenceNumber },
		"of an older stream": func(*rig, []string) string {
			return "49590338271490256608559692538361571095921575989136588898"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(2))
				shards := r.open()
				ks := keys(20)
				a := r.worker("a", mode).start()
				r.produce(3, time.Second, ks)
				r.finished(time.Minute)
				require.NoError(t, a.stop())
				right := r.row(shards[0])
				wrong := right
				wrong.Checkpoint = kcl.ExtendedSequenceNumber{SequenceNumber: foreign(r, shards)}
				require.NoError(t, r.store.Update(t.Context(), leases.Update{Read: right, To: wrong, Set: leases.AttrCheckpoint}))

				r.put(ks...)
				b := r.worker("b", mode).start()
				r.produce(5, time.Minute, ks)
				require.Zero(t, b.shard(shards[0]).Records)
				require.NotZero(t, b.shard(shards[1]).Records)
				require.Equal(t, wrong.Checkpoint, r.row(shards[0]).Checkpoint)
				err := b.Healthy()
				require.ErrorIs(t, err, kcl.ErrInvalidPosition)
				require.ErrorContains(t, err, shards[0])
				require.Len(t, b.stalls(), 1)
				require.NoError(t, b.stop())

				read := r.row(shards[0])
				read.Checkpoint = right.Checkpoint
				require.NoError(t, r.store.Update(t.Context(), leases.Update{
					Read: r.row(shards[0]), To: read,
					Set: leases.AttrCheckpoint,
				}))
				c := r.worker("c", mode).start()
				r.finished(time.Minute)
				require.NoError(t, c.stop())
				r.audit.check(0)
			})
		})
	}
}

// TestX04AbandonedProcessorIsFenced: what a processor that was left behind still wants to
// checkpoint is refused.
func TestX04AbandonedProcessorIsFenced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		a := r.worker("a", func(c *scheduler.Config) { c.ShutdownTimeout = time.Second })
		release, done := make(chan struct{}), make(chan error, 1)
		a.do = func(_ context.Context, _ *processor, in kcl.ProcessRecordsInput) error {
			<-release
			done <- in.Checkpointer.Checkpoint(context.Background())
			return nil
		}
		a.start()
		r.put("key")
		time.Sleep(30 * time.Second)
		require.Error(t, a.stop())
		before := r.row(r.open()[0])
		close(release)
		require.ErrorIs(t, <-done, kcl.ErrLeaseLost)
		require.Equal(t, before.Checkpoint, r.row(r.open()[0]).Checkpoint)
	})
}
