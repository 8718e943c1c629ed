package scheduler_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// omits has the next n lists of shards that a worker's shard sync asks for leave
// shards out, all without ids; asked counts those lists. Pages and other clients
// are left alone.
func (r *rig) omits(client string, n int, ids ...string) (asked *atomic.Int32) {
	asked = new(atomic.Int32)
	r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
		if c.Operation != "ListShards" || c.Client != client || !strings.Contains(string(c.Body), "MaxResults") {
			return nil // the count of the fleet asks for no MaxResults
		}
		if strings.Contains(string(c.Body), "ShardFilter") {
			if int(asked.Load()) > n {
				return nil
			}
		} else if int(asked.Add(1)) > n {
			return nil
		}
		return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.OmitShards(ids...)}}
	})
	return asked
}

// TestIncompleteHashRangeVectors: the first list of shards, for an empty table,
// lacks hash keys for a number of times. Up to twice that passes unnoticed; then it
// is an error, which the start of a worker waits out. Nothing is left out.
func TestIncompleteHashRangeVectors(t *testing.T) {
	t.Parallel()
	positions := map[string]kcl.InitialPosition{
		"LATEST":       {Kind: kcl.Latest},
		"TRIM_HORIZON": {Kind: kcl.TrimHorizon},
		// when the bubble begins
		"AT_TIMESTAMP": {Kind: kcl.AtTimestamp, Timestamp: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
	for name, position := range positions {
		for _, tc := range []struct {
			omits  int
			shards []int // none: all
			tells  []string
		}{
			{0, []int{1}, nil},
			{1, []int{1}, nil},
			{2, []int{1}, nil},
			{3, []int{0}, []string{"none of the 2 shards where reading begins has the hash keys from 0 to " +
				"113427455640312821154458202477256070484, before shardId-000000000001"}},
			{3, []int{1}, []string{"from 113427455640312821154458202477256070485 to 226854911280625642308916404954512140969, " +
				"after shardId-000000000000, before shardId-000000000002"}},
			{3, []int{2}, []string{"to 340282366920938463463374607431768211455, after shardId-000000000001"}},
			{3, []int{0, 2}, []string{"of the 1 shards", "and 1 other range(s)"}},
			{3, nil, []string{"of the 0 shards", "from 0 to 340282366920938463463374607431768211455:"}},
			{40, []int{1}, []string{"stream orders: ", "`aws kinesis list-shards --stream-name orders`"}},
		} {
			shards := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(tc.shards)), " and "), "[]")
			t.Run(fmt.Sprintf("%s %d times without %s", name, tc.omits, shards), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, oneStream(3))
					if position.Kind != kcl.Latest {
						r.put(keys(10)...)
					}
					var ids []string
					for _, i := range tc.shards {
						ids = append(ids, r.open()[i])
					}
					asked := r.omits("a", tc.omits, ids...)
					var log bytes.Buffer
					w := r.worker("a", from(position), func(c *scheduler.Config) {
						c.Logger = slog.New(slog.NewTextHandler(&log,
							nil))
					}).start()
					r.eventually(20*time.Minute, "the list is complete", func() bool {
						if int(asked.Load()) <= tc.omits {
							require.Empty(t, r.table(), "no row is made before")
						}
						return len(r.table()) == 3
					})
					r.eventually(time.Minute, "all shards are read", func() bool { return r.owned() == 3 })
					require.EqualValues(t, tc.omits+1, asked.Load(), "lists")
					require.NoError(t, w.Healthy())
					require.NoError(t, w.Status().Streams[0].Err)
					r.put(keys(10)...)
					r.finished(time.Minute)
					require.NoError(t, w.stop())
					r.audit.check(0)
					if tc.tells == nil {
						require.NotContains(t, log.String(), "level=WARN")
					}
					for _, words := range tc.tells {
						require.Contains(t, log.String(), words)
					}
				})
			})
		}
	}
}

// A table with rows is no concern of the first list: neither a restart nor a
// second worker waits.
func TestIncompleteListWithRows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(3))
		a := r.worker("a").start()
		r.eventually(10*time.Second, "all shards are read", func() bool { return r.owned() == 3 })
		r.omits("b", 1000, r.open()[1])
		b := r.worker("b").start()
		r.eventually(10*time.Second, "the second is ready", func() bool { return b.Healthy() == nil })
		r.produce(2, time.Second, keys(10))
		require.NoError(t, a.stop())
		r.eventually(10*time.Second, "all shards are read", func() bool { return r.owned() == 3 })
		r.put(keys(10)...)
		r.finished(time.Minute)
		require.NoError(t, b.Healthy())
		require.NoError(t, b.stop())
		r.audit.check(0)
	})
}

// What one worker cannot list, another one can: its rows do for both.
func TestIncompleteListOfOneWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(3))
		r.omits("a", 1000, r.open()[1])
		a := r.worker("a").start()
		time.Sleep(time.Minute)
		require.ErrorContains(t, a.Healthy(),
			"not running, but starting: synchronise shards: the list of shards is incomplete: stream orders: ")
		require.Empty(t, r.table())
		b := r.worker("b").start()
		r.eventually(time.Minute, "both are ready", func() bool {
			return a.Healthy() == nil && b.Healthy() == nil &&
				r.owned() == 3
		})
		r.put(keys(10)...)
		r.finished(time.Minute)
		require.NoError(t, a.stop())
		require.NoError(t, b.stop())
		r.audit.check(0)
	})
}

// A stop does not wait for the list.
func TestStopDuringAnIncompleteList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(3))
		asked := r.omits("a", 1000)
		w := r.worker("a").start()
		r.eventually(time.Minute, "the list was asked for", func() bool { return asked.Load() == 2 })
		before := time.Now()
		require.NoError(t, w.stop())
		require.Less(t, time.Since(before), time.Second)
	})
}

// Of two streams one has an incomplete list: the other is read, health tells, and
// nothing is lost when the list is complete at last; so it is when a tracker names
// the streams.
func TestIncompleteListOfOneStream(t *testing.T) {
	t.Parallel()
	for _, tracked := range []bool{false, true} {
		t.Run(map[bool]string{false: "configured", true: "tracked"}[tracked], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, kinesistest.Config{Streams: []kinesistest.StreamConfig{
					{Name: streamName, Shards: 2},
					{Name: "bills", Shards: 1},
				}})
				r.put(keys(10)...)
				r.putIn("bills", []string{"bill0", "bill1"})
				var asked atomic.Int32
				heal := r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
					if c.Operation != "ListShards" || c.Client != "a" || c.Stream != "bills" {
						return nil
					}
					asked.Add(1)
					return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.OmitShards()}}
				})
				w := r.worker("a", func(c *scheduler.Config) {
					list := []scheduler.StreamConfig{
						{Name: "bills", InitialPosition: kcl.InitialPosition{Kind: kcl.TrimHorizon}},
						{Name: streamName, InitialPosition: kcl.InitialPosition{Kind: kcl.TrimHorizon}},
					}
					c.Streams = list
					if tracked {
						c.Streams = nil
						c.StreamTracker = func(context.Context) ([]scheduler.StreamConfig, error) { return list, nil }
					}
				}).start()
				r.eventually(20*time.Second, "the other is read", func() bool { return r.owned() == 2 })
				time.Sleep(20 * time.Second)
				require.Greater(t, asked.Load(), int32(6), "the list is asked for again at once")
				time.Sleep(10 * time.Minute)
				require.Regexp(t, `stream 000000000000:bills:\d+ cannot be listed since .*: the list of shards is incomplete`,
					w.Healthy().Error())
				require.Len(t, r.table(), 2)
				heal()
				r.eventually(time.Minute, "all is read", func() bool { return r.owned() == 3 })
				require.NoError(t, w.Healthy())
				r.put(keys(10)...)
				r.putIn("bills", []string{"bill0", "bill1"})
				r.finished(time.Minute)
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// A closed shard that is left out, with records to be read and a child that is
// listed, has no hash keys that another one lacks; the shards that were open at the
// horizon tell. Left out there too, it is waited for. Once its child had a row, it
// would not be read any more.
func TestIncompleteListOfAReshardedStream(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		merge bool // else a split
		one   bool // only the list without a filter
		want  bool // an error
	}{
		{"a split shard in one list", false, true, false},
		{"a split shard in both lists", false, false, true},
		{"a merged shard in one list", true, true, false},
		{"a merged shard in both lists", true, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(2))
				r.put(keys(10)...)
				old := r.open()
				if tc.merge {
					r.merge(old[0], old[1])
				} else {
					r.split(old[0])
				}
				r.put(keys(10)...)
				var n atomic.Int32
				heal := r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
					filtered := strings.Contains(string(c.Body), "ShardFilter")
					if c.Operation != "ListShards" || c.Client != "a" || (filtered && tc.one) {
						return nil
					}
					n.Add(1)
					return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.OmitShards(old[0])}}
				})
				w := r.worker("a", from(kcl.InitialPosition{Kind: kcl.TrimHorizon})).start()
				time.Sleep(2 * time.Minute)
				require.NotZero(t, n.Load())
				if !tc.want {
					require.True(t, r.audit.complete(), "it is read although one list lacks it")
				} else {
					require.ErrorContains(t, w.Healthy(),
						"shards where reading begins has the hash keys from 0 to 170141183460469231731687303715884105727, before "+old[1])
					require.Empty(t, r.table())
				}
				heal()
				r.finished(time.Minute)
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}
