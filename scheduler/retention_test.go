package scheduler_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/testsize"
	"github.com/kinesis-go/kcl/metrics"
	"github.com/kinesis-go/kcl/scheduler"
)

// counter adds up what is counted of one metric.
type counter struct {
	of *metrics.Desc
	n  atomic.Int64
}

func (c *counter) Series(d *metrics.Desc, _ ...string) metrics.Series {
	if d == c.of {
		return c
	}
	return nowhere{}
}

func (c *counter) Remove(*metrics.Desc, ...string) {}

func (c *counter) Record(v float64) { c.n.Add(int64(v)) }

// rareChores makes the periodic work of a worker rare, because days pass in these tests.
func rareChores(c *scheduler.Config) {
	c.FailoverTime, c.ShardSyncInterval = 10*time.Minute, time.Hour
}

// The processor is blocked for hours, and then goes on under the same lease. Records that have
// expired meanwhile are logged and counted. Nothing is logged if the stream keeps records for
// longer, or if its retention was extended in time.
func TestRetentionOvertakesARunningShard(t *testing.T) {
	t.Parallel()
	const warning = "left the retention period before reading went on"
	for name, test := range testsize.Some(1, map[string]struct {
		blocked time.Duration
		keep    int32 // hours, from the fifth hour on
		loses   bool
	}{
		"for longer than records are kept": {30 * time.Hour, 0, true},
		"for less":                         {23 * time.Hour, 0, false},
		"and records are kept for longer":  {30 * time.Hour, 48, false},
	}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(1))
				log, gaps := r.capture(), &counter{of: metrics.RetentionGaps}
				w := r.worker("a", mode, rareChores, func(c *scheduler.Config) { c.Metrics = metrics.New(gaps) })
				release, first := make(chan struct{}), true
				w.do = func(ctx context.Context, p *processor, in kcl.ProcessRecordsInput) error {
					if first {
						first = false
						<-release
					}
					r.audit.mu.Lock()
					for _, rec := range in.Records {
						r.audit.got[string(rec.Data())]++
					}
					r.audit.mu.Unlock()
					return p.checkpoint(ctx, in.Checkpointer)
				}
				w.start()
				for i := range int(test.blocked / (10 * time.Minute)) {
					if i == 30 && test.keep > 0 {
						_, err := r.admin.IncreaseStreamRetentionPeriod(t.Context(),
							&kinesis.IncreaseStreamRetentionPeriodInput{
								StreamName:           aws.String(streamName),
								RetentionPeriodHours: &test.keep,
							})
						require.NoError(t, err)
					}
					r.put("k")
					time.Sleep(10 * time.Minute)
				}
				close(release)
				time.Sleep(10 * time.Minute)
				r.put("k")
				time.Sleep(time.Minute)
				require.NoError(t, w.stop())
				require.Equal(t, test.loses, !r.audit.complete())
				if test.loses {
					require.Equal(t, 1, log.count(warning))
					require.EqualValues(t, 1, gaps.n.Load())
				} else {
					require.Zero(t, log.count(warning))
					require.Zero(t, gaps.n.Load())
				}
			})
		})
	}
}

// A shard that brings nothing for more than a day has lost nothing.
func TestIdleShardIsNotOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		log, gaps := r.capture(), &counter{of: metrics.RetentionGaps}
		w := r.worker("a", rareChores, func(c *scheduler.Config) { c.Metrics = metrics.New(gaps) }).start()
		r.produce(1, time.Second, keys(3))
		time.Sleep(25 * time.Hour)
		r.produce(1, time.Second, keys(3))
		r.finished(time.Minute)
		require.NoError(t, w.stop())
		require.Zero(t, gaps.n.Load())
		require.Zero(t, log.count("retention period"))
		r.audit.check(0)
	})
}

// A worker at LATEST was away for longer than records are kept, before its first checkpoint.
func TestRetentionPassesThePinOfLatest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		gaps := &counter{of: metrics.RetentionGaps}
		latest := from(kcl.InitialPosition{Kind: kcl.Latest})
		w := r.worker("a", latest).start()
		r.eventually(time.Minute, "it is read", func() bool { return r.owned() == 1 })
		require.NoError(t, w.stop())
		require.True(t, r.row(r.open()[0]).Checkpoint.IsSentinel())
		time.Sleep(30 * time.Hour)
		w = r.worker("b", latest, func(c *scheduler.Config) { c.Metrics = metrics.New(gaps) }).start()
		r.eventually(time.Minute, "it is read", func() bool { return r.owned() == 1 })
		time.Sleep(time.Minute)
		require.EqualValues(t, 1, gaps.n.Load())
		require.NoError(t, w.stop())
	})
}
