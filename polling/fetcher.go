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

// Fetcher reads one shard with GetRecords (PrefetchRecordsPublisher in the KCL). It belongs to one
// goroutine.
type Fetcher struct {
	cfg  Config
	pace pace // outlives a call of Batches: the service limits the calls for a shard, not for a reader
	http aws.HTTPClient
}

// NewFetcher returns a Fetcher. It dials nothing and starts nothing. Batches yields an error if cfg
// is not valid.
func NewFetcher(cfg Config) *Fetcher {
	f := &Fetcher{cfg: cfg.withDefaults()}
	if cfg.Client != nil { // if nil, Batches yields an error
		f.http = line.NewClient(cfg.Client.Options().HTTPClient)
	}
	return f
}

// Batches reads the shard from a position. It ends when the shard ends, the loop is left, ctx ends
// or an error is final.
//
// Every answer of GetRecords is a batch, an empty one too. Its Next is where to go on once it has
// been processed. A loop body that comes back for more says that it has processed the batch. The
// loop body runs on the caller's goroutine and may take any time. If a shard iterator has expired
// meanwhile, the reader gets a new one after the last record read.
//
// While the loop body has a batch with records, the reader gets the next one, and no more than
// that; see Config.PrefetchBytes. It hands the next batch over when the loop body comes back. It
// drops the batch when the loop is left or ctx has ended.
//
// The last batch of a shard carries End, and then the loop ends. A shard ends only when the last
// answer or Lineage names its children, and nothing contradicts the end. If no answer at the tip
// says all of that, the reader asks the service again from the same position. The service must send
// the last record and none behind it, or repeat itself for some time. Some servers give iterators
// for ever. Then a shard ends in the same way once it idles at its tip and Lineage shows it closed.
//
// Transient failures and throttling are retried without end, and the Observer hears of them. An
// error that is yielded is final: it wraps [kcl.ErrStreamNotFound], [kcl.ErrAccessDenied],
// [kcl.ErrShardNotFound] or [kcl.ErrInvalidPosition], is a mistake in the Config or in the request,
// or is the cause of ctx.
//
// From [kcl.Latest] the reader starts when the first shard iterator is obtained. Until the first
// record comes, its position is the time of that answer less a second. If the iterator expires, a
// few records from before may appear, and none is skipped. A start that shall survive the process
// is a kcl.AtTimestamp with a time of the service.
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
			ending:   ending{idleWait: shardend.IdleCheck},
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
			if b.End == nil && len(b.Records) > 0 {
				r.readAhead(ctx)
			}
			if !yield(b, nil) || b.End != nil {
				return
			}
		}
	}
}
