package polling

import (
	"context"
	"iter"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardend"
	"github.com/kinesis-go/kcl/internal/shardread"
)

// Fetcher reads one shard with GetRecords (PrefetchRecordsPublisher in the
// KCL). It belongs to one goroutine.
type Fetcher struct {
	cfg  Config
	pace pace // outlives a call of Batches: the service counts per shard, not per reader
	http aws.HTTPClient
}

// NewFetcher returns a Fetcher. It dials nothing and starts nothing; a mistake
// in cfg is the first thing that Batches yields.
func NewFetcher(cfg Config) *Fetcher {
	f := &Fetcher{cfg: cfg.withDefaults()}
	if cfg.Client != nil { // else Batches says so
		f.http = line.NewClient(cfg.Client.Options().HTTPClient)
	}
	return f
}

// Batches reads the shard from a position until the shard ends, the loop is
// left, ctx ends or nothing more can be done.
//
// Every answer of GetRecords is a batch, an empty one too; its Next is where to
// go on once it has been processed, and coming back for more says that it has
// been. The loop body runs on the caller's goroutine and may take as long as it
// likes: a shard iterator that expired meanwhile is renewed after the last
// record read.
//
// While the loop body has a batch, the next one is read, and no more than that
// one; see Config.PrefetchBytes. It is handed over when the loop body comes
// back, and forgotten when the loop is left or ctx has ended.
//
// The last batch of a shard carries End, and then the loop ends. That happens
// only when the children are named, by the last answer or by Lineage, and
// nothing contradicts the end. Unless an answer at the tip says all of it, the
// service is asked again, from the same position; it must bring the last record
// and none behind it, or say the same for some time. A shard that idles at its
// tip and is closed according to Lineage ends in that way too, although the
// service keeps giving iterators.
//
// Transient failures and throttling are retried without end and told to the
// Observer. An error that is yielded is final: it wraps
// [kcl.ErrStreamNotFound], [kcl.ErrAccessDenied], [kcl.ErrShardNotFound] or
// [kcl.ErrInvalidPosition], is a mistake in the Config or in the request, or is the
// cause of ctx.
//
// From [kcl.Latest] the reader starts when the first shard iterator is
// obtained. Until the first record comes its position is the time that the
// service gave with that answer, less a second: should the iterator expire, a
// record or two from before may appear, and none is skipped. A caller that
// wants its start to survive the process gives kcl.AtTimestamp with a time of
// the service.
func (f *Fetcher) Batches(ctx context.Context, shardID string, from kcl.Position) iter.Seq2[kcl.Batch, error] {
	return func(yield func(kcl.Batch, error) bool) {
		if err := f.cfg.Validate(); err != nil {
			yield(kcl.Batch{}, err)
			return
		}
		r := &reader{
			Config:   f.cfg,
			pace:     &f.pace,
			http:     f.http,
			shardID:  shardID,
			position: from,
			backoff:  retry.New(shardread.FirstBackoff, maxBackoff),
			throttle: retry.New(firstThrottle, maxThrottle),
			behind:   true,
			ending:   ending{idleFor: shardend.IdleCheck},
			log:      f.cfg.Logger.With(slog.String("stream", f.cfg.name()), slog.String("shard", shardID)),
		}
		r.Metrics.SetFanOut(false)
		defer r.abandon()
		for {
			b, err := r.next(ctx)
			if err != nil {
				yield(kcl.Batch{}, err)
				return
			}
			if b.End == nil {
				r.readAhead(ctx)
			}
			if !yield(b, nil) || b.End != nil {
				return
			}
		}
	}
}
