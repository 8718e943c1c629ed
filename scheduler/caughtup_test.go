package scheduler_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// requireAtTip checks that a shard is known to have no records that are unread.
func requireAtTip(t *testing.T, sh scheduler.ShardStatus) {
	t.Helper()
	behind, known := sh.Behind()
	require.True(t, known)
	require.Zero(t, behind)
}

// caughtUp waits until the worker says that it is, and checks each moment before that it does not
// say so too early.
func (r *rig) caughtUp(within time.Duration, w *worker) {
	r.t.Helper()
	r.eventually(within, "caught up", func() bool {
		if !w.CaughtUp() {
			return false
		}
		require.Contains(r.t, r.audit.missing(), "missing 0:", "said too early")
		return true
	})
}

// A backfill ended after 0 of 620 records: a lag that is not known yet looked like none.
func TestUnknownLagIsNotZero(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(2))
		r.produce(10, time.Second, keys(62))
		w := r.worker("a", mode, from(kcl.InitialPosition{Kind: kcl.TrimHorizon}))
		require.False(t, w.CaughtUp(), "before Run")
		allow, refused := make(chan struct{}), errors.New("not yet")
		w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			select {
			case <-allow:
			default:
				return refused
			}
			time.Sleep(20 * time.Second)
			p.take(in)
			return p.checkpoint(ctx, in.Checkpointer)
		}
		w.start()
		for range 600 {
			for _, st := range w.Status().Streams {
				for _, sh := range st.Shards {
					if behind, known := sh.Behind(); known {
						require.NotZero(t, behind)
					}
					require.Zero(t, sh.LastProgress)
					require.Zero(t, sh.CaughtUp)
				}
			}
			require.False(t, w.CaughtUp())
			time.Sleep(100 * time.Millisecond)
		}
		close(allow)
		r.caughtUp(5*time.Minute, w)
		for _, id := range r.open() {
			require.WithinDuration(t, time.Now(), w.shard(id).CaughtUp, 10*time.Second)
		}

		// It stays so while records are processed as they come, and ends with what is not processed.
		w.setDo(nil)
		for range 30 {
			r.put(keys(1)...)
			time.Sleep(time.Second)
			require.True(t, w.CaughtUp())
		}
		w.setDo(func(context.Context, *processor, kcl.ProcessRecordsInput) error { return refused })
		r.put(keys(20)...)
		time.Sleep(30 * time.Second)
		require.False(t, w.CaughtUp())
		lagging := 0
		for _, id := range r.open() {
			if behind, known := w.shard(id).Behind(); known && behind > 10*time.Second {
				lagging++
			}
		}
		require.NotZero(t, lagging, "the lag grows while nothing is read")
		w.setDo(nil)
		r.caughtUp(2*time.Minute, w)
		require.NoError(t, w.stop())
		require.False(t, w.CaughtUp(), "after Run")
	})
}

// Between a shard's end and its children's first answers nothing is known.
func TestCaughtUpThroughReshards(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		w := r.worker("a", mode).start()
		r.caughtUp(2*time.Minute, w)
		for range 3 {
			for _, reshard := range []func(open []string){
				func(open []string) { r.split(open[0]) },
				func(open []string) { r.merge(open[0], open[1]) },
			} {
				parents := r.open()
				reshard(parents)
				r.put(keys(40)...)
				r.eventually(time.Minute, "the parents are read to their ends", func() bool {
					return !slices.ContainsFunc(parents, func(id string) bool { return !r.row(id).Finished() })
				})
				r.caughtUp(5*time.Minute, w)
			}
		}
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// A server that does not say the lag says nothing about the tip.
func TestLagThatIsNotSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		mend := r.srv.Inject(kinesistest.Fault{
			Operation: "GetRecords",
			Do:        []kinesistest.Action{kinesistest.Answer(200, []byte(`{"Records":[],"NextShardIterator":"AAAA"}`))},
		})
		w := r.worker("a", func(c *scheduler.Config) { c.RetrievalMode = scheduler.Polling }).start()
		for range 10 {
			time.Sleep(time.Minute)
			require.NoError(t, w.Healthy())
			require.False(t, w.CaughtUp())
			sh := w.shard(r.open()[0])
			_, known := sh.Behind()
			require.False(t, known)
			require.Zero(t, sh.LastProgress)
		}
		mend()
		r.caughtUp(10*time.Minute, w)
		require.NoError(t, w.stop())
	})
}
