package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/scheduler"
)

// A machine is suspended while a batch waits: when it wakes, the lease may be another worker's.
// Nothing is delivered before that is looked at, neither the next batch nor one that is tried
// again.
func TestNothingIsDeliveredAfterASuspension(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprintf("the batch failed %t", fails), func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(1))
				r.capture()
				w := r.worker("a", mode)
				var slept atomic.Int64
				w.SetWallClock(func() time.Duration { return time.Duration(slept.Load()) })
				var asleep atomic.Pointer[processor]
				w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
					if asleep.Load() == p {
						r.audit.violation("delivered under a lease that may be lost")
					}
					if asleep.Load() != nil {
						p.take(in)
						return p.checkpoint(ctx, in.Checkpointer)
					}
					r.put("k") // the batch that waits
					time.Sleep(2 * time.Second)
					slept.Store(int64(time.Minute))
					asleep.Store(p)
					if fails {
						return errors.New("not today")
					}
					return nil
				}
				w.start()
				r.put("k")
				time.Sleep(time.Minute)
				r.finished(time.Minute)
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}

// A stop does not checkpoint a batch that has failed, also when the library makes the checkpoints.
func TestStopDoesNotCheckpointAFailedBatch(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
		r := newRig(t, oneStream(1))
		r.capture()
		w := r.worker("a", mode, func(c *scheduler.Config) { c.CheckpointInterval = time.Hour })
		var failing atomic.Bool
		w.do = func(_ context.Context, p *processor, in kcl.ProcessRecordsInput) error {
			if failing.Load() {
				return errors.New("never")
			}
			p.take(in)
			return nil
		}
		w.shutdown = func(context.Context, *processor, kcl.ShutdownRequestedInput) error { return nil }
		w.start()
		r.produce(3, 2*time.Second, keys(2))
		r.finished(time.Minute)
		shard := r.open()[0]
		processed := w.shard(shard).Position
		failing.Store(true)
		r.produce(3, 2*time.Second, keys(2))
		require.Error(t, w.shard(shard).Err)
		require.NoError(t, w.stop())
		require.Equal(t, processed, r.row(shard).Checkpoint)
		w = r.worker("b", mode).start()
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		r.audit.check(0)
	})
}

// SHARD_END covers records that were delivered and never checkpointed: a warning names them, unless
// nothing is open.
func TestUncheckpointedEndIsTold(t *testing.T) {
	t.Parallel()
	const warning = "shard ended, and delivered records have no checkpoint"
	for name, tc := range map[string]struct {
		checkpoints bool
		interval    time.Duration
		warnings    int
	}{
		"never checkpointed":       {warnings: 1},
		"checkpointed":             {checkpoints: true},
		"the library's checkpoint": {interval: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				log := r.capture()
				shard := r.open()[0]
				w := r.worker("a", func(c *scheduler.Config) { c.CheckpointInterval = tc.interval })
				w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
					p.take(in)
					if tc.checkpoints {
						return p.checkpoint(ctx, in.Checkpointer)
					}
					return nil
				}
				w.start()
				r.put(keys(3)...)
				r.finished(time.Minute)
				last := w.shard(shard).Position
				r.split(shard)
				r.eventually(time.Minute, "the end", func() bool { return r.row(shard).Finished() })
				require.NoError(t, w.stop())
				require.Equal(t, tc.warnings, log.count(warning))
				require.Equal(t, tc.warnings, log.count("delivered="+last.String()))
			})
		})
	}
}

// Healthy reports a shard with data from which only empty batches come, even if its lag goes up and
// down. It does not report a shard whose lag shrinks.
func TestOnlyEmptyBatchesAreTold(t *testing.T) {
	t.Parallel()
	for name, tc := range testsize.Some(2, map[string]struct {
		behind func(n int64) int64 // milliseconds at the n-th answer
		stalls bool
	}{
		"constant":     {func(int64) int64 { return 60000 }, true},
		"grows":        {func(n int64) int64 { return 60000 + 1000*n }, true},
		"trembles":     {func(n int64) int64 { return 60000 + n%2 }, true},
		"saw tooth":    {func(n int64) int64 { return 60000 + 1000*(10-n%10) }, true},
		"comes nearer": {func(n int64) int64 { return 3600_000 - 1000*n }, false},
		"at the tip":   {func(n int64) int64 { return n % 2 }, false},
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				r.capture()
				var n atomic.Int64
				r.srv.OnCall(func(c *kinesistest.Call) *kinesistest.Fault {
					if c.Operation != "GetRecords" {
						return nil
					}
					body := fmt.Sprintf(`{"Records":[],"NextShardIterator":"AAAA","MillisBehindLatest":%d}`, tc.behind(n.Add(1)))
					return &kinesistest.Fault{Do: []kinesistest.Action{kinesistest.Answer(200, []byte(body))}}
				})
				w := r.worker("a", func(c *scheduler.Config) { c.RetrievalMode = scheduler.Polling }).start()
				for range 10 {
					time.Sleep(time.Minute)
					if !tc.stalls {
						require.NoError(t, w.Healthy())
					}
				}
				if tc.stalls {
					require.ErrorContains(t, w.Healthy(), "only empty batches")
				}
				require.NoError(t, w.stop())
			})
		})
	}
}

// A trial of polling that neither brings a batch nor fails for good has an end: fan-out is tried
// again, and works.
func TestTrialOfPollingHasAnEnd(t *testing.T) {
	t.Parallel()
	for name, polling := range map[string]kinesistest.Action{
		"throttled": kinesistest.Fail("ProvisionedThroughputExceededException", "slow down"),
		"silent":    kinesistest.Silence(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(1))
				w := r.worker("a").start()
				r.put(keys(3)...)
				r.finished(time.Minute)
				r.srv.Inject(kinesistest.Fault{Operation: "GetRecords", Do: []kinesistest.Action{polling}})
				heal := r.srv.Inject(kinesistest.Fault{
					Operation: "SubscribeToShard",
					Do:        []kinesistest.Action{kinesistest.Fail("InternalFailureException", "no")},
				})
				r.srv.ResetConnections()
				time.Sleep(5 * time.Minute)
				heal()
				r.put(keys(3)...)
				r.finished(2 * time.Minute)
				require.True(t, w.reads(scheduler.EFO))
				require.NoError(t, w.stop())
				r.audit.check(0)
			})
		})
	}
}
