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
	minRetention = 24 * time.Hour   // the shortest retention period on AWS
	retentionAge = 10 * time.Minute // the maximal age of the value for a position that may exceed it
	retentionTry = time.Minute      // the wait after a failed call for the retention period
)

// retention remembers how long a stream keeps its records. That time can change.
type retention struct {
	mu    sync.Mutex    // guards the fields below
	keeps time.Duration // 0 if unknown
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

// readPlace is how far reading had come when a batch was read.
type readPlace struct {
	at     time.Time     // when the batch was read; zero before the first
	behind time.Duration // how far the batch was behind the tip then
}

// age returns the age of the records after the batch. It uses the wall clock and the monotonic
// clock, because one of them stands still while a machine is suspended.
func (r readPlace) age(now time.Time) time.Duration {
	return r.behind + max(now.Sub(r.at), now.Round(0).Sub(r.at.Round(0)))
}

// gapWatch detects that a position left the retention period before it was read. The service then
// continues at its oldest record without an error. The processor may have taken too long for the
// previous batch. The service may not have answered. Or records come faster than they are read.
type gapWatch struct {
	*shardLease
	last           readPlace
	checkpointSeen bool       // the first record after the start has been compared with the checkpoint
	gaps           logLimiter // positions that had left the retention period
}

// begin forgets the last place. A shard at LATEST has no checkpointed record that could be missing.
// For such a shard begin checks the age of the pin, by the service's clock.
func (g *gapWatch) begin(ctx context.Context, start kcl.Position) {
	g.last, g.checkpointSeen = readPlace{}, false
	now, pin := g.stream.lineage.pin(), g.start.PinnedAt
	if g.start.Checkpoint.SequenceNumber == kcl.SentinelLatest && !pin.IsZero() && !now.IsZero() {
		g.check(ctx, now.Sub(pin), start, nil)
	}
}

// observe compares a batch with the place of the previous batch. from is the position at which the
// batch was read.
func (g *gapWatch) observe(ctx context.Context, batch kcl.Batch, from kcl.Position) {
	last := g.last
	g.last = readPlace{batch.ReceivedAt, batch.BehindLatest}
	if !last.at.IsZero() {
		g.check(ctx, last.age(batch.ReceivedAt), from, batch.Records)
	}
	g.checkCheckpoint(ctx, batch.Records)
}

// check counts and logs a gap if age exceeds the retention period.
func (g *gapWatch) check(ctx context.Context, age time.Duration, from kcl.Position, records []kcl.Record) {
	gone, keeps := g.cfg.control.pastRetention(ctx, g.stream, age)
	if !gone {
		return
	}
	g.metrics.RetentionGap()
	count, due := g.gaps.add(1)
	if !due {
		return
	}
	attrs := []slog.Attr{
		slog.Any("position", from), slog.Duration("age", age), slog.Duration("retention", keeps), slog.Int("count", count),
	}
	if len(records) > 0 {
		attrs = append(attrs, slog.Any("resumed", records[0].Position()),
			slog.Time("arrived", records[0].ApproximateArrival()))
	}
	g.log.LogAttrs(ctx, slog.LevelError, "the position left the retention period before reading went on; "+
		"unread records after it are lost: process faster, or extend the retention period", attrs...)
}

// checkCheckpoint logs once that the record at the checkpoint is no longer in the stream.
func (g *gapWatch) checkCheckpoint(ctx context.Context, records []kcl.Record) {
	if g.checkpointSeen || len(records) == 0 {
		return
	}
	g.checkpointSeen = true
	at, first := g.start.Checkpoint, records[0].Position()
	at.SubSequenceNumber = 0
	if at.IsZero() || at.IsSentinel() || first.Compare(at) <= 0 {
		return
	}
	g.metrics.RetentionGap()
	g.log.WarnContext(ctx,
		"the record at the checkpoint has left the retention period; unread records of about its age are lost",
		"checkpoint", g.start.Checkpoint, "position", first, "arrived", records[0].ApproximateArrival())
}
