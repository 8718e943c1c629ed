package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/scheduler"
)

func stopAtTip(c *scheduler.Config) { c.StopAtTip = true }

// ends waits until Run of a worker has returned by itself.
func (w *worker) ends(within time.Duration) {
	w.r.t.Helper()
	w.r.eventually(within, "Run of "+w.name+" has ended", func() bool {
		select {
		case <-w.done:
			return true
		default:
			return false
		}
	})
	require.NoError(w.r.t, w.err)
}

// A backfill by two workers ends with all that was there, though the stream is written and
// resharded all the while, and the next one goes on there.
func TestStopAtTip(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(3))
		var processed sync.Map
		do := func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			for _, rec := range in.Records {
				processed.Store(string(rec.Data()), true)
			}
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		for range 2 {
			r.produce(10, time.Second, keys(62))
			before := maps.Clone(r.sent)
			a, b := r.worker("a", mode, stopAtTip), r.worker("b", mode, stopAtTip)
			a.do, b.do = do, do
			a.start()
			b.start()
			for i := range 40 {
				r.put(keys(62)...)
				time.Sleep(time.Second)
				if i == 3 {
					r.split(r.open()[0])
				}
			}
			a.ends(2 * time.Minute)
			b.ends(2 * time.Minute)
			for _, row := range r.table() {
				require.True(t, row.Finished() || !row.Reached.IsZero(), row.Key)
				require.True(t, row.Finished() || row.ActualOwner() == "", row.Key)
			}
			for key, n := range before {
				for i := range n {
					_, ok := processed.Load(fmt.Sprintf("%s/%d", key, i))
					require.True(t, ok, "%s/%d was there at the start", key, i)
				}
			}
		}
		last := r.worker("c", mode, stopAtTip).start() // nothing is written any more
		last.ends(2 * time.Minute)
		r.audit.check(0)
	})
}

// Nothing to read is soon read, and a worker without StopAtTip takes what others have left.
func TestStopAtTipOfAnIdleStream(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(4))
		r.worker("a", mode, stopAtTip).start().ends(time.Minute)
		w := r.worker("b", mode).start()
		r.eventually(time.Minute, "all shards are read", func() bool { return r.owned() == 4 })
		r.produce(5, time.Second, keys(20))
		r.finished(30 * time.Second)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A worker that dies on the way leaves its shards to the others, which end later.
func TestStopAtTipWithAKilledWorker(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(4))
		r.produce(20, time.Second, keys(50))
		slow := func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			time.Sleep(20 * time.Second)
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		a, b := r.worker("a", mode, stopAtTip), r.worker("b", mode, stopAtTip)
		a.do, b.do = slow, slow
		a.start()
		r.eventually(time.Minute, "the first one reads", func() bool { return r.owned() == 4 })
		b.start()
		time.Sleep(5 * time.Second)
		a.kill()
		for range 20 {
			time.Sleep(time.Second)
			require.NoError(t, b.Healthy())
		}
		b.ends(5 * time.Minute)
		require.Contains(t, r.audit.missing(), "missing 0:")
	})
}

// A processor that fails with its last call may hold what it has not processed: the shard is read
// on.
func TestStopAtTipWaitsForTheLastCall(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		r.put(keys(5)...)
		w := r.worker("a", mode, stopAtTip)
		var calls atomic.Int32
		w.do = func(_ context.Context, p *processor, in kcl.ProcessRecordsInput) error { p.take(in); return nil }
		w.shutdown = func(ctx context.Context, _ *processor, in kcl.ShutdownRequestedInput) error {
			if calls.Add(1) < 3 {
				return errors.New("no database")
			}
			return in.Checkpointer.Checkpoint(ctx)
		}
		w.start().ends(5 * time.Minute)
		require.EqualValues(t, 3, calls.Load())
		require.NotZero(t, r.table()[0].Reached)
		require.False(t, r.table()[0].Checkpoint.IsSentinel())
	})
}

func TestStopAtTipMistakes(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, scheduler.Config{
		StopAtTip:     true,
		StreamTracker: func(context.Context) ([]scheduler.StreamConfig, error) { return nil, nil },
	}.Validate(),
		"StopAtTip and StreamTracker")
}
