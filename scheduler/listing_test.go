package scheduler_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// ListShards whose pages never end: each has the token of the one before, or always another one,
// without a new shard or with a new one each time. A listing comes to an end, is not tried again
// without a pause, and Healthy tells.
func TestEndlessPages(t *testing.T) {
	t.Parallel()
	for name, page := range testsize.Some(1, map[string]func(n int64) (token string, shard int64){
		"one token":       func(int64) (string, int64) { return "again", 0 },
		"always another":  func(n int64) (string, int64) { return fmt.Sprint(n), 0 },
		"and a new shard": func(n int64) (string, int64) { return fmt.Sprint(n), n },
	}) {
		for _, start := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, start=%t", name, start), func(t *testing.T) {
				t.Parallel()
				modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
					r := newRig(t, oneStream(2))
					log := r.capture()
					w := r.worker("a", mode)
					if !start {
						w.start()
						r.produce(10, time.Second, keys(6))
						r.finished(time.Minute)
					}
					var calls atomic.Int64
					heal := r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
						if c.Operation != "ListShards" || c.Client != "a" {
							return nil
						}
						token, shard := page(calls.Add(1))
						body, _ := json.Marshal(map[string]any{
							"NextToken": token,
							"Shards":    []map[string]any{{"ShardId": fmt.Sprintf("shardId-%012d", shard)}},
						})
						return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Delay(time.Second), kinesistest.Answer(200, body)}}
					})
					if start {
						w.start()
					}
					time.Sleep(testsize.Pick(11*time.Minute, 12*time.Minute, 20*time.Minute))
					require.Less(t, calls.Load(), int64(1200))
					h := w.Healthy()
					require.Error(t, h)
					if !start {
						require.ErrorContains(t, h, "the pages of ListShards do not come to an end")
						require.ErrorContains(t, h, "last synchronised at")
					}
					require.NotZero(t, log.count("level=WARN")+log.count("level=ERROR"))
					heal()
					r.put(keys(6)...)
					r.finished(3 * time.Minute)
					time.Sleep(time.Minute)
					require.NoError(t, w.Healthy())
					require.NoError(t, w.stop())
				})
			})
		}
	}
}

// The second page of ListShards is throttled for a long time: the first page alone is not the list,
// at the start and later.
func TestFirstPageIsNotTheList(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		cfg := oneStream(testsize.Pick(2, 4, 4))
		cfg.PageSize = testsize.Pick(1, 3, 3)
		r := newRig(t, cfg)
		throttle := func() (remove func()) {
			return r.srv.Inject(kinesistest.Fault{
				Operation: "ListShards", Client: "a", When: func(c *kinesistest.Call) bool {
					return strings.Contains(string(c.Body),
						"NextToken")
				},
				Do: []kinesistest.Action{kinesistest.Fail("LimitExceededException", "Rate exceeded")},
			})
		}
		remove := throttle()
		w := r.worker("a", mode).start()
		time.Sleep(testsize.Pick(3*time.Minute, 10*time.Minute, 10*time.Minute))
		require.Empty(t, r.table())
		require.ErrorContains(t, w.Healthy(), "Rate exceeded")
		remove()
		r.produce(2, time.Second, keys(20))
		r.finished(2 * time.Minute)
		time.Sleep(2 * time.Minute)
		require.NoError(t, w.Healthy())

		remove = throttle()
		time.Sleep(10 * time.Minute)
		require.ErrorContains(t, w.Healthy(), "the shards of stream orders cannot be listed since")
		remove()
		time.Sleep(2 * time.Minute)
		require.NoError(t, w.Healthy())
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}
