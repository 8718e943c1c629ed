package scheduler

import (
	"context"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// shardLease is a lease that this worker holds, with the values that all parts of its consumer use.
type shardLease struct {
	cfg      *consumerConfig
	stream   *stream
	holder   *holder.Holder
	key      string
	shard    kcl.Shard
	start    leases.Lease // the row with the checkpoint at which reading starts
	progress *progress
	metrics  *metrics.Shard
	log      *slog.Logger
	arrived  bool // the shard has been read up to the target of StopAtTip
}

func newShardLease(cfg *consumerConfig, st *stream, h *holder.Holder) *shardLease {
	row := h.Lease()
	return &shardLease{
		cfg: cfg, stream: st, holder: h, key: row.Key, start: row, shard: st.lineage.known(row),
		progress: newProgress(cfg.mode),
		metrics:  cfg.metrics.Shard(st.id.String(), row.ShardID),
		log:      cfg.log.With("stream", st.label, "shard", row.ShardID),
	}
}

// pause waits for d. A request to finish or the end of ctx ends the wait early.
func (l *shardLease) pause(ctx context.Context, d time.Duration) outcome {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return done
	case <-ctx.Done():
		return lost
	case <-l.holder.Stopping():
	case <-l.stream.stopped:
	}
	return stopped
}

// stopping tells whether the consumer is asked to finish.
func (l *shardLease) stopping() bool {
	select {
	case <-l.holder.Stopping():
	case <-l.stream.stopped:
	default:
		return false
	}
	return true
}

// startsAtATime tells whether the shard starts at LATEST or AT_TIMESTAMP.
func (l *shardLease) startsAtATime() bool {
	s := l.start.Checkpoint.SequenceNumber
	return s == kcl.SentinelLatest || s == kcl.SentinelAtTimestamp
}
