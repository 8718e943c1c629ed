package polling_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/polling"
)

// reading is what one of several applications got out of a shard.
type reading struct {
	watch observer
	bytes int
	calls int
	gap   time.Duration // the longest time without an answer
}

// compete lets n applications read a shard at the same time.
func compete(t *testing.T, r *rig, n int, lasting time.Duration) []*reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasting)
	defer cancel()
	var wg sync.WaitGroup
	got := make([]*reading, n)
	for i := range n {
		app := &reading{}
		got[i] = app
		wg.Go(func() {
			last := time.Now()
			f := r.fetcher(func(c *polling.Config) { c.Observer = &app.watch })
			for b, err := range f.Batches(ctx, shard0, kcl.Position{}) {
				if err != nil {
					break
				}
				app.calls++
				app.gap = max(app.gap, time.Since(last))
				last = time.Now()
				for _, rec := range b.Records {
					app.bytes += len(rec.Data())
				}
			}
		})
	}
	wg.Wait()
	return got
}

// TestP04SharedBytes: applications with a backlog get equal parts of the 2 MiB/s of a shard, and
// use most of it. More of them, and for longer, are in TestP04Model.
func TestP04SharedBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := start(t, 1)
		r.put(0, 350, 200<<10, shard0) // 70 MiB: more than any can read
		const lasting = 30 * time.Second
		all, least, most := 0, 1<<62, 0
		for _, app := range compete(t, r, 2, lasting) {
			all += app.bytes
			least, most = min(least, app.bytes), max(most, app.bytes)
			require.Less(t, app.gap, 20*time.Second, "no application waits for long")
		}
		rate := float64(all) / lasting.Seconds()
		t.Logf("%.2f MiB/s, from %.0f to %.0f MiB each", rate/(1<<20), float64(least)/(1<<20), float64(most)/(1<<20))
		require.Greater(t, rate, 0.8*(2<<20), "the shard's throughput is used")
		require.LessOrEqual(t, float64(most), 2*float64(least), "and shared")
	})
}

// TestP04SharedCalls: applications at the tip of a busy shard come to equal parts of its five calls
// a second.
func TestP04SharedCalls(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := start(t, 1)
				const lasting = 2 * time.Minute
				key := r.hashKey(shard0)
				var writing sync.WaitGroup
				writing.Go(func() {
					for range int(lasting / (100 * time.Millisecond)) {
						_, err := r.client.PutRecord(
							context.Background(),
							&kinesis.PutRecordInput{
								StreamName:      aws.String(stream),
								PartitionKey:    aws.String("k"),
								ExplicitHashKey: key,
								Data:            []byte("0"),
							},
						)
						if err != nil {
							panic(err)
						}
						time.Sleep(100 * time.Millisecond)
					}
				})
				apps := compete(t, r, n, lasting)
				writing.Wait()
				all, refused, least, most := 0, 0, 1<<62, 0
				for _, app := range apps {
					all += app.calls
					refused += len(app.watch.retried)
					least, most = min(least, app.calls), max(most, app.calls)
					require.Less(t, app.gap, 15*time.Second, "no application stalls")
				}
				t.Logf("%d answers and %d refusals, %d to %d answers each", all, refused, least, most)
				require.Greater(t, float64(all), 0.6*5*lasting.Seconds(), "the shard's calls are used")
				require.LessOrEqual(t, float64(most), 1.5*float64(least), "and shared")
				require.Less(t, float64(refused), 0.4*float64(all), "without a storm of refusals")
			})
		})
	}
}
