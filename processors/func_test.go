package processors_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/processors"
)

var errBoom = errors.New("boom")

func ignore(context.Context, []kcl.Record) error { return nil }

const never = -1 // no checkpoints by time

func TestFuncCheckpointsByNumberAndSize(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits processors.Checkpoints
		want   []string
	}{
		"records":      {processors.Checkpoints{Records: 4, Interval: never}, []string{"4", "8"}},
		"bytes":        {processors.Checkpoints{Bytes: 6, Interval: never}, []string{"6"}},
		"whichever":    {processors.Checkpoints{Records: 2, Bytes: 6, Interval: never}, []string{"2", "4", "6", "8"}},
		"only the end": {processors.Checkpoints{Interval: never}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, processors.Func(ignore, processors.FuncOptions{Checkpoints: test.limits}))
			for n := 1; n <= 9; n += 2 {
				require.NoError(t, s.deliver(recs(n, min(n+1, 9))...))
			}
			require.Equal(t, test.want, s.row.all())
			require.NoError(t, s.shutdown())
			require.Equal(t, "9", s.row.last())
		})
	}
}

// A timer checkpoints an idle shard too.
func TestX10FuncCheckpointsByTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, processors.Func(ignore, processors.FuncOptions{}))
		require.NoError(t, s.deliver(recs(1, 3)...))
		time.Sleep(processors.DefaultInterval - time.Millisecond)
		require.Empty(t, s.row.all())
		require.NoError(t, s.deliver(rec(4, "k")))
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, []string{"4"}, s.row.all())
		time.Sleep(time.Hour)
		require.NoError(t, s.deliver(rec(5, "k")))
		require.NoError(t, s.shutdown())
		require.Equal(t, []string{"4", "5"}, s.row.all())
		time.Sleep(time.Hour)
		require.Len(t, s.row.all(), 2)
	})
}

func TestFuncTriesAFailedCheckpointAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, processors.Func(ignore, processors.FuncOptions{Logger: quiet}))
		s.row.setFail(errBoom)
		require.NoError(t, s.deliver(recs(1, 3)...))
		time.Sleep(time.Minute)
		s.row.setFail(nil)
		time.Sleep(processors.DefaultInterval)
		synctest.Wait()
		require.Equal(t, []string{"3"}, s.row.all())
		s.row.setFail(errBoom)
		require.NoError(t, s.deliver(rec(4, "k")))
		require.ErrorIs(t, s.shutdown(), errBoom)
	})
}

// The last checkpoint does not cover a batch that failed.
func TestFuncDoesNotCheckpointAFailedBatch(t *testing.T) {
	t.Parallel()
	fail := false
	s := open(t, processors.Func(func(context.Context, []kcl.Record) error {
		if fail {
			return errBoom
		}
		return nil
	}, processors.FuncOptions{}))
	require.NoError(t, s.deliver(recs(1, 3)...))
	fail = true
	require.ErrorIs(t, s.deliver(recs(4, 6)...), errBoom)
	require.NoError(t, s.shutdown())
	require.Equal(t, []string{"3"}, s.row.all())
}

func TestEachGoesOnAtTheRecordThatFailed(t *testing.T) {
	t.Parallel()
	var got seen
	fail := true
	s := open(t, processors.Each(func(_ context.Context, r kcl.Record) error {
		got.add(r)
		if string(r.Data()) == "3" && fail {
			return errBoom
		}
		return nil
	}, processors.FuncOptions{Checkpoints: processors.Checkpoints{Records: 2, Interval: never}}))
	require.ErrorIs(t, s.deliver(recs(1, 5)...), errBoom)
	require.Equal(t, []string{"2"}, s.row.all(), "checkpoints reach into a batch")
	fail = false
	require.NoError(t, s.deliver(recs(1, 5)...))
	require.Equal(t, []string{"1", "2", "3", "3", "4", "5"}, got.list())
	require.NoError(t, s.end())
	require.Equal(t, []string{"2", "4", "5"}, s.row.all())
}

func TestEachStopsWithItsContext(t *testing.T) {
	t.Parallel()
	var s *shard
	var got seen
	s = open(t, processors.Each(func(_ context.Context, r kcl.Record) error {
		got.add(r)
		if string(r.Data()) == "2" {
			s.cancel(kcl.ErrLeaseLost)
		}
		return nil
	}, processors.FuncOptions{}))
	require.ErrorIs(t, s.deliver(recs(1, 5)...), kcl.ErrLeaseLost)
	s.lose()
	require.Equal(t, []string{"1", "2"}, got.list())
	require.Empty(t, s.row.all())
}

// After a stop and a restart no record comes twice.
func TestX09FuncThroughTheLibrary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorker(t)
		var got seen
		f := func() kcl.Processor {
			return processors.Func(func(_ context.Context, records []kcl.Record) error {
				got.add(records...)
				return nil
			}, processors.FuncOptions{Logger: w.cfg.Logger})
		}
		w.start(f)
		w.put(1, 50)
		eventually(t, "50 records", func() bool { return len(got.list()) == 50 })
		w.stop()
		w.put(51, 60)
		w.start(f)
		eventually(t, "60 records", func() bool { return len(got.list()) == 60 })
		before := w.checkpoint()
		eventually(t, "checkpoint by time", func() bool { return w.checkpoint() != before })
		w.split()
		eventually(t, "the end of the shard", func() bool { return w.checkpoint() == kcl.SentinelShardEnd })
		w.stop()
		require.Equal(t, numbers(1, 60), got.list())
	})
}
