package scheduler

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
)

const (
	leastRetention = 24 * time.Hour   // what a stream keeps at least, on AWS
	retentionAge   = 10 * time.Minute // how old the answer may be, once a position is as old as that
	retentionTry   = time.Minute      // before a question that failed is asked again
)

// retention is for how long a stream keeps its records. It can be changed while
// the stream is read.
type retention struct {
	mu    sync.Mutex    // guards the fields below
	keeps time.Duration // 0 when the service did not say
	asked time.Time

	shared *retry.Shared // the shards of the stream ask together
}

func (r *retention) update(d *types.StreamDescriptionSummary) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keeps, r.asked = time.Duration(aws.ToInt32(d.RetentionPeriodHours))*time.Hour, time.Now()
}

func (r *retention) known() (keeps time.Duration, age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keeps, time.Since(r.asked)
}

// reached is how far reading had come with the last batch.
type reached struct {
	at     time.Time     // when that was read; zero before the first
	behind time.Duration // how far it was behind the tip then
}

// age is how old the place behind the batch has become. A suspended machine stops
// one of the two clocks.
func (r reached) age(now time.Time) time.Duration {
	return r.behind + max(now.Sub(r.at), now.Round(0).Sub(r.at.Round(0)))
}

// overtaken tells when the place at which this batch was to begin had left the
// retention period before it was read: because the processor had the batch
// before for so long, the service did not answer, or the shard is slower than
// its records come. The service goes on at its oldest record without a word.
func (c *consumer) overtaken(ctx context.Context, batch kcl.Batch) {
	was := c.reached
	c.reached = reached{batch.ReceivedAt, batch.BehindLatest}
	if was.at.IsZero() {
		return
	}
	c.gap(ctx, was.age(batch.ReceivedAt), batch.Records)
}

// gap tells of, and counts, reading on at a place of that age, if it had left
// the retention period.
func (c *consumer) gap(ctx context.Context, age time.Duration, records []kcl.Record) {
	gone, keeps := c.s.control.pastRetention(ctx, c.stream, age)
	if !gone {
		return
	}
	c.metrics.RetentionGap()
	count, tell := c.gaps.add(1)
	if !tell {
		return
	}
	attrs := []slog.Attr{
		slog.Any("position", c.next), slog.Duration("age", age), slog.Duration("retention", keeps), slog.Int("count", count),
	}
	if len(records) > 0 {
		attrs = append(attrs, slog.Any("resumed", records[0].Position()), slog.Time("arrived", records[0].ApproximateArrival()))
	}
	c.log.LogAttrs(ctx, slog.LevelError, "the position has left the retention period before it was read on from; what was unread behind it and as old is lost: "+
		"process faster, or keep records for longer", attrs...)
}

// meet tells when the record at the checkpoint, where reading starts, is not
// there any more: the service then starts at the oldest record without a word.
func (c *consumer) meet(ctx context.Context, records []kcl.Record) {
	if c.met || len(records) == 0 {
		return
	}
	c.met = true
	at, first := c.start.Checkpoint, records[0].Position()
	at.SubSequenceNumber = 0
	if at.IsZero() || at.IsSentinel() || first.Compare(at) <= 0 {
		return
	}
	c.metrics.RetentionGap()
	c.log.WarnContext(ctx, "the record at the checkpoint has left the retention period; if more behind it was unread and as old, that is lost",
		"checkpoint", c.start.Checkpoint, "position", first, "arrived", records[0].ApproximateArrival())
}

// begins readies the consumer to notice a gap from its start on. A shard at
// LATEST has no record that could be missed, but the time from which it counts,
// by the service's clock.
func (c *consumer) begins(ctx context.Context) {
	c.met, c.reached = false, reached{}
	now, pin := c.stream.lineage.pin(), c.start.PinnedAt
	if c.start.Checkpoint.SequenceNumber == kcl.SentinelLatest && !pin.IsZero() && !now.IsZero() {
		c.gap(ctx, now.Sub(pin), nil)
	}
}
