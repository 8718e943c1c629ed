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

// Config says how a [Subscriber] reads. Client, StreamARN and ConsumerARN are
// required.
type Config struct {
	// Client calls Kinesis. It may be shared: the SDK's data race between
	// several subscriptions of one client is avoided here.
	Client *kinesis.Client
	// HTTPClient carries the subscriptions: give all subscribers the same one
	// from [NewHTTPClient]. Defaults to the client's own.
	HTTPClient aws.HTTPClient
	// StreamARN is the stream's.
	StreamARN string
	// ConsumerARN is that of the stream consumer, see [Register].
	ConsumerARN string
	// Lineage answers whether a shard is closed and what continues it. Without
	// it a shard ends only when its stream says so, which is enough on AWS and
	// not on every emulator.
	Lineage kcl.Lineage
	// Lookups is shared by all subscribers of a stream, so that one of them asks
	// what became of the consumer when all fail. Defaults to one for each.
	Lookups *Lookups
	// Owned is asked before each subscribe. While it says false nothing is
	// subscribed, so that a worker that lost its lease does not take the shard
	// back from the new owner. It must not block. Defaults to always true.
	Owned func() bool
	// SilenceTimeout is how long a subscription may stay without an event before
	// it counts as dead; time that the loop body takes does not count, nor that in
	// which a large event is arriving piece by piece. The service sends an empty event every five seconds or so. Defaults to 35s
	// (DefaultSilenceTimeout); below 10s a slow first event is mistaken for death.
	SilenceTimeout time.Duration
	// CallTimeout is how long SubscribeToShard may take to be accepted. The wait
	// for TransportConfig.MaxConcurrentOpens does not count.
	// Defaults to 20s (DefaultCallTimeout).
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
		errs = append(errs, fmt.Errorf("efo: Config.ConsumerARN %s belongs to another stream than Config.StreamARN %s", c.ConsumerARN, c.StreamARN))
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
	// last is when the last subscribe was answered. It outlives a call of
	// Batches, because the service counts calls per shard, not per reader.
	last time.Time
	ask  aws.HTTPClient // carries everything but the subscriptions
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
		return s // Batches says so
	}
	own := cfg.Client.Options().HTTPClient
	if cfg.HTTPClient == nil {
		s.cfg.HTTPClient = withoutTimeout(own, cfg.Logger)
	}
	s.cfg.HTTPClient = line.NewClient(s.cfg.HTTPClient)
	s.ask = line.NewClient(own)
	return s
}

// Batches reads the shard from a position until the shard ends, the loop is
// left, ctx ends or nothing more can be done.
//
// Every event is a batch, an empty one too; its Next is where to go on once it
// has been processed, and coming back for more says that it has been. The loop
// body runs on the caller's goroutine; while it runs nothing is read.
//
// The last batch of a shard carries End, and then the loop ends. That happens
// only when the service said so: an event without continuation, with the
// children named in it or by Lineage; or, for servers whose streams never say
// it, when Lineage shows the shard closed with children and GetRecords after
// the last position comes to the shard's end, its records being delivered first.
//
// Transient failures are retried without end and told to the Observer. An
// error that is yielded is final: it wraps [kcl.ErrStreamNotFound],
// [kcl.ErrAccessDenied], [ErrConsumerNotFound], [kcl.ErrShardNotFound] or
// [kcl.ErrInvalidPosition], is a mistake in the Config, or is the cause of ctx.
//
// From [kcl.Latest] the reader starts when the first subscription is accepted.
// Should that die before its first event, the next one starts at the time that
// the service gave with its answer (less a second, so a record or two from
// before may appear), not at a later tip. A caller that wants its start to
// survive the process gives kcl.AtTimestamp with a time of the service.
func (s *Subscriber) Batches(ctx context.Context, shardID string, from kcl.Position) iter.Seq2[kcl.Batch, error] {
	return func(yield func(kcl.Batch, error) bool) {
		if err := s.cfg.Validate(); err != nil {
			yield(kcl.Batch{}, err)
			return
		}
		r := &reader{
			Config:  s.cfg,
			sub:     s,
			shardID: shardID,
			next:    from,
			yield:   yield,
			backoff: retry.New(shardread.FirstBackoff, maxBackoff),
			log:     s.cfg.Logger.With(slog.String("stream", streamName(s.cfg.StreamARN)), slog.String("shard", shardID)),
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
