package efo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardread"
	"github.com/kinesis-go/kcl/metrics"
)

// Defaults of [Config].
const (
	DefaultSilenceTimeout = 35 * time.Second
	DefaultCallTimeout    = 20 * time.Second
)

// Config says how a [Subscriber] reads. Client, StreamARN and ConsumerARN are required.
type Config struct {
	// Client calls Kinesis. It may be shared: a data race of the SDK between several
	// subscriptions of one client is avoided here.
	Client *kinesis.Client
	// HTTPClient carries the subscriptions. Give all subscribers the same one from
	// [NewHTTPClient]. Defaults to the HTTP client of Client.
	HTTPClient aws.HTTPClient
	// StreamARN is the ARN of the stream.
	StreamARN string
	// ConsumerARN is the ARN of the stream consumer, see [Register].
	ConsumerARN string
	// Lineage answers whether a shard is closed and which shards continue it. Without it, a shard
	// ends only when its stream says so. AWS always does; some emulators do not.
	Lineage kcl.Lineage
	// Lookups is shared by all subscribers of a stream. When all of them fail, one asks whether
	// the consumer still exists. Defaults to a Lookups for each Subscriber.
	Lookups *Lookups
	// Owned is called before each subscribe. While it returns false, the reader does not
	// subscribe: a worker that lost its lease must not take the shard back from the new owner. It
	// must not block. Defaults to always true.
	Owned func() bool
	// SilenceTimeout is how long a subscription may stay without an event before it counts as
	// dead. The time of the loop body does not count, nor the time in which a large event is
	// arriving. The service sends an empty event about every five seconds. Defaults to 35s
	// (DefaultSilenceTimeout). Below 10s, a slow first event would end the subscription.
	SilenceTimeout time.Duration
	// CallTimeout is how long the service may take to accept SubscribeToShard. The wait for
	// TransportConfig.MaxConcurrentOpens does not count. Defaults to 20s (DefaultCallTimeout).
	CallTimeout time.Duration
	// Metrics of the shard; nil counts nothing.
	Metrics *metrics.Shard
	// Observer may be nil.
	Observer kcl.ReadObserver
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// Validate reports everything that is missing or malformed, naming the field.
func (c Config) Validate() error {
	var errs []error
	if c.Client == nil {
		errs = append(errs, errors.New("efo: Config.Client is missing"))
	}
	if c.StreamARN == "" {
		errs = append(errs, errors.New("efo: Config.StreamARN is missing"))
	} else if _, err := kcl.ParseStreamARN(c.StreamARN); err != nil {
		errs = append(errs, fmt.Errorf("efo: Config.StreamARN: %w", err))
	}
	if c.ConsumerARN == "" {
		errs = append(errs, errors.New("efo: Config.ConsumerARN is missing: Register returns it"))
	} else if stream, _, err := kcl.ParseConsumerARN(c.ConsumerARN); err != nil {
		errs = append(errs, fmt.Errorf("efo: Config.ConsumerARN: %w", err))
	} else if c.StreamARN != "" && stream != c.StreamARN {
		errs = append(errs, fmt.Errorf("efo: Config.ConsumerARN %s belongs to another stream than Config.StreamARN %s",
			c.ConsumerARN, c.StreamARN))
	}
	if c.SilenceTimeout < 0 {
		errs = append(errs, errors.New("efo: Config.SilenceTimeout is negative"))
	}
	if c.CallTimeout < 0 {
		errs = append(errs, errors.New("efo: Config.CallTimeout is negative"))
	}
	return errors.Join(errs...)
}

// Subscriber reads one shard over SubscribeToShard (FanOutRecordsPublisher in
// the KCL). It belongs to one goroutine.
type Subscriber struct {
	cfg Config
	// lastAnswer is when the service last answered SubscribeToShard. It outlives a call of
	// Batches, because the service limits the calls for a shard, not for a reader.
	lastAnswer time.Time
	askHTTP    aws.HTTPClient // carries every call except SubscribeToShard
}

// NewSubscriber returns a Subscriber. It dials nothing and starts nothing; a
// mistake in cfg is the first thing that Batches yields.
func NewSubscriber(cfg Config) *Subscriber {
	cfg.SilenceTimeout = cmp.Or(cfg.SilenceTimeout, DefaultSilenceTimeout)
	cfg.CallTimeout = cmp.Or(cfg.CallTimeout, DefaultCallTimeout)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Lookups == nil {
		cfg.Lookups = NewLookups()
	}
	if cfg.Owned == nil {
		cfg.Owned = func() bool { return true }
	}
	cfg.Observer = cmp.Or[kcl.ReadObserver](cfg.Observer, shardread.Unobserved{})
	s := &Subscriber{cfg: cfg}
	if cfg.Client == nil {
		return s // Batches yields the error
	}
	own := cfg.Client.Options().HTTPClient
	if cfg.HTTPClient == nil {
		s.cfg.HTTPClient = withoutTimeout(own, cfg.Logger)
	}
	s.cfg.HTTPClient = line.NewClient(s.cfg.HTTPClient)
	s.askHTTP = line.NewClient(own)
	return s
}

// Batches reads the shard from a position. It ends when the shard ends, the loop is left, ctx ends
// or an error is final.
//
// Every event is a batch, an empty one too. Its Next is where to go on once it has been processed.
// A loop body that comes back for more says that it has processed the batch. The loop body runs on
// the caller's goroutine, and nothing is read meanwhile.
//
// The last batch of a shard carries End, and then the loop ends. Only the service can end a shard.
// Its stream sends an event without continuation, and the event or Lineage names the children. Some
// servers never send such an event. Then Lineage must show that the shard is closed and has
// children, and GetRecords must come to the shard's end. Its records are delivered before the end.
//
// Transient failures are retried without end, and the Observer hears of them. An error that is
// yielded is final: it wraps [kcl.ErrStreamNotFound], [kcl.ErrAccessDenied], [ErrConsumerNotFound],
// [kcl.ErrShardNotFound] or [kcl.ErrInvalidPosition], is a mistake in the Config, or is the cause
// of ctx.
//
// From [kcl.Latest] the reader starts when the first subscription is accepted. If that subscription
// dies before its first event, the next one does not start at a later tip. It starts at the time of
// the first answer less a second, so a few records from before may appear. A start that shall
// survive the process is a kcl.AtTimestamp with a time of the service.
func (s *Subscriber) Batches(ctx context.Context, shardID string, from kcl.Position) iter.Seq2[kcl.Batch, error] {
	return func(yield func(kcl.Batch, error) bool) {
		if err := s.cfg.Validate(); err != nil {
			yield(kcl.Batch{}, err)
			return
		}
		log := s.cfg.Logger.With(slog.String("stream", streamName(s.cfg.StreamARN)), slog.String("shard", shardID))
		r := &reader{
			Config:   s.cfg,
			sub:      s,
			service:  service{Config: s.cfg, shardID: shardID, http: s.askHTTP, log: log},
			shardID:  shardID,
			position: from,
			yield:    yield,
			backoff:  retry.New(shardread.FirstBackoff, maxBackoff),
			log:      log,
		}
		if err := r.run(ctx); err != nil && !r.finished {
			yield(kcl.Batch{}, err)
		}
	}
}

func streamName(arn string) string {
	id, err := kcl.ParseStreamARN(arn)
	if err != nil {
		return arn
	}
	return id.Name
}
